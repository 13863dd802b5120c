//! Running and training graphs: differentiation as a rewrite, planned execution, kernels, optimisers, the training loop.
//!
//! Knows nothing of techniques and of where data comes from.

pub mod differentiate;
pub mod inference;
pub mod job;
pub mod kernels;
pub mod optimize;
pub mod plan;
pub mod threads;
pub mod train;

pub use differentiate::differentiate;
pub use inference::inference_form;
pub use job::{Job, JobOptions};
pub use plan::{Plan, PlanOptions};
pub use threads::Threads;
