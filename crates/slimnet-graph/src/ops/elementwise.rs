//! Operators that act on each element alone, with broadcasting.

use super::attribute::{attributes, names};
use crate::tensor::ElementType;

names! {
    /// Operators of one input and without attributes.
    pub enum Unary {
        Abs = "Abs",
        Acos = "Acos",
        Acosh = "Acosh",
        Asin = "Asin",
        Asinh = "Asinh",
        Atan = "Atan",
        Atanh = "Atanh",
        BitwiseNot = "BitwiseNot",
        Ceil = "Ceil",
        Cos = "Cos",
        Cosh = "Cosh",
        Erf = "Erf",
        Exp = "Exp",
        Floor = "Floor",
        HardSwish = "HardSwish",
        Identity = "Identity",
        IsNaN = "IsNaN",
        Log = "Log",
        Mish = "Mish",
        Neg = "Neg",
        Not = "Not",
        Reciprocal = "Reciprocal",
        Relu = "Relu",
        Round = "Round",
        Sigmoid = "Sigmoid",
        Sign = "Sign",
        Sin = "Sin",
        Sinh = "Sinh",
        Softplus = "Softplus",
        Softsign = "Softsign",
        Sqrt = "Sqrt",
        Tan = "Tan",
        Tanh = "Tanh",
    }
}

names! {
    /// Operators of two inputs and without attributes.
    pub enum Binary {
        Add = "Add",
        And = "And",
        BitwiseAnd = "BitwiseAnd",
        BitwiseOr = "BitwiseOr",
        BitwiseXor = "BitwiseXor",
        Div = "Div",
        Equal = "Equal",
        Greater = "Greater",
        GreaterOrEqual = "GreaterOrEqual",
        Less = "Less",
        LessOrEqual = "LessOrEqual",
        Mul = "Mul",
        Or = "Or",
        Pow = "Pow",
        PRelu = "PRelu",
        Sub = "Sub",
        Xor = "Xor",
    }
}

names! {
    /// Operators of any number of inputs.
    pub enum Variadic {
        Max = "Max",
        Mean = "Mean",
        Min = "Min",
        Sum = "Sum",
    }
}

names! {
    /// Which way [`BitShift`] goes.
    pub enum ShiftDirection {
        Left = "LEFT",
        Right = "RIGHT",
    }
}

names! {
    /// How [`Gelu`] is computed.
    pub enum GeluApproximation {
        None = "none",
        Tanh = "tanh",
    }
}

attributes! {
    /// x, or alpha · x below 0.
    pub struct LeakyRelu {
        /// The slope below 0.
        alpha: f32 = 0.01,
    }

    /// x, or alpha · (exp(x) − 1) below 0.
    pub struct Elu {
        /// The scale below 0.
        alpha: f32 = 1.0,
    }

    /// gamma · x, or gamma · alpha · (exp(x) − 1) below 0.
    pub struct Selu {
        /// The scale below 0.
        alpha: f32 = 1.673_263_2,
        /// The scale of all.
        gamma: f32 = 1.050_701,
    }

    /// max(0, x) + min(0, alpha · (exp(x / alpha) − 1)).
    pub struct Celu {
        /// The scale below 0.
        alpha: f32 = 1.0,
    }

    /// max(0, min(1, alpha · x + beta)).
    pub struct HardSigmoid {
        /// The slope.
        alpha: f32 = 0.2,
        /// The offset.
        beta: f32 = 0.5,
    }

    /// x where it is above alpha, else 0.
    pub struct ThresholdedRelu {
        /// The threshold.
        alpha: f32 = 1.0,
    }

    /// x · Φ(x).
    pub struct Gelu {
        /// How Φ is computed.
        approximate: GeluApproximation = GeluApproximation::None,
    }

    /// x · sigmoid(alpha · x) (opset 24).
    pub struct Swish {
        /// The slope inside the sigmoid.
        alpha: f32 = 1.0,
    }

    /// 0 within ± lambd, else moved towards 0 by bias.
    pub struct Shrink {
        /// How far values move.
        bias: f32 = 0.0,
        /// Half the width of the zero.
        lambd: f32 = 0.5,
    }

    /// Whether an element is infinite.
    pub struct IsInf {
        /// Whether −∞ counts.
        detect_negative: bool = true,
        /// Whether +∞ counts.
        detect_positive: bool = true,
    }

    /// Limits elements to inputs 1 (min) and 2 (max), each a scalar and optional.
    pub struct Clip {}

    /// Remainder of a division.
    pub struct Mod {
        /// Whether the sign is the dividend's (as C's fmod) instead of the divisor's.
        fmod: bool = false,
    }

    /// Shifts unsigned integers.
    pub struct BitShift {
        /// Which way.
        direction: ShiftDirection,
    }

    /// Input 1 where input 0 is true, else input 2.
    pub struct Where {}

    /// Converts elements to another type.
    pub struct Cast {
        /// Whether 8-bit floats saturate.
        saturate: bool = true,
        /// The element type.
        to: ElementType,
    }

    /// Converts elements to the type of input 1.
    pub struct CastLike {
        /// Whether 8-bit floats saturate.
        saturate: bool = true,
    }
}
