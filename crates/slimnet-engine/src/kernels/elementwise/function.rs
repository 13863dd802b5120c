//! Functions of one number.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
use std::f64::consts::FRAC_2_SQRT_PI;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::{Clip, GeluApproximation, Unary};

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// A function applied to every element.
#[derive(Debug)]
struct Map {
    op: Op,
    limits: Limits,
}

/// The limits of a Clip that are known before it runs, else slots to read.
#[derive(Debug, Clone, Copy)]
struct Limits {
    low: bool,
    high: bool,
}

impl Limits {
    /// Of an application with so many inputs.
    fn of(node: &NodeType<'_>, inputs: usize) -> Self {
        Self { low: inputs > 1 && node.input(1).is_some(), high: inputs > 2 && node.input(2).is_some() }
    }

    fn read(self, call: &Call<'_>) -> (f32, f32) {
        let limit = |present: bool, slot: usize, none: f32| if present { call.input::<f32>(slot)[0] } else { none };
        (limit(self.low, 1, f32::NEG_INFINITY), limit(self.high, 2, f32::INFINITY))
    }
}

/// Whether the operator is a function of its first input here.
pub(super) fn is_function(op: &Op) -> bool {
    match op {
        Op::Unary(kind) => !matches!(kind, Unary::BitwiseNot | Unary::Identity | Unary::IsNaN | Unary::Not),
        Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::HardSigmoid(_) | Op::ThresholdedRelu(_) => true,
        Op::Gelu(_) | Op::Swish(_) | Op::Shrink(_) | Op::Clip(_) => true,
        _ => false,
    }
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    if !is_function(op) || !node.all_f32() {
        return None;
    }
    Some(Box::new(Map { op: op.clone(), limits: Limits::of(node, node.inputs.len()) }))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn elu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * x.exp_m1() } else { x }
}

/// The error function, by Abramowitz and Stegun's series for small and continued fraction for large arguments.
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 2.5 {
        // Σ (−1)^n x^(2n+1) / (n! (2n+1)).
        let (mut term, mut sum) = (magnitude, magnitude);
        for n in 1..40 {
            let n = f64::from(n);
            term *= -magnitude * magnitude / n;
            sum += term / (2.0 * n + 1.0);
        }
        return (FRAC_2_SQRT_PI * sum).copysign(x);
    }
    let mut fraction = 0.0;
    for n in (1..=30).rev() {
        fraction = f64::from(n) / 2.0 / (magnitude + fraction);
    }
    let rest = (-magnitude * magnitude).exp() / (magnitude + fraction) * FRAC_2_SQRT_PI / 2.0;
    (1.0 - rest).copysign(x)
}

/// Twice the distribution function of the normal distribution, as Gelu computes it, and its derivative by x.
fn gelu_gate(x: f32, approximate: GeluApproximation) -> (f32, f32) {
    match approximate {
        GeluApproximation::None => {
            let gate = 1.0 + erf(f64::from(x * FRAC_1_SQRT_2)) as f32;
            (gate, FRAC_2_PI.sqrt() * (-0.5 * x * x).exp())
        }
        GeluApproximation::Tanh => {
            let inner = FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
            let tanh = inner.tanh();
            (1.0 + tanh, (1.0 - tanh * tanh) * FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044_715 * x * x))
        }
    }
}

impl Kernel for Map {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match &self.op {
            Op::Unary(kind) => unary(*kind, call),
            Op::LeakyRelu(op) => call.map(0, 0, |x| if x < 0.0 { op.alpha * x } else { x }),
            Op::Elu(op) => call.map(0, 0, |x| elu(x, op.alpha)),
            Op::Selu(op) => call.map(0, 0, |x| op.gamma * elu(x, op.alpha)),
            Op::Celu(op) => call.map(0, 0, |x| if x < 0.0 { op.alpha * (x / op.alpha).exp_m1() } else { x }),
            Op::HardSigmoid(op) => call.map(0, 0, |x| clamp(op.alpha * x + op.beta, 0.0, 1.0)),
            Op::ThresholdedRelu(op) => call.map(0, 0, |x| if x <= op.alpha { 0.0 } else { x }),
            Op::Gelu(op) => call.map(0, 0, |x| 0.5 * x * gelu_gate(x, op.approximate).0),
            Op::Swish(op) => call.map(0, 0, |x| x * sigmoid(op.alpha * x)),
            Op::Shrink(op) => call.map(0, 0, |x| match x {
                x if x < -op.lambd => x + op.bias,
                x if x > op.lambd => x - op.bias,
                x if x.is_nan() => x,
                _ => 0.0,
            }),
            Op::Clip(Clip {}) => {
                let (low, high) = self.limits.read(call);
                call.map(0, 0, |x| clamp(x, low, high));
            }
            _ => return Err(KernelError::Unsupported(self.op.op_type().to_owned())),
        }
        Ok(())
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        input == 0
    }
}

