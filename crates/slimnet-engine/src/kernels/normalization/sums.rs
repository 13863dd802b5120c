//! Two sums over elements at once, in lanes, so that they are vectorised.

/// Lanes of a sum that are independent of each other.
const LANES: usize = 32;

/// Elements after which lanes are added up in `float64`, so that rounding does not grow with the length of a sum.
const BLOCK: usize = 4096;

type Lanes = [f32; LANES];

/// Adds up lanes in halves.
#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn join(mut lanes: Lanes) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    f64::from(lanes[0])
}

/// Elements that are fewer than lanes, with zeros behind.
#[allow(clippy::inline_always)]
#[inline(always)]
fn padded(rest: &[f32]) -> Lanes {
    let mut lanes = [0f32; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}

/// The sums of both results of `term(a[i], b[i], c[i])` over all elements of some rows, which have one length each.
///
/// Lanes are walked by index over arrays only: so they stay in registers.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sums<'a>(
    rows: impl Iterator<Item = [&'a [f32]; 3]>,
    term: impl Fn(f32, f32, f32) -> (f32, f32),
) -> [f64; 2] {
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    let mut total = [0f64; 2];
    let mut pending = 0;
    for [a, b, c] in rows {
        for ((a, b), c) in a.chunks(BLOCK).zip(b.chunks(BLOCK)).zip(c.chunks(BLOCK)) {
            if pending >= BLOCK {
                total[0] += join(first);
                total[1] += join(second);
                (first, second) = ([0f32; LANES], [0f32; LANES]);
                pending = 0;
            }
            pending += a.len();
            let (a, rest_a) = a.as_chunks::<LANES>();
            let (b, rest_b) = b.as_chunks::<LANES>();
            let (c, rest_c) = c.as_chunks::<LANES>();
            for ((a, b), c) in a.iter().zip(b).zip(c) {
                for lane in 0..LANES {
                    let (one, other) = term(a[lane], b[lane], c[lane]);
                    first[lane] += one;
                    second[lane] += other;
                }
            }
            let rest = rest_a.len();
            if rest > 0 {
                let (a, b, c) = (padded(rest_a), padded(rest_b), padded(rest_c));
                for lane in 0..LANES {
                    let (one, other) = term(a[lane], b[lane], c[lane]);
                    first[lane] += if lane < rest { one } else { 0.0 };
                    second[lane] += if lane < rest { other } else { 0.0 };
                }
            }
        }
    }
    [total[0] + join(first), total[1] + join(second)]
}

/// The sums over two slices of one length.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sums_of_two(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> (f32, f32)) -> [f64; 2] {
    sums(std::iter::once([a, b, b]), |a, b, _| term(a, b))
}
