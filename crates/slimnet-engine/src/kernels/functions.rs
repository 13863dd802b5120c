//! Elementary functions of `f32` without branches, which become vector code inside [`super::vector::vectorized`].
//!
//! They are right to a few units in the last place everywhere, infinities and numbers below the least normal one
//! included, and NaN stays NaN. Polynomials interpolate the functions at Chebyshev's nodes.
#![allow(clippy::inline_always)] // only inside a vectorised function are they compiled for the vectors that there are

use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// √(2/π).
const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// `x` limited to `low..=high`; NaN stays.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// A polynomial from its highest coefficient down.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, *coefficient);
    }
    sum
}

/// `n` and `e^r - 1` such that `x = n · ln 2 + r` with `r` within half of `ln 2`. The size of `x` is at most 200.
#[inline(always)]
fn reduced(x: f32) -> (i32, f32) {
    // Adding this leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first times an integer of nine bits is exact.
    const HIGH: f32 = 0.693_145_75;
    const LOW: f32 = 1.428_606_8e-6;
    let shifted = x.mul_add(LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let rest = whole.mul_add(-LOW, whole.mul_add(-HIGH, x));
    let series = polynomial(rest, [1.392_617_6e-3, 8.363_173e-3, 4.166_655_6e-2, 1.666_657_8e-1, 0.5]);
    (n, (rest * rest).mul_add(series, rest))
}

/// `2^n` for a normal result.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `e^x`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (n, rest) = reduced(clamp(x, -104.5, 89.0));
    // In two steps, since the power alone may be beyond the range of normal numbers.
    let half = n >> 1;
    (1.0 + rest) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x - 1`, right for small `x` too.
#[inline(always)]
pub(super) fn exp_m1(x: f32) -> f32 {
    let (n, rest) = reduced(clamp(x, -25.0, 89.0));
    let half = power_of_two(n.wrapping_sub(1));
    2.0 * half.mul_add(rest, half - 0.5)
}

/// The natural logarithm.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // Numbers below the least normal one are lifted by 2^23.
    let low = x < f32::MIN_POSITIVE;
    let lifted = if low { x * 8_388_608.0 } else { x };
    let lift = if low { 23.0 } else { 0.0 };
    // The fraction is taken from √½ to √2.
    let bits = lifted.to_bits().wrapping_sub(FRAC_1_SQRT_2.to_bits());
    let exponent = ((bits as i32) >> 23) as f32 - lift;
    let fraction = f32::from_bits((bits & 0x007f_ffff).wrapping_add(FRAC_1_SQRT_2.to_bits())) - 1.0;
    let series = polynomial(
        fraction,
        [
            6.971_611e-2,
            -1.147_973_4e-1,
            1.168_542e-1,
            -1.242_568_7e-1,
            1.424_905_8e-1,
            -1.666_780_3e-1,
            2.000_071_6e-1,
            -2.499_999_7e-1,
            3.333_333e-1,
        ],
    );
    let square = fraction * fraction;
    let bent = square.mul_add(-0.5, fraction * square * series);
    let value = exponent.mul_add(LN_2, fraction + bent);
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f32::NAN } else { value };
    // Infinity and NaN are their own logarithms.
    if x < f32::INFINITY { value } else { x }
}

/// `ln(1 + x)` for `x` from 0 to 1, right for small `x` too.
#[inline(always)]
fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What rounding the sum lost.
    ln(sum) + (x - (sum - 1.0)) / sum
}

/// `ln(1 + e^x)`.
#[inline(always)]
pub(super) fn softplus(x: f32) -> f32 {
    (if x < 0.0 { 0.0 } else { x }) + ln_1p(exp(-x.abs()))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    (if x < 0.0 { small } else { 1.0 }) / (1.0 + small)
}

/// The hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let below = exp_m1(-2.0 * x.abs());
    (-below / (below + 2.0)).copysign(x)
}

/// The error function.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let series = polynomial(
        square,
        [7.875_875e-5, -8.016_864_3e-4, 5.189_087e-3, -2.685_421_1e-2, 1.128_359_4e-1, -3.761_262_6e-1, 1.283_791_7e-1],
    );
    let near = x.mul_add(series, x);
    // The logarithm of what is missing to 1, of which nothing is left at 4.
    let missing = polynomial(
        clamp(size, 1.0, 4.0),
        [
            -1.637_151_4e-6,
            4.605_804e-5,
            -5.968_056_5e-4,
            4.759_596e-3,
            -2.642_113_5e-2,
            1.100_800_9e-1,
            6.318_26e-1,
            1.130_233_4,
            -3.201_380_6e-4,
        ],
    );
    let far = (1.0 - exp(-missing)).copysign(x);
    if size > 1.0 { far } else { near }
}

/// Twice the distribution function of the normal distribution.
#[inline(always)]
pub(super) fn normal_gate(x: f32) -> f32 {
    1.0 + erf(x * FRAC_1_SQRT_2)
}

/// The derivative of [`normal_gate`].
#[inline(always)]
pub(super) fn normal_gate_slope(x: f32) -> f32 {
    SQRT_2_OVER_PI * exp(-0.5 * x * x)
}

/// The tangent that approximates [`normal_gate`], 1 added to it, and its derivative.
#[inline(always)]
pub(super) fn tanh_gate(x: f32) -> (f32, f32) {
    let cubic = 0.044_715 * x * x;
    let tanh = tanh(SQRT_2_OVER_PI * x * (1.0 + cubic));
    (1.0 + tanh, (1.0 - tanh * tanh) * SQRT_2_OVER_PI * (1.0 + 3.0 * cubic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::vectorized;

    /// Distance of a result from the true value in units of its last place.
    fn units(found: f32, expected: f64) -> f64 {
        let nearest = expected as f32;
        if found == nearest || (found.is_nan() && nearest.is_nan()) {
            return 0.0;
        }
        let place = f64::from(f32::from_bits(nearest.abs().to_bits().max(0x0080_0000)));
        (f64::from(found) - expected).abs() / (place.log2().floor().exp2() * f64::from(f32::EPSILON))
    }

    /// Compares a function with the definition on a sweep over all floats, and on a dense one over the middle.
    fn check(name: &str, most: f64, function: impl Fn(f32) -> f32, definition: impl Fn(f64) -> f64) {
        let sweep = (0..=u32::MAX / 4099).map(|step| f32::from_bits(step * 4099));
        let middle = (-400_000..=400_000).map(|step| step as f32 * 2.5e-4);
        let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, f32::MAX, f32::MIN, 1.0, -1.0];
        let all: Vec<f32> = sweep.chain(middle).chain(special).collect();
        let mut found = vec![0f32; all.len()];
        vectorized(
            #[inline(always)]
            || found.iter_mut().zip(&all).for_each(|(y, x)| *y = function(*x)),
        );
        let (mut worst, mut at) = (0f64, 0f32);
        for (&x, &y) in all.iter().zip(&found) {
            let expected = definition(f64::from(x));
            let distance = units(y, expected);
            assert!(!distance.is_nan(), "{name} of {x} is {y}, not {expected}");
            if distance > worst {
                (worst, at) = (distance, x);
            }
        }
        assert!(worst <= most, "{name} of {at}: {worst} units");
    }

    /// By its series, and its continued fraction for large arguments.
    fn exact_erf(x: f64) -> f64 {
        let size = x.abs();
        let two_over_root = std::f64::consts::FRAC_2_SQRT_PI;
        if size.is_nan() || size > 6.0 {
            return if x.is_nan() { x } else { 1f64.copysign(x) };
        }
        if size < 2.5 {
            let (mut term, mut sum) = (size, size);
            for n in 1..50 {
                let n = f64::from(n);
                term *= -size * size / n;
                sum += term / (2.0 * n + 1.0);
            }
            return (two_over_root * sum).copysign(x);
        }
        let fraction = (1..=40).rev().fold(0.0, |fraction, n| f64::from(n) / 2.0 / (size + fraction));
        (1.0 - (-size * size).exp() / (size + fraction) * two_over_root / 2.0).copysign(x)
    }

    #[test]
    fn functions_are_right_to_a_few_units() {
        check("exp", 2.0, exp, f64::exp);
        check("exp_m1", 3.0, exp_m1, f64::exp_m1);
        check("ln", 2.0, ln, f64::ln);
        check("softplus", 4.0, softplus, |x| if x > 40.0 { x } else { x.exp().ln_1p() });
        check("sigmoid", 3.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        check("tanh", 4.0, tanh, f64::tanh);
        check("erf", 3.0, erf, exact_erf);
    }

    #[test]
    fn signs_and_limits_are_kept() {
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp_m1(f32::NEG_INFINITY), -1.0);
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(-1.0).is_nan() && ln(f32::NEG_INFINITY).is_nan());
        assert!(tanh(-0.0).is_sign_negative() && erf(-0.0).is_sign_negative());
        assert_eq!((tanh(f32::INFINITY), erf(f32::NEG_INFINITY)), (1.0, -1.0));
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
    }
}
