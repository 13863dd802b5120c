//! Random numbers as a pure function of (seed, stream, index).
//!
//! There is no state: element `index` of stream `stream` is the same whatever was drawn before, in which order, on how
//! many threads. The function is `SplitMix64` (Steele, Lea, Flood 2014) in counter form, keyed by seed and stream; normal
//! numbers come from it by Box and Muller's transform. Logarithm and cosine are computed here from the four basic
//! operations, which IEEE 754 fixes to the bit, so that a seed gives the same network on every machine. These numbers
//! never change: a file made from a seed can be made again.

use crate::tensor::{ElementType, Tensor, TensorError, element_count};

/// Weyl increment of `SplitMix64`: 2^64 divided by the golden ratio.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

/// Finaliser of `SplitMix64`: a bijection in which every bit depends on every other.
#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A stream of random numbers, all of them there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// The stream with a number.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(INCREMENT)).wrapping_add(mix(stream.wrapping_add(INCREMENT)).rotate_left(32))))
    }

    /// The stream with a name, such as that of a parameter: adding another name changes none.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Self::new(seed, hash)
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(self, index: u64) -> u64 {
        mix(mix(self.0.wrapping_add(index.wrapping_mul(INCREMENT))) ^ self.0)
    }

    /// Uniform in `[0, 1)`, a multiple of 2^−53.
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 * 2f64.powi(-53)
    }

    /// Normal with mean 0 and standard deviation 1.
    pub fn normal(self, index: u64) -> f64 {
        let second = Self(mix(self.0 ^ INCREMENT));
        // 1 − u is in (0, 1]: its logarithm is finite.
        (-2.0 * ln(1.0 - self.uniform(index))).sqrt() * cos_turns(second.uniform(index))
    }

    /// Normal, drawn again until it is within two standard deviations.
    pub fn truncated_normal(self, index: u64) -> f64 {
        let mut stream = self;
        for _ in 0..32 {
            let value = stream.normal(index);
            if value.abs() <= 2.0 {
                return value;
            }
            stream = Self(mix(stream.0.wrapping_add(INCREMENT)));
        }
        0.0
    }

    /// An integer in `0..bound`; 0 if `bound` is 0.
    pub fn below(self, index: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(index)) * u128::from(bound)) >> 64) as u64
    }
}

/// How the elements of a random tensor are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Uniform in `[low, high)`.
    Uniform {
        /// The least.
        low: f64,
        /// The bound above.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
    /// Normal, drawn again beyond two standard deviations.
    TruncatedNormal {
        /// Mean.
        mean: f64,
        /// Standard deviation before it is cut.
        deviation: f64,
    },
}

impl Distribution {
    /// Element `index` of a stream.
    pub fn sample(self, stream: Stream, index: u64) -> f64 {
        match self {
            Self::Uniform { low, high } => low + (high - low) * stream.uniform(index),
            Self::Normal { mean, deviation } => mean + deviation * stream.normal(index),
            Self::TruncatedNormal { mean, deviation } => mean + deviation * stream.truncated_normal(index),
        }
    }
}

/// A tensor of random elements: for floating-point types rounded to nearest, for integers down and saturated; bool is
/// true in half of the cases, whatever the distribution.
///
/// # Errors
/// If the shape is too large, and for strings and complex numbers.
pub fn tensor(
    element_type: ElementType,
    shape: Vec<usize>,
    stream: Stream,
    distribution: Distribution,
) -> Result<Tensor, TensorError> {
    let count = element_count(&shape)?;
    // Refuses the types without numbers, and sizes that no memory has, before anything is drawn.
    Tensor::from_f64s(element_type, vec![0], Vec::new())?;
    let bytes = count.checked_mul(size_of::<f64>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    bytes.ok_or_else(|| TensorError::TooLarge(shape.clone()))?;
    let indices = 0..count as u64;
    if element_type == ElementType::F32 {
        return Tensor::from_values(shape, indices.map(|index| distribution.sample(stream, index) as f32).collect());
    }
    let sample = |index| match element_type {
        ElementType::Bool => (stream.bits(index) >> 63) as f64,
        _ if element_type.is_float() => distribution.sample(stream, index),
        _ => distribution.sample(stream, index).floor(),
    };
    Tensor::from_f64s(element_type, shape, indices.map(sample).collect())
}

/// 1, 1/3, 1/5, …: the series of artanh s / s in s².
const ODD_RECIPROCALS: [f64; 12] = {
    let mut coefficients = [0.0; 12];
    let mut term = 0;
    while term < 12 {
        coefficients[term] = 1.0 / (2 * term + 1) as f64;
        term += 1;
    }
    coefficients
};

/// The series of cos x in x².
const COSINE: [f64; 9] = alternating_series(0);

/// The series of sin x / x in x².
const SINE: [f64; 9] = alternating_series(1);

/// 1 / first!, −1 / (first + 2)!, …
const fn alternating_series(first: usize) -> [f64; 9] {
    let mut coefficients = [1.0; 9];
    let mut term = 1;
    while term < 9 {
        let last = first + 2 * term;
        coefficients[term] = -coefficients[term - 1] / (last * (last - 1)) as f64;
        term += 1;
    }
    coefficients
}

/// Natural logarithm of a positive normal number, within 2 units in the last place.
fn ln(value: f64) -> f64 {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh s, of which |s| < 0.172 makes twelve terms enough.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = ODD_RECIPROCALS.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient);
    exponent * std::f64::consts::LN_2 + 2.0 * s * series
}

