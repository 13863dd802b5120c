//! Activation functions of recurrent layers, with their slopes.

use crate::kernels::functions::{exp, exp_m1, sigmoid, softplus, tanh};
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
            Self::Softplus => each(
                clip,
                x,
                slopes,
                #[inline(always)]
                |x| (softplus(x), sigmoid(x)),
            ),
            Self::Affine { alpha, beta } => each(clip, x, slopes, |x| (alpha * x + beta, alpha)),
            Self::LeakyRelu { alpha } => {
                each(clip, x, slopes, |x| if x < 0.0 { (alpha * x, alpha) } else { (x, 1.0) });
            }
            Self::ThresholdedRelu { alpha } => {
                each(clip, x, slopes, |x| (if x >= alpha { x } else { 0.0 }, step(x >= alpha)));
            }
            Self::ScaledTanh { alpha, beta } => each(
                clip,
                x,
                slopes,
                #[inline(always)]
                |x| {
                    let y = tanh(beta * x);
                    (alpha * y, alpha * beta * (1.0 - y * y))
                },
            ),
            Self::HardSigmoid { alpha, beta } => each(clip, x, slopes, |x| {
                let y = alpha * x + beta;
                (y.clamp(0.0, 1.0), if y > 0.0 && y < 1.0 { alpha } else { 0.0 })
            }),
            Self::Elu { alpha } => {
                each(
                    clip,
                    x,
                    slopes,
                    #[inline(always)]
                    |x| if x < 0.0 { (alpha * exp_m1(x), alpha * exp(x)) } else { (x, 1.0) },
                );
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
