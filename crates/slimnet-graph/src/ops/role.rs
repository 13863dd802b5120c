//! What the data in an operator's slot is: a parameter that training may change, a statistic, or a constant.

use super::Op;
use super::elementwise::Binary;

/// What the data that feeds a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Trained: weight, bias, scale, slope, table.
    Parameter,
    /// Measured while training: running mean and variance.
    Statistic,
    /// Neither: shapes, axes, indices, limits.
    Constant,
}

impl Op {
    /// The role of data that feeds input `slot`.
    ///
    /// An operand of an addition or multiplication is a parameter too: exporters write biases and scales so. (Integer and
    /// bool data is never a parameter, whatever the slot; that is the caller's to see.)
    pub fn slot_role(&self, slot: usize) -> Role {
        let parameter = match self {
            Self::Conv(_) | Self::ConvTranspose(_) | Self::Gemm(_) => slot <= 2,
            Self::MatMul(_) | Self::Einsum(_) => true,
            Self::BatchNormalization(_) if slot >= 3 => return Role::Statistic,
            Self::BatchNormalization(_) | Self::InstanceNormalization(_) | Self::LayerNormalization(_) => slot <= 2,
            Self::GroupNormalization(_) | Self::RmsNormalization(_) => slot <= 2,
            Self::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::PRelu) => true,
            Self::Variadic(_) => true,
            Self::Gather(_) => slot == 0,
            Self::Lstm(_) => slot <= 3 || slot == 7,
            Self::Gru(_) | Self::Rnn(_) => slot <= 3,
            Self::ConvInteger(_) | Self::MatMulInteger(_) => slot <= 1,
            Self::QLinearConv(_) => matches!(slot, 3 | 8),
            Self::QLinearMatMul(_) => matches!(slot, 0 | 3),
            Self::DequantizeLinear(_) | Self::QuantizeLinear(_) => slot <= 1,
            Self::Concat(_) => true,
            Self::Where(_) => slot >= 1,
            Self::Expand(_) => slot == 0,
            _ => false,
        };
        if parameter { Role::Parameter } else { Role::Constant }
    }
}
