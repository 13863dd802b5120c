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

impl Batch {
    /// `count` of its samples from `start` on, in shared memory; `None` if it has fewer, or a tensor has not one row a
    /// sample.
    pub fn part(&self, start: usize, count: usize) -> Option<Self> {
        let part = |(name, data): &(String, Tensor)| Some((name.clone(), rows(data, self.samples, start, count)?));
        Some(Self { values: self.values.iter().map(part).collect::<Option<_>>()?, samples: count })
    }
}

/// Rows of a tensor that has `samples` of them.
fn rows(data: &Tensor, samples: usize, start: usize, count: usize) -> Option<Tensor> {
    let mut shape = data.shape().to_vec();
    let end = start.checked_add(count).filter(|&end| end <= samples && shape.first() == Some(&samples))?;
    let bytes = data.bytes()?;
    let each = bytes.len() / samples.max(1);
    shape[0] = count;
    Tensor::from_bytes(data.element_type(), shape, bytes.slice(start * each..end * each)).ok()
}

/// Where the batches of training come from. What it gives is a function of the epoch and the place in it, so that a run
/// can begin again anywhere.
pub trait Source {
    /// How many batches an epoch has.
    fn batches_per_epoch(&self) -> usize;

    /// The batches of an epoch from `first` on, all of the same size.
    fn epoch(&self, epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch, SourceError>> + '_>;
}
