//! Coupled axes: which slices of which tensors go together.
//!
//! Each operator says once how *labels* of positions pass through it: convolutions label their output channels, an
//! elementwise operator unites equal positions, Concat, Split, Slice and Pad shift, Reshape and Transpose move labels as
//! they move data. United labels are a *group* ([`couple`]); groups that are not frozen can be [removed](remove()), and
//! what is left computes what the network would with every parameter slice that reads the group set to zero.

mod coupling;
mod labels;
mod pass;
mod reason;
mod remove;
mod rules;

pub use coupling::{Access, AxisCover, Block, CoupledAxis, Coupling, GroupId, Slice, couple};
pub use reason::Reason;
pub use remove::{Removal, RemoveError, remove};

/// How axes are coupled.
#[derive(Debug, Clone, Default)]
pub struct CoupleOptions {
    /// Whether positions may go over which a normalisation, softmax, mean or the like is computed. Removing them then
    /// changes more than the slices that read them.
    pub approximate: bool,
    /// An operator whose rule is left out, to test that its rule is needed.
    #[doc(hidden)]
    pub without_rule: Option<&'static str>,
}
