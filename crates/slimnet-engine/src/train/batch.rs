//! What training and evaluation are fed with.

use slimnet_graph::tensor::Tensor;

/// What goes wrong where batches come from.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Some samples: the data of a graph's inputs by their names.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Inputs of the network and of the losses, each `[samples, …]`.
    pub values: Vec<(String, Tensor)>,
    /// How many samples there are.
    pub samples: usize,
}

/// Where the batches of training come from. What it gives is a function of the epoch and the place in it, so that a run
/// can begin again anywhere.
pub trait Source {
    /// How many batches an epoch has.
    fn batches_per_epoch(&self) -> usize;

    /// The batches of an epoch from `first` on, all of the same size.
    fn epoch(&self, epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_>;
}
