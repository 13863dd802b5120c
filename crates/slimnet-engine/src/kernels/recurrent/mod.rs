//! Recurrent layers: `RNN`, `GRU` and `LSTM`.

mod activation;
mod backward;
mod forward;
mod layer;

use super::Family;

/// The family.
pub(super) const FAMILY: Family = Family { forward: forward::prepare, gradient: backward::prepare_gradient };