/// Cosine of `2π · turns` for turns in `[0, 1)`.
fn cos_turns(turns: f64) -> f64 {
    let quarter = (turns * 4.0 + 0.5).floor();
    let angle = (turns - quarter / 4.0) * std::f64::consts::TAU;
    let square = angle * angle;
    // Taylor's series on ±π/4.
    let series = |coefficients: &[f64]| coefficients.iter().rev().fold(0.0, |sum, term| sum * square + term);
    let (cos, sin) = (series(&COSINE), angle * series(&SINE));
    match quarter as i64 % 4 {
        0 => cos,
        1 => -sin,
        2 => -cos,
        _ => sin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_are_exact_enough() {
        for index in 0..20_000 {
            let u = Stream::new(1, 2).uniform(index);
            assert!((cos_turns(u) - (u * std::f64::consts::TAU).cos()).abs() < 1e-15, "{u}");
            let (own, libm) = (ln(1.0 - u), (1.0 - u).ln());
            assert!((own - libm).abs() <= 1e-15 * libm.abs().max(1e-3), "{u}: {own} {libm}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!((ln(2f64.powi(-53)) + 53.0 * std::f64::consts::LN_2).abs() < 1e-13);
    }

    #[test]
    fn numbers_never_change() {
        let stream = Stream::named(7, "conv1.weight");
        assert_eq!(Stream::new(0, 0).bits(0), GOLDEN_BITS[0]);
        assert_eq!(stream.bits(12_345), GOLDEN_BITS[1]);
        let normal: Vec<u32> = (0..3).map(|index| (stream.normal(index) as f32).to_bits()).collect();
        assert_eq!(normal, GOLDEN_NORMAL);
    }

    // From a separate implementation of the definition.
    const GOLDEN_BITS: [u64; 2] = [0x51D6_1EFB_F6F9_4A5B, 0xA3F8_C6DC_DE88_01BB];
    const GOLDEN_NORMAL: [u32; 3] = [0xBDA3_B2FE, 0xBEE1_5A38, 0xBE33_72F3];

    #[test]
    fn moments() {
        let count = 200_000u64;
        let moments = |sample: &dyn Fn(u64) -> f64| {
            let mean = (0..count).map(sample).sum::<f64>() / count as f64;
            let central = |power| (0..count).map(|i| (sample(i) - mean).powi(power)).sum::<f64>() / count as f64;
            (mean, central(2), central(4))
        };
        for seed in 0..3 {
            let stream = Stream::new(seed, 5);
            let (mean, variance, fourth) = moments(&|index| stream.normal(index));
            assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02 && (fourth - 3.0).abs() < 0.12);
            let (mean, variance, _) = moments(&|index| stream.uniform(index));
            assert!((mean - 0.5).abs() < 0.003 && (variance - 1.0 / 12.0).abs() < 0.001);
            let (mean, variance, _) = moments(&|index| stream.truncated_normal(index));
            assert!(mean.abs() < 0.01 && (variance - 0.774).abs() < 0.01, "{variance}");
            // Neighbours and neighbouring streams are independent.
            let other = Stream::new(seed, 6);
            let correlation = |a: &dyn Fn(u64) -> f64, b: &dyn Fn(u64) -> f64| {
                (0..count).map(|index| a(index) * b(index)).sum::<f64>() / count as f64
            };
            assert!(correlation(&|index| stream.normal(index), &|index| stream.normal(index + 1)).abs() < 0.01);
            assert!(correlation(&|index| stream.normal(index), &|index| other.normal(index)).abs() < 0.01);
        }
    }

    #[test]
    fn tensors_of_every_numeric_type() {
        let uniform = Distribution::Uniform { low: -3.0, high: 4.0 };
        for element_type in ElementType::ALL {
            let made = tensor(element_type, vec![3, 50], Stream::new(0, 0), uniform);
            if matches!(element_type, ElementType::String | ElementType::Complex64 | ElementType::Complex128) {
                assert!(made.is_err(), "{element_type}");
                continue;
            }
            let values = made.unwrap().to_f64s().unwrap();
            assert!(values.iter().all(|&value| (-3.0..=4.0).contains(&value)), "{element_type}");
        }
        let bools = tensor(ElementType::Bool, vec![1000], Stream::new(0, 0), uniform).unwrap().to_f64s().unwrap();
        assert!((400.0..600.0).contains(&bools.iter().sum()));
        assert!(tensor(ElementType::F32, vec![usize::MAX, 2], Stream::new(0, 0), uniform).is_err());
        assert!(tensor(ElementType::I8, vec![usize::MAX], Stream::new(0, 0), uniform).is_err());
    }
}
