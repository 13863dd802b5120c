//! Reductions and their relatives along axes.

use super::attribute::{attributes, names};

names! {
    /// What [`Reduce`] computes.
    pub enum ReduceKind {
        L1 = "ReduceL1",
        L2 = "ReduceL2",
        LogSum = "ReduceLogSum",
        LogSumExp = "ReduceLogSumExp",
        Max = "ReduceMax",
        Mean = "ReduceMean",
        Min = "ReduceMin",
        Prod = "ReduceProd",
        Sum = "ReduceSum",
        SumSquare = "ReduceSumSquare",
    }
}

names! {
    /// What [`ArgReduce`] looks for.
    pub enum ArgReduceKind {
        ArgMax = "ArgMax",
        ArgMin = "ArgMin",
    }
}

attributes! {
    /// Reduces the axes that input 1 lists (absent: all, unless told otherwise).
    pub struct Reduce {
        /// Whether reduced axes stay with length 1.
        keepdims: bool = true,
        /// Whether no axes mean no reduction instead of all axes.
        noop_with_empty_axes: bool = false,
    }

    /// Index of the extreme element along an axis.
    pub struct ArgReduce {
        /// The axis.
        axis: i64 = 0,
        /// Whether the axis stays with length 1.
        keepdims: bool = true,
        /// Whether of equal elements the last counts.
        select_last_index: bool = false,
    }

    /// The k (input 1) extreme elements along an axis, and their indices.
    pub struct TopK {
        /// The axis.
        axis: i64 = -1,
        /// Whether the largest are taken.
        largest: bool = true,
        /// Whether they come in order.
        sorted: bool = true,
    }

    /// Running sum along the axis that input 1 gives.
    pub struct CumSum {
        /// Whether an element's own value is left out of its sum.
        exclusive: bool = false,
        /// Whether the sum runs from the end.
        reverse: bool = false,
    }
}
