//! Several sums over elements at once, in lanes, so that they are vectorised.

/// Lanes of a sum that are independent of each other.
const LANES: usize = 32;

/// Elements after which lanes are added up in `float64`, so that rounding does not grow with the length of a sum.
const BLOCK: usize = 4096;

/// `N` sums that grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums<const N: usize> {
    lanes: [[f32; LANES]; N],
    pending: usize,
    total: [f64; N],
}

/// Adds up lanes in halves.
#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn join(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

impl<const N: usize> Sums<N> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn new() -> Self {
        Self { lanes: [[0.0; LANES]; N], pending: 0, total: [0.0; N] }
    }

    /// Adds `term([a[i], b[i], …])` for all elements of slices of one length.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn add<const K: usize>(&mut self, data: [&[f32]; K], term: impl Fn([f32; K]) -> [f32; N]) {
        let length = data[0].len();
        let mut start = 0;
        while start < length {
            let block = BLOCK.min(length - start);
            if self.pending + block > BLOCK {
                self.flush();
            }
            self.pending += block;
            let data = data.map(|data| &data[start..start + block]);
            // A copy, which stays in registers.
            let mut lanes = self.lanes;
            let whole = block / LANES * LANES;
            let mut chunk = 0;
            while chunk < whole {
                let chunks = data.map(|data| &data[chunk..chunk + LANES]);
                for lane in 0..LANES {
                    let terms = term(chunks.map(|chunk| chunk[lane]));
                    for sum in 0..N {
                        lanes[sum][lane] += terms[sum];
                    }
                }
                chunk += LANES;
            }
            let rest = data.map(|data| &data[whole..]);
            for lane in 0..(block - whole).min(LANES) {
                let terms = term(rest.map(|rest| rest[lane]));
                for sum in 0..N {
                    lanes[sum][lane] += terms[sum];
                }
            }
            self.lanes = lanes;
            start += block;
        }
    }

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn flush(&mut self) {
        for (total, lanes) in self.total.iter_mut().zip(&mut self.lanes) {
            *total += f64::from(join(*lanes));
            *lanes = [0.0; LANES];
        }
        self.pending = 0;
    }

    /// The sums.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn finish(mut self) -> [f64; N] {
        self.flush();
        self.total
    }
}

/// `Σ term([a[i], b[i], …])`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn sums<const N: usize, const K: usize>(data: [&[f32]; K], term: impl Fn([f32; K]) -> [f32; N]) -> [f64; N] {
    let mut sums = Sums::new();
    sums.add(data, term);
    sums.finish()
}