/// Limited from below, then from above; NaN stays.
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn unary(kind: Unary, call: &mut Call<'_>) {
    match kind {
        Unary::Abs => call.map(0, 0, f32::abs),
        Unary::Acos => call.map(0, 0, f32::acos),
        Unary::Acosh => call.map(0, 0, |x| f64::from(x).acosh() as f32),
        Unary::Asin => call.map(0, 0, f32::asin),
        Unary::Asinh => call.map(0, 0, |x| f64::from(x).asinh() as f32),
        Unary::Atan => call.map(0, 0, f32::atan),
        Unary::Atanh => call.map(0, 0, |x| f64::from(x).atanh() as f32),
        Unary::Ceil => call.map(0, 0, f32::ceil),
        Unary::Cos => call.map(0, 0, f32::cos),
        Unary::Cosh => call.map(0, 0, f32::cosh),
        Unary::Erf => call.map(0, 0, |x| erf(f64::from(x)) as f32),
        Unary::Exp => call.map(0, 0, f32::exp),
        Unary::Floor => call.map(0, 0, f32::floor),
        Unary::HardSwish => call.map(0, 0, |x| x * clamp(x / 6.0 + 0.5, 0.0, 1.0)),
        Unary::Log => call.map(0, 0, f32::ln),
        Unary::Mish => call.map(0, 0, |x| x * softplus(x).tanh()),
        Unary::Neg => call.map(0, 0, |x| -x),
        Unary::Reciprocal => call.map(0, 0, f32::recip),
        Unary::Relu => call.map(0, 0, |x| if x < 0.0 { 0.0 } else { x }),
        Unary::Round => call.map(0, 0, f32::round_ties_even),
        Unary::Sigmoid => call.map(0, 0, sigmoid),
        Unary::Sign => call.map(0, 0, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x * 0.0
            }
        }),
        Unary::Sin => call.map(0, 0, f32::sin),
        Unary::Sinh => call.map(0, 0, f32::sinh),
        Unary::Softplus => call.map(0, 0, softplus),
        Unary::Softsign => call.map(0, 0, |x| x / (1.0 + x.abs())),
        Unary::Sqrt => call.map(0, 0, f32::sqrt),
        Unary::Tan => call.map(0, 0, f32::tan),
        Unary::Tanh => call.map(0, 0, f32::tanh),
        Unary::BitwiseNot | Unary::Identity | Unary::IsNaN | Unary::Not => {
            unreachable!("these are no functions of float32, see `is_function`")
        }
    }
}

/// The gradient of a function: that of the output times the derivative, of which some are simplest in the output.
#[derive(Debug)]
struct Slope {
    op: Op,
    limits: Limits,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Op, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    if matches!(op, Op::Cast(_) | Op::CastLike(_)) {
        let same = node.input(0)?.is_f32() && node.input(gradient.gradient_slot(0))?.is_f32();
        return same.then(|| Box::new(Same(gradient.gradient_slot(0))) as Box<dyn Kernel>);
    }
    if !is_function(op) || !node.all_f32() || node.outputs.iter().skip(1).any(Option::is_some) {
        return None;
    }
    node.input(gradient.gradient_slot(0))?;
    Some(Box::new(Slope {
        op: op.clone(),
        limits: Limits::of(node, gradient.inputs),
        gradient: gradient.gradient_slot(0),
    }))
}

/// A gradient that is passed on as it is.
#[derive(Debug)]
pub(super) struct Same(pub(super) usize);

impl Kernel for Same {
    fn run(&self, _call: &mut Call<'_>) -> Result<(), KernelError> {
        Ok(())
    }

    fn alias(&self, _output: usize) -> Option<usize> {
        Some(self.0)
    }
}

/// Whether the derivative is computed from the output.
fn by_output(op: &Op) -> bool {
    matches!(op, Op::Unary(Unary::Relu | Unary::Sigmoid | Unary::Tanh | Unary::Exp | Unary::Sqrt | Unary::Reciprocal))
}

