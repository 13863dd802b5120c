//! Which elements of a source axis reach an element of a target axis, and through which tap.

use super::window::Axis;

/// Most pairs of windows and taps of an axis that are written down.
const MOST: usize = 1 << 20;

/// For each element of the target the taps through which something reaches it, and the places where that lies.
#[derive(Debug)]
pub(super) struct Reach {
    pairs: Vec<(usize, usize)>,
    /// Where the pairs of each element begin, and the end of all.
    starts: Vec<usize>,
}

impl Reach {
    /// From the axis to its windows; `None` if that is too much to write down.
    pub fn to_windows(axis: &Axis) -> Option<Self> {
        Self::from_triples(axis, axis.windows, |window, tap, place| (window, tap, place))
    }

    /// From the windows to the axis.
    pub fn to_axis(axis: &Axis) -> Option<Self> {
        Self::from_triples(axis, axis.length, |window, tap, place| (place, tap, window))
    }

    fn from_triples(
        axis: &Axis,
        targets: usize,
        order: impl Fn(usize, usize, usize) -> (usize, usize, usize),
    ) -> Option<Self> {
        if axis.windows.checked_mul(axis.taps)? > MOST || targets > MOST {
            return None;
        }
        let mut triples = Vec::new();
        for window in 0..axis.windows {
            for tap in 0..axis.taps {
                let place = (window * axis.stride + tap * axis.dilation).checked_sub(axis.begin);
                if let Some(place) = place.filter(|&place| place < axis.length) {
                    triples.push(order(window, tap, place));
                }
            }
        }
        triples.sort_unstable();
        let mut starts = vec![0; targets + 1];
        for &(target, ..) in &triples {
            starts[target + 1] += 1;
        }
        for target in 0..targets {
            starts[target + 1] += starts[target];
        }
        Some(Self { pairs: triples.into_iter().map(|(_, tap, place)| (tap, place)).collect(), starts })
    }

    /// Taps and places of an element of the target, in order of the taps.
    #[allow(clippy::inline_always)] // called in inner loops
    #[inline(always)]
    pub fn of(&self, target: usize) -> &[(usize, usize)] {
        &self.pairs[self.starts[target]..self.starts[target + 1]]
    }

    /// Number of elements of the target.
    pub fn targets(&self) -> usize {
        self.starts.len() - 1
    }
}
