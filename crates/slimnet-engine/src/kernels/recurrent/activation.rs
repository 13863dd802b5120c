//! Activation functions of recurrent layers, with their slopes.

use crate::kernels::vector::vectorized;

/// An activation function with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Softsign,
    Softplus,
    Affine { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
}

/// The activations of these names. Parameters go to the functions that have one, in order. `None` if a name is unknown.
pub(super) fn activations(names: &[&str], alphas: &[f32], betas: &[f32]) -> Option<Vec<Activation>> {
    let (mut alphas, mut betas) = (alphas.iter().copied(), betas.iter().copied());
    let mut function = |name: &str| {
        let mut alpha = |default: f32| alphas.next().unwrap_or(default);
        let mut beta = |default: f32| betas.next().unwrap_or(default);
        Some(match name.to_ascii_lowercase().as_str() {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            "affine" => Activation::Affine { alpha: alpha(1.0), beta: beta(0.0) },
            "leakyrelu" => Activation::LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(1.0) },
            "scaledtanh" => Activation::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
            "hardsigmoid" => Activation::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "elu" => Activation::Elu { alpha: alpha(1.0) },
            _ => return None,
        })
    };
    names.iter().map(|name| function(name)).collect()
}

impl Activation {
    /// Replaces every `x` by its value at `x` clipped to ±`clip`, and sets `slopes` to the derivatives of that, unless it
    /// is empty.
    pub fn apply(self, clip: f32, x: &mut [f32], slopes: &mut [f32]) {
        let step = |yes: bool| if yes { 1.0f32 } else { 0.0 };
        match self {
            Self::Relu => each(clip, x, slopes, |x| (if x < 0.0 { 0.0 } else { x }, step(x > 0.0))),
            Self::Tanh => each(
                clip,
                x,
                slopes,
                #[inline(always)]
                |x| {
                    let y = tanh(x);
                    (y, 1.0 - y * y)
                },
            ),
            Self::Sigmoid => each(
                clip,
                x,
                slopes,
                #[inline(always)]
                |x| {
                    let y = sigmoid(x);
                    (y, y * (1.0 - y))
                },
            ),
            Self::Softsign => each(clip, x, slopes, |x| {
                let size = 1.0 + x.abs();
                (x / size, 1.0 / (size * size))
            }),
            Self::Softplus => each(clip, x, slopes, |x| {
                let positive = if x < 0.0 { 0.0 } else { x };
                (positive + (-x.abs()).exp().ln_1p(), sigmoid(x))
            }),
            Self::Affine { alpha, beta } => each(clip, x, slopes, |x| (alpha * x + beta, alpha)),
            Self::LeakyRelu { alpha } => {
                each(clip, x, slopes, |x| if x < 0.0 { (alpha * x, alpha) } else { (x, 1.0) });
            }
            Self::ThresholdedRelu { alpha } => {
                each(clip, x, slopes, |x| (if x >= alpha { x } else { 0.0 }, step(x >= alpha)));
            }
            Self::ScaledTanh { alpha, beta } => each(clip, x, slopes, |x| {
                let y = tanh(beta * x);
                (alpha * y, alpha * beta * (1.0 - y * y))
            }),
            Self::HardSigmoid { alpha, beta } => each(clip, x, slopes, |x| {
                let y = alpha * x + beta;
                (y.clamp(0.0, 1.0), if y > 0.0 && y < 1.0 { alpha } else { 0.0 })
            }),
            Self::Elu { alpha } => {
                each(clip, x, slopes, |x| if x < 0.0 { (alpha * x.exp_m1(), alpha * x.exp()) } else { (x, 1.0) });
            }
        }
    }
}

#[inline(always)]
fn each(clip: f32, x: &mut [f32], slopes: &mut [f32], function: impl Fn(f32) -> (f32, f32)) {
    vectorized(
        #[inline(always)]
        || {
            if slopes.is_empty() {
                for x in x.iter_mut() {
                    *x = function(clipped(*x, clip)).0;
                }
            } else {
                for (x, slope) in x.iter_mut().zip(slopes) {
                    let (value, steepness) = function(clipped(*x, clip));
                    *slope = if x.abs() > clip { 0.0 } else { steepness };
                    *x = value;
                }
            }
        },
    );
}

#[inline(always)]
fn clipped(x: f32, clip: f32) -> f32 {
    if x < -clip {
        -clip
    } else if x > clip {
        clip
    } else {
        x
    }
}

/// `e^x` to about one unit in the last place, without branches. Results below the least normal number and above the
/// largest are at these limits.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Adding this leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = clipped(x, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, of which the first times an integer is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let series = 1.987_569_1e-4;
    let series = series * rest + 1.398_199_9e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    (series * rest * rest + rest + 1.0) * power
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// A quotient of polynomials, which is right to a few units in the last place and never beyond ±1.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let x = clipped(x, 7.905_311);
    let square = x * x;
    let above = -2.760_768_5e-16;
    let above = above * square + 2.000_188e-13;
    let above = above * square - 8.604_672e-11;
    let above = above * square + 5.122_297e-8;
    let above = above * square + 1.485_722_4e-5;
    let above = above * square + 6.372_619e-4;
    let above = (above * square + 4.893_524_6e-3) * x;
    let below = 1.198_258_4e-6;
    let below = below * square + 1.185_347_1e-4;
    let below = below * square + 2.268_434_6e-3;
    let below = below * square + 4.893_525e-3;
    clipped(above / below, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approximations_are_near_the_functions() {
        for step in -200_000..=200_000 {
            let x = step as f32 * 5e-4;
            let wide = f64::from(x);
            assert!((f64::from(tanh(x)) - wide.tanh()).abs() < 6e-7 * wide.tanh().abs() + 1e-30, "tanh {x}");
            let expected = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(sigmoid(x)) - expected).abs() < 4e-7 * expected + 1e-37, "sigmoid {x}");
        }
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(1.0 - tanh(f32::INFINITY) < 3e-7 && 1.0 + tanh(f32::NEG_INFINITY) < 3e-7);
    }
}
