//! Recurrent layers: `RNN`, `GRU` and `LSTM`.
// Helpers of inner loops must end up in the code that `vectorized` compiles.
#![allow(clippy::inline_always)]

mod activation;
mod backward;
mod forward;
mod layer;

use super::{Family, plain};

/// The family.
pub(super) const FAMILY: Family =
    Family { forward: forward::prepare, gradient: backward::prepare_gradient, arrangement: plain };
