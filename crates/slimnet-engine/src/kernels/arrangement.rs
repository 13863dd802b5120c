//! Where the channels of a tensor lie in memory.
//!
//! ONNX has them second: `[N, C, H, W]`. Kernels of windows are faster on `[N, H, W, C]`, where a pixel's channels lie
//! side by side and fill vectors whatever the size of the image. A plan decides for each node ([`crate::plan`]); a family
//! says what it can take ([`Arrangement`]).

use slimnet_graph::Op;

/// The order of the axes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// As ONNX has them.
    #[default]
    Plain,
    /// The second axis (channels) comes last.
    ChannelsLast,
}

/// What a family can do with an operator whose tensors have their channels last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// Nothing: it takes all tensors as ONNX has them.
    Plain,
    /// It computes element by element: axes may have any order, if it is the same for all tensors.
    Elementwise,
    /// It has kernels for them ([`super::NodeType::layout`]), which are faster.
    ChannelsLast,
}

/// Whether an input or output of a channels-last node has its channels last: everything of at least three axes but the
/// weights of a convolution (and their gradient).
pub fn follows_layout(op: &Op, rank: usize, slot: usize) -> bool {
    let weights = |op: &Op| matches!(op, Op::Conv(_) | Op::ConvTranspose(_)) && slot == 1;
    rank >= 3
        && match op {
            Op::Gradient(gradient) => !weights(&gradient.of),
            op => !weights(op),
        }
}

/// The shape with the second axis last.
pub fn channels_last(shape: &[usize]) -> Vec<usize> {
    let mut moved = shape.to_vec();
    moved[1..].rotate_left(1);
    moved
}

/// The shape whose second axis is last here.
pub fn channels_second(shape: &[usize]) -> Vec<usize> {
    let mut moved = shape.to_vec();
    moved[1..].rotate_right(1);
    moved
}
