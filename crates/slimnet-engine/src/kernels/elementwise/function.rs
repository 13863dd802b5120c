//! Functions of one number.

use std::f32::consts::FRAC_2_SQRT_PI;

use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::{Clip, GeluApproximation, Unary};

use crate::kernels::functions::{
    clamp, erf, exp, exp_m1, ln, normal_gate, normal_gate_slope, sigmoid, softplus, tanh, tanh_gate,
};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// The map of the first input to the output by a closure that is inlined into the vectorised loop for certain.
macro_rules! map {
    ($call:expr, |$x:ident| $body:expr $(,)?) => {
        $call.map(
            0,
            0,
            #[inline(always)]
            |$x: f32| $body,
        )
    };
}

/// As [`map`], of two inputs.
macro_rules! zip {
    ($call:expr, $inputs:expr, |$x:pat_param, $dy:pat_param| $body:expr $(,)?) => {
        $call.zip(
            $inputs,
            0,
            #[inline(always)]
            |$x: f32, $dy: f32| $body,
        )
    };
}

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

#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn elu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * exp_m1(x) } else { x }
}

impl Kernel for Map {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match &self.op {
            Op::Unary(kind) => unary(*kind, call),
            Op::LeakyRelu(op) => map!(call, |x| if x < 0.0 { op.alpha * x } else { x },),
            Op::Elu(op) => map!(call, |x| elu(x, op.alpha),),
            Op::Selu(op) => map!(call, |x| op.gamma * elu(x, op.alpha),),
            Op::Celu(op) => map!(call, |x| if x < 0.0 { op.alpha * exp_m1(x / op.alpha) } else { x },),
            Op::HardSigmoid(op) => map!(call, |x| clamp(op.alpha * x + op.beta, 0.0, 1.0),),
            Op::ThresholdedRelu(op) => map!(call, |x| if x <= op.alpha { 0.0 } else { x },),
            Op::Gelu(op) => match op.approximate {
                GeluApproximation::None => map!(call, |x| 0.5 * x * normal_gate(x),),
                GeluApproximation::Tanh => map!(call, |x| 0.5 * x * tanh_gate(x).0,),
            },
            Op::Swish(op) => map!(call, |x| x * sigmoid(op.alpha * x),),
            Op::Shrink(op) => map!(call, |x| match x {
                x if x < -op.lambd => x + op.bias,
                x if x > op.lambd => x - op.bias,
                x if x.is_nan() => x,
                _ => 0.0,
            },),
            Op::Clip(Clip {}) => {
                let (low, high) = self.limits.read(call);
                map!(call, |x| clamp(x, low, high),);
            }
            _ => return Err(KernelError::Unsupported(self.op.op_type().to_owned())),
        }
        Ok(())
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        input == 0
    }
}

