//! Where tensors that live for a part of a run lie: offsets from lifetimes.

/// A piece of memory that is needed during some steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// How many bytes, a multiple of the alignment.
    pub bytes: usize,
    /// The first step that needs it.
    pub first: usize,
    /// The last step that needs it.
    pub last: usize,
}

/// Offsets at which no two pieces that are needed in one step overlap, and the bytes that all of it takes.
///
/// Largest first, each at the lowest place that is free during its life (greedy by size; Pisarchyk and Lee 2020, "Efficient
/// Memory Management for Deep Neural Net Inference"). Nearly always within a few percent of [`lower_bound`].
pub(super) fn place(pieces: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(pieces[index].bytes), pieces[index].first, index));
    let mut offsets = vec![0usize; pieces.len()];
    // Pieces already placed, by offset.
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let piece = pieces[index];
        let mut offset = 0;
        let mut best: Option<(usize, usize)> = None;
        for &other in &placed {
            let neighbour = pieces[other];
            if neighbour.last < piece.first || piece.last < neighbour.first {
                continue;
            }
            if offsets[other] > offset {
                let gap = offsets[other] - offset;
                if gap >= piece.bytes && best.is_none_or(|(smallest, _)| gap < smallest) {
                    best = Some((gap, offset));
                }
            }
            offset = offset.max(offsets[other] + neighbour.bytes);
        }
        offsets[index] = best.map_or(offset, |(_, offset)| offset);
        total = total.max(offsets[index] + piece.bytes);
        let position = placed.partition_point(|&other| offsets[other] <= offsets[index]);
        placed.insert(position, index);
    }
    (offsets, total)
}

/// Bytes that are needed at once in the step that needs most: no placement takes less.
pub(super) fn lower_bound(pieces: &[Lifetime]) -> usize {
    let mut changes: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * pieces.len());
    for piece in pieces {
        changes.push((piece.first, true, piece.bytes));
        changes.push((piece.last + 1, false, piece.bytes));
    }
    // What ends before a step is gone before what begins in it.
    changes.sort_unstable();
    let (mut now, mut most) = (0usize, 0usize);
    for (_, begins, bytes) in changes {
        if begins {
            now += bytes;
            most = most.max(now);
        } else {
            now -= bytes;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_graph::zoo::random::Stream;

    #[test]
    fn living_pieces_never_overlap() {
        for seed in 0..50 {
            let stream = Stream::new(seed, 0);
            let pieces: Vec<_> = (0..60)
                .map(|index| {
                    let first = stream.below(3 * index, 40) as usize;
                    let last = first + stream.below(3 * index + 1, 12) as usize;
                    Lifetime { bytes: 64 * (1 + stream.below(3 * index + 2, 30) as usize), first, last }
                })
                .collect();
            let (offsets, total) = place(&pieces);
            for (a, one) in pieces.iter().enumerate() {
                assert!(offsets[a] + one.bytes <= total);
                for (b, other) in pieces.iter().enumerate().skip(a + 1) {
                    let together = one.first <= other.last && other.first <= one.last;
                    let apart = offsets[a] + one.bytes <= offsets[b] || offsets[b] + other.bytes <= offsets[a];
                    assert!(!together || apart, "{one:?} at {} and {other:?} at {}", offsets[a], offsets[b]);
                }
            }
            let least = lower_bound(&pieces);
            assert!(total >= least && total <= least * 3 / 2, "{total} bytes, at least {least}");
        }
    }
}