impl Kernel for Slope {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let by = [usize::from(by_output(&self.op)) * self.output_slot(), self.gradient];
        match &self.op {
            Op::Unary(kind) => unary_slope(*kind, by, call),
            Op::LeakyRelu(op) => call.zip(by, 0, |x, dy| if x < 0.0 { op.alpha * dy } else { dy }),
            Op::Elu(op) => call.zip(by, 0, |x, dy| if x < 0.0 { op.alpha * x.exp() * dy } else { dy }),
            Op::Selu(op) => {
                call.zip(by, 0, |x, dy| op.gamma * if x < 0.0 { op.alpha * x.exp() * dy } else { dy });
            }
            Op::Celu(op) => call.zip(by, 0, |x, dy| if x < 0.0 { (x / op.alpha).exp() * dy } else { dy }),
            Op::HardSigmoid(op) => call.zip(by, 0, |x, dy| {
                let inner = op.alpha * x + op.beta;
                if inner > 0.0 && inner < 1.0 { op.alpha * dy } else { 0.0 }
            }),
            Op::ThresholdedRelu(op) => call.zip(by, 0, |x, dy| if x <= op.alpha { 0.0 } else { dy }),
            Op::Gelu(op) => call.zip(by, 0, |x, dy| {
                let (gate, slope) = gelu_gate(x, op.approximate);
                0.5 * (gate + x * slope) * dy
            }),
            Op::Swish(op) => call.zip(by, 0, |x, dy| {
                let gate = sigmoid(op.alpha * x);
                gate * (1.0 + op.alpha * x * (1.0 - gate)) * dy
            }),
            Op::Shrink(op) => call.zip(by, 0, |x, dy| if x.abs() > op.lambd { dy } else { 0.0 }),
            Op::Clip(Clip {}) => {
                // At a limit the gradient passes.
                let (low, high) = self.limits.read(call);
                call.zip(by, 0, |x, dy| if x < low || x > high { 0.0 } else { dy });
            }
            _ => return Err(KernelError::Unsupported(self.op.op_type().to_owned())),
        }
        Ok(())
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        input == self.gradient
    }

    fn reads(&self, input: usize) -> bool {
        let limit = matches!(self.op, Op::Clip(_)) && (1..self.output_slot()).contains(&input);
        input == self.gradient || limit || input == usize::from(by_output(&self.op)) * self.output_slot()
    }
}

impl Slope {
    /// Slot of the output: the gradient of the one output is behind it.
    fn output_slot(&self) -> usize {
        self.gradient - 1
    }
}

fn unary_slope(kind: Unary, by: [usize; 2], call: &mut Call<'_>) {
    match kind {
        Unary::Abs => call.zip(by, 0, |x, dy| {
            if x > 0.0 {
                dy
            } else if x < 0.0 {
                -dy
            } else {
                0.0
            }
        }),
        Unary::Acos => call.zip(by, 0, |x, dy| -dy / (1.0 - x * x).sqrt()),
        Unary::Acosh => call.zip(by, 0, |x, dy| dy / (x * x - 1.0).sqrt()),
        Unary::Asin => call.zip(by, 0, |x, dy| dy / (1.0 - x * x).sqrt()),
        Unary::Asinh => call.zip(by, 0, |x, dy| dy / (x * x + 1.0).sqrt()),
        Unary::Atan => call.zip(by, 0, |x, dy| dy / (x * x + 1.0)),
        Unary::Atanh => call.zip(by, 0, |x, dy| dy / (1.0 - x * x)),
        Unary::Cos => call.zip(by, 0, |x, dy| -dy * x.sin()),
        Unary::Cosh => call.zip(by, 0, |x, dy| dy * x.sinh()),
        Unary::Erf => call.zip(by, 0, |x, dy| dy * FRAC_2_SQRT_PI as f32 * (-x * x).exp()),
        Unary::Exp => call.zip(by, 0, |y, dy| y * dy),
        Unary::HardSwish => call.zip(by, 0, |x, dy| {
            let slope = if x <= -3.0 {
                0.0
            } else if x >= 3.0 {
                1.0
            } else {
                x / 3.0 + 0.5
            };
            slope * dy
        }),
        Unary::Log => call.zip(by, 0, |x, dy| dy / x),
        Unary::Mish => call.zip(by, 0, |x, dy| {
            let tanh = softplus(x).tanh();
            (tanh + x * sigmoid(x) * (1.0 - tanh * tanh)) * dy
        }),
        Unary::Neg => call.zip(by, 0, |_, dy| -dy),
        Unary::Reciprocal => call.zip(by, 0, |y, dy| -y * y * dy),
        Unary::Relu => call.zip(by, 0, |y, dy| if y > 0.0 { dy } else { 0.0 }),
        Unary::Sigmoid => call.zip(by, 0, |y, dy| y * (1.0 - y) * dy),
        Unary::Sin => call.zip(by, 0, |x, dy| dy * x.cos()),
        Unary::Sinh => call.zip(by, 0, |x, dy| dy * x.cosh()),
        Unary::Softplus => call.zip(by, 0, |x, dy| sigmoid(x) * dy),
        Unary::Softsign => call.zip(by, 0, |x, dy| dy / ((1.0 + x.abs()) * (1.0 + x.abs()))),
        Unary::Sqrt => call.zip(by, 0, |y, dy| 0.5 * dy / y),
        Unary::Tan => call.zip(by, 0, |x, dy| dy / (x.cos() * x.cos())),
        Unary::Tanh => call.zip(by, 0, |y, dy| (1.0 - y * y) * dy),
        Unary::Ceil | Unary::Floor | Unary::Round | Unary::Sign => call.zip(by, 0, |_, _| 0.0),
        Unary::BitwiseNot | Unary::Identity | Unary::IsNaN | Unary::Not => {
            unreachable!("these are no functions of float32, see `is_function`")
        }
    }
}