fn unary(kind: Unary, call: &mut Call<'_>) {
    match kind {
        Unary::Abs => call.map(0, 0, f32::abs),
        Unary::Acos => call.map(0, 0, f32::acos),
        Unary::Acosh => map!(call, |x| f64::from(x).acosh() as f32,),
        Unary::Asin => call.map(0, 0, f32::asin),
        Unary::Asinh => map!(call, |x| f64::from(x).asinh() as f32,),
        Unary::Atan => call.map(0, 0, f32::atan),
        Unary::Atanh => map!(call, |x| f64::from(x).atanh() as f32,),
        Unary::Ceil => call.map(0, 0, f32::ceil),
        Unary::Cos => call.map(0, 0, f32::cos),
        Unary::Cosh => call.map(0, 0, f32::cosh),
        Unary::Erf => map!(call, |x| erf(x),),
        Unary::Exp => map!(call, |x| exp(x),),
        Unary::Floor => call.map(0, 0, f32::floor),
        Unary::HardSwish => map!(call, |x| x * clamp(x / 6.0 + 0.5, 0.0, 1.0),),
        Unary::Log => map!(call, |x| ln(x),),
        Unary::Mish => map!(call, |x| x * tanh(softplus(x)),),
        Unary::Neg => map!(call, |x| -x,),
        Unary::Reciprocal => call.map(0, 0, f32::recip),
        Unary::Relu => map!(call, |x| if x < 0.0 { 0.0 } else { x },),
        Unary::Round => call.map(0, 0, f32::round_ties_even),
        Unary::Sigmoid => map!(call, |x| sigmoid(x),),
        Unary::Sign => map!(call, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x * 0.0
            }
        },),
        Unary::Sin => call.map(0, 0, f32::sin),
        Unary::Sinh => call.map(0, 0, f32::sinh),
        Unary::Softplus => map!(call, |x| softplus(x),),
        Unary::Softsign => map!(call, |x| x / (1.0 + x.abs()),),
        Unary::Sqrt => call.map(0, 0, f32::sqrt),
        Unary::Tan => call.map(0, 0, f32::tan),
        Unary::Tanh => map!(call, |x| tanh(x),),
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
            Op::LeakyRelu(op) => zip!(call, by, |x, dy| if x < 0.0 { op.alpha * dy } else { dy },),
            Op::Elu(op) => zip!(call, by, |x, dy| if x < 0.0 { op.alpha * exp(x) * dy } else { dy },),
            Op::Selu(op) => {
                zip!(call, by, |x, dy| op.gamma * if x < 0.0 { op.alpha * exp(x) * dy } else { dy },);
            }
            Op::Celu(op) => zip!(call, by, |x, dy| if x < 0.0 { exp(x / op.alpha) * dy } else { dy },),
            Op::HardSigmoid(op) => zip!(call, by, |x, dy| {
                let inner = op.alpha * x + op.beta;
                if inner > 0.0 && inner < 1.0 { op.alpha * dy } else { 0.0 }
            },),
            Op::ThresholdedRelu(op) => zip!(call, by, |x, dy| if x <= op.alpha { 0.0 } else { dy },),
            Op::Gelu(op) => match op.approximate {
                GeluApproximation::None => {
                    zip!(call, by, |x, dy| 0.5 * (normal_gate(x) + x * normal_gate_slope(x)) * dy,);
                }
                GeluApproximation::Tanh => zip!(call, by, |x, dy| {
                    let (gate, slope) = tanh_gate(x);
                    0.5 * (gate + x * slope) * dy
                },),
            },
            Op::Swish(op) => zip!(call, by, |x, dy| {
                let gate = sigmoid(op.alpha * x);
                gate * (1.0 + op.alpha * x * (1.0 - gate)) * dy
            },),
            Op::Shrink(op) => zip!(call, by, |x, dy| if x.abs() > op.lambd { dy } else { 0.0 },),
            Op::Clip(Clip {}) => {
                // At a limit the gradient passes.
                let (low, high) = self.limits.read(call);
                zip!(call, by, |x, dy| if x < low || x > high { 0.0 } else { dy },);
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
        Unary::Abs => zip!(call, by, |x, dy| {
            if x > 0.0 {
                dy
            } else if x < 0.0 {
                -dy
            } else {
                0.0
            }
        },),
        Unary::Acos => zip!(call, by, |x, dy| -dy / (1.0 - x * x).sqrt(),),
        Unary::Acosh => zip!(call, by, |x, dy| dy / (x * x - 1.0).sqrt(),),
        Unary::Asin => zip!(call, by, |x, dy| dy / (1.0 - x * x).sqrt(),),
        Unary::Asinh => zip!(call, by, |x, dy| dy / (x * x + 1.0).sqrt(),),
        Unary::Atan => zip!(call, by, |x, dy| dy / (x * x + 1.0),),
        Unary::Atanh => zip!(call, by, |x, dy| dy / (1.0 - x * x),),
        Unary::Cos => zip!(call, by, |x, dy| -dy * x.sin(),),
        Unary::Cosh => zip!(call, by, |x, dy| dy * x.sinh(),),
        Unary::Erf => zip!(call, by, |x, dy| dy * FRAC_2_SQRT_PI * exp(-x * x),),
        Unary::Exp => zip!(call, by, |y, dy| y * dy,),
        Unary::HardSwish => zip!(call, by, |x, dy| {
            let slope = if x <= -3.0 {
                0.0
            } else if x >= 3.0 {
                1.0
            } else {
                x / 3.0 + 0.5
            };
            slope * dy
        },),
        Unary::Log => zip!(call, by, |x, dy| dy / x,),
        Unary::Mish => zip!(call, by, |x, dy| {
            let tanh = tanh(softplus(x));
            (tanh + x * sigmoid(x) * (1.0 - tanh * tanh)) * dy
        },),
        Unary::Neg => zip!(call, by, |_, dy| -dy,),
        Unary::Reciprocal => zip!(call, by, |y, dy| -y * y * dy,),
        Unary::Relu => zip!(call, by, |y, dy| if y > 0.0 { dy } else { 0.0 },),
        Unary::Sigmoid => zip!(call, by, |y, dy| y * (1.0 - y) * dy,),
        Unary::Sin => zip!(call, by, |x, dy| dy * x.cos(),),
        Unary::Sinh => zip!(call, by, |x, dy| dy * x.cosh(),),
        Unary::Softplus => zip!(call, by, |x, dy| sigmoid(x) * dy,),
        Unary::Softsign => zip!(call, by, |x, dy| dy / ((1.0 + x.abs()) * (1.0 + x.abs())),),
        Unary::Sqrt => zip!(call, by, |y, dy| 0.5 * dy / y,),
        Unary::Tan => zip!(call, by, |x, dy| dy / (x.cos() * x.cos()),),
        Unary::Tanh => zip!(call, by, |y, dy| (1.0 - y * y) * dy,),
        Unary::Ceil | Unary::Floor | Unary::Round | Unary::Sign => zip!(call, by, |_, _| 0.0),
        Unary::BitwiseNot | Unary::Identity | Unary::IsNaN | Unary::Not => {
            unreachable!("these are no functions of float32, see `is_function`")
        }
    }
}
