//! Data sets as batches.
//!
//! A [`Source`] is named on the command line and opened into [`Splits`]: training, validation and perhaps test samples,
//! each a [`Split`], a choice of samples of a [`Dataset`]. A [`Loader`] makes [`Batch`]es of `f32` out of a split:
//! [`Preprocessing`] and, for training, [`Augmentation`] are applied on background threads. Everything random is
//! a function of a seed, the epoch and the sample, so that a run can begin again at any batch, with any
//! number of threads.
//!
//! ```
//! use slimnet_data::{Augmentation, Loader, LoaderOptions, OpenOptions, Source};
//!
//! let splits = Source::parse("digits")?.open(&OpenOptions::default())?;
//! let augmentation = Augmentation { crop: 1, ..Augmentation::default() };
//! let options = LoaderOptions::training(64, 0, splits.preprocessing.clone(), augmentation);
//! let loader = Loader::new(splits.train.clone(), options)?;
//! for batch in loader.epoch(0, 0) {
//!     assert_eq!(batch?.inputs()[0].shape, [64, 1, 8, 8]);
//! }
//! # Ok::<(), slimnet_data::DataError>(())
//! ```
//!
//! This crate knows nothing of networks.

mod augment;
mod dataset;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod image_file;
mod loader;
mod preprocess;
mod resize;
mod source;
mod split;

pub use augment::Augmentation;
pub use dataset::{Array, Dataset, Target};
pub use error::{DataError, Result};
pub use loader::{Batch, BatchArray, Batches, Loader, LoaderOptions};
pub use preprocess::{Layout, Preprocessing, Resize};
pub use source::{OpenOptions, RECORDS_SYNTAX, Source, default_data_dir};
pub use split::{HoldOut, Part, Split, Splits};
