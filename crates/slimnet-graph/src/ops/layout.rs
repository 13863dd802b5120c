//! Operators that move elements without computing.

use super::attribute::{attributes, names};

names! {
    /// What [`Pad`] fills with.
    pub enum PadMode {
        Constant = "constant",
        Reflect = "reflect",
        Edge = "edge",
        Wrap = "wrap",
    }
}

names! {
    /// Order of the channels in [`DepthToSpace`].
    pub enum DepthToSpaceMode {
        DepthColumnRow = "DCR",
        ColumnRowDepth = "CRD",
    }
}

attributes! {
    /// Shape from input 1: 0 keeps a dimension, −1 is what is left.
    pub struct Reshape {
        /// Whether 0 means 0.
        allowzero: bool = false,
    }

    /// To two axes, split before `axis`.
    pub struct Flatten {
        /// The first axis of the second part.
        axis: i64 = 1,
    }

    /// Removes the axes of length 1 that input 1 lists (absent: all of length 1).
    pub struct Squeeze {}

    /// Inserts axes of length 1 where input 1 lists them.
    pub struct Unsqueeze {}

    /// Permutes the axes.
    pub struct Transpose {
        /// Source axis of each axis; absent: reversed.
        perm: Option<Vec<i64>> = None,
    }

    /// Broadcasts to the shape of input 1.
    pub struct Expand {}

    /// Joins tensors along an axis.
    pub struct Concat {
        /// The axis.
        axis: i64,
    }

    /// Splits along an axis into the lengths of input 1, or into equal parts.
    pub struct Split {
        /// The axis.
        axis: i64 = 0,
        /// Number of equal parts, where input 1 is absent; absent: the number of outputs.
        num_outputs: Option<i64> = None,
    }

    /// Starts, ends, axes and steps are inputs 1 to 4.
    pub struct Slice {}

    /// Pads by input 1 (begins, then ends), with the value of input 2, on the axes of input 3.
    pub struct Pad {
        /// What it fills with.
        mode: PadMode = PadMode::Constant,
    }

    /// Repeats along each axis as often as input 1 says.
    pub struct Tile {}

    /// Moves channels to space: `[N, C·b², H, W]` to `[N, C, H·b, W·b]`.
    pub struct DepthToSpace {
        /// b.
        blocksize: i64,
        /// Order of the channels.
        mode: DepthToSpaceMode = DepthToSpaceMode::DepthColumnRow,
    }

    /// Moves space to channels: `[N, C, H·b, W·b]` to `[N, C·b², H, W]`.
    pub struct SpaceToDepth {
        /// b.
        blocksize: i64,
    }

    /// Keeps one triangle of the last two axes; input 1 is the diagonal.
    pub struct Trilu {
        /// Whether the upper one.
        upper: bool = true,
    }

    /// Reverses the first `input 1` steps of each example.
    pub struct ReverseSequence {
        /// The axis of examples.
        batch_axis: i64 = 1,
        /// The axis of steps.
        time_axis: i64 = 0,
    }

    /// Crops or pads around the middle to the shape of input 1.
    pub struct CenterCropPad {
        /// The axes that input 1 speaks of; absent: all.
        axes: Option<Vec<i64>> = None,
    }
}
