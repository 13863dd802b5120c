//! Batches of an epoch, made on background threads.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use slimnet_graph::zoo::random::Stream;

use crate::augment::{self, Augmentation};
use crate::dataset::{Array, Target, position_of};
use crate::error::{DataError, Result};
use crate::preprocess::{Preprocessing, Scratch};
use crate::split::{Split, permutation};

/// How batches are made.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Samples a batch.
    pub batch_size: usize,
    /// Whether the samples come in a random order, another one each epoch; else in the order of the split.
    pub shuffle: bool,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// What decides the order and the augmentation.
    pub seed: u64,
    /// Background threads; 0 makes each batch when it is asked for. Batches are the same for any number.
    pub threads: usize,
    /// What is done to the first input.
    pub preprocessing: Preprocessing,
    /// Random changes of the first input. For training only.
    pub augmentation: Augmentation,
}

impl LoaderOptions {
    /// For training: shuffled, without a last batch that is not full, two threads.
    pub fn training(batch_size: usize, seed: u64, preprocessing: Preprocessing, augmentation: Augmentation) -> Self {
        Self { batch_size, shuffle: true, drop_last: true, seed, threads: 2, preprocessing, augmentation }
    }

    /// For evaluation: every sample once, in order, unchanged, two threads.
    pub fn evaluation(batch_size: usize, preprocessing: Preprocessing) -> Self {
        let augmentation = Augmentation::default();
        Self { batch_size, shuffle: false, drop_last: false, seed: 0, threads: 2, preprocessing, augmentation }
    }
}

/// Batches that a thread may have ready before it waits.
const AHEAD: usize = 2;

/// An array of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchArray {
    /// Name of the array.
    pub name: String,
    /// `[samples in this batch, …]`.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub values: Vec<f32>,
}

/// Some samples, ready for a network. Its memory goes back to the loader when it is dropped.
#[derive(Debug)]
pub struct Batch {
    contents: Contents,
    pool: Arc<Pool>,
}

#[derive(Debug, Default)]
struct Contents {
    inputs: Vec<BatchArray>,
    target: Option<BatchArray>,
    labels: Option<Vec<i64>>,
    indices: Vec<u32>,
}

impl Batch {
    /// The inputs, preprocessed.
    pub fn inputs(&self) -> &[BatchArray] {
        &self.contents.inputs
    }

    /// The class of each sample, if the data has classes.
    pub fn labels(&self) -> Option<&[i64]> {
        self.contents.labels.as_deref()
    }

    /// The target of each sample, if it is numbers.
    pub fn target(&self) -> Option<&BatchArray> {
        self.contents.target.as_ref()
    }

    /// Index of each sample in the data set.
    pub fn indices(&self) -> &[u32] {
        &self.contents.indices
    }

    /// Number of samples: the batch size, except in a last batch.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.contents.indices.len()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.contents));
    }
}

/// Memory of batches that nobody holds any more.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Contents>>);

impl Pool {
    fn take(&self) -> Contents {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, contents: Contents) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(contents);
    }
}

/// Makes batches out of a split. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Loader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    split: Split,
    options: LoaderOptions,
    /// Shape of a sample of each input as it leaves.
    shapes: Vec<Vec<usize>>,
    pool: Arc<Pool>,
}

impl Loader {
    /// A loader.
    ///
    /// # Errors
    /// If the split or every batch is empty, if samples do not fit the preprocessing or the augmentation, or if a batch
    /// is larger than memory addresses reach.
    pub fn new(split: Split, mut options: LoaderOptions) -> Result<Self> {
        if split.is_empty() {
            return Err(DataError::Empty("the split".into()));
        }
        let batch_size = options.batch_size;
        let wrong = |expected: String| Err(DataError::option("batch size", &batch_size.to_string(), expected));
        if batch_size == 0 || (options.drop_last && batch_size > split.len()) {
            return wrong(format!("1 to {}, the number of samples", split.len()));
        }
        options.batch_size = batch_size.min(split.len());
        let inputs = split.dataset().inputs();
        let mut shapes = vec![options.preprocessing.output_shape(&inputs[0])?];
        options.augmentation.check(inputs[0].name(), &shapes[0])?;
        for input in &inputs[1..] {
            shapes.push(Preprocessing::default().output_shape(input)?);
        }
        for shape in &shapes {
            let count = shape.iter().try_fold(options.batch_size.max(1), |count, &length| count.checked_mul(length));
            if count.is_none_or(|count| count > isize::MAX as usize / size_of::<f32>()) {
                return wrong(format!("fewer samples of shape {shape:?}"));
            }
        }
        Ok(Self(Arc::new(Inner { split, options, shapes, pool: Arc::default() })))
    }

    /// The samples that it makes batches of.
    pub fn split(&self) -> &Split {
        &self.0.split
    }

    /// How it makes them.
    pub fn options(&self) -> &LoaderOptions {
        &self.0.options
    }

    /// Name and shape of a sample of each input, as they leave.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let arrays = self.0.split.dataset().inputs().iter();
        arrays.zip(&self.0.shapes).map(|(array, shape)| (array.name(), shape.as_slice()))
    }

    /// Batches an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let LoaderOptions { batch_size, drop_last, .. } = self.0.options;
        if drop_last { self.0.split.len() / batch_size } else { self.0.split.len().div_ceil(batch_size) }
    }

    /// The batches of an epoch from one of them on: the same as if the ones before had been made.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        let LoaderOptions { shuffle, seed, threads, .. } = self.0.options;
        let order: Arc<[u32]> = if shuffle {
            let stream = Stream::new(Stream::named(seed, "order").bits(epoch), 0);
            permutation(stream, self.0.split.len())
                .into_iter()
                .map(|place| self.0.split.samples()[place as usize])
                .collect()
        } else {
            self.0.split.samples().into()
        };
        let end = self.batches_per_epoch();
        let work = Work { inner: self.0.clone(), order, epoch, end };
        let mut batches = Batches {
            next: first_batch.min(end),
            work,
            receivers: VecDeque::new(),
            threads: Vec::new(),
            maker: Maker::default(),
        };
        let threads = threads.min(end - batches.next);
        for thread in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let (work, first) = (batches.work.clone(), batches.next + thread);
            let spawned = std::thread::Builder::new()
                .name("slimnet-data".into())
                .spawn(move || work.run((first..end).step_by(threads), &sender));
            let Ok(handle) = spawned else {
                // No thread to be had: the batches are made when they are asked for.
                batches.stop();
                break;
            };
            batches.receivers.push_back(receiver);
            batches.threads.push(handle);
        }
        batches
    }
}

/// The batches of an epoch; made by [`Loader::epoch`]. After an error there are no more.
#[derive(Debug)]
pub struct Batches {
    work: Work,
    next: usize,
    /// One a thread; the front one has the next batch.
    receivers: VecDeque<Receiver<Result<Batch>>>,
    threads: Vec<JoinHandle<()>>,
    maker: Maker,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.work.end {
            return None;
        }
        let batch = match self.receivers.pop_front() {
            None => self.work.make(self.next, &mut self.maker),
            Some(receiver) => {
                let batch = receiver.recv().unwrap_or(Err(DataError::Worker));
                self.receivers.push_back(receiver);
                batch
            }
        };
        self.next = if batch.is_ok() { self.next + 1 } else { self.work.end };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error ends the batches early.
        (usize::from(self.next < self.work.end), Some(self.work.end - self.next))
    }
}

impl Batches {
    fn stop(&mut self) {
        // Threads that wait to send are told by the end of their channels.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if it had one, has been reported as an error.
            let _ = thread.join();
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Space that samples go through, kept from batch to batch.
#[derive(Debug, Default)]
struct Maker {
    raw: Vec<f32>,
    preprocessed: Vec<f32>,
    scratch: Scratch,
}

/// What a thread must know to make the batches of an epoch.
#[derive(Debug, Clone)]
struct Work {
    inner: Arc<Inner>,
    order: Arc<[u32]>,
    epoch: u64,
    /// Number of batches in the epoch.
    end: usize,
}

impl Work {
    fn run(&self, batches: impl Iterator<Item = usize>, sender: &SyncSender<Result<Batch>>) {
        let mut maker = Maker::default();
        for batch in batches {
            let made = self.make(batch, &mut maker);
            let failed = made.is_err();
            if sender.send(made).is_err() || failed {
                return;
            }
        }
    }

    fn make(&self, batch: usize, maker: &mut Maker) -> Result<Batch> {
        let Inner { split, options, shapes, pool } = &*self.inner;
        let start = batch * options.batch_size;
        let samples = &self.order[start..self.order.len().min(start + options.batch_size)];
        let dataset = split.dataset();
        // From here on an early return gives the memory back.
        let mut batch = Batch { contents: pool.take(), pool: pool.clone() };
        let Contents { inputs, target, labels, indices } = &mut batch.contents;
        inputs.resize_with(dataset.inputs().len(), BatchArray::default);
        for (place, ((array, shape), out)) in dataset.inputs().iter().zip(shapes).zip(inputs).enumerate() {
            prepare(out, array, shape, samples.len());
            let count: usize = shape.iter().product();
            for (position, &sample) in samples.iter().enumerate() {
                let out = &mut out.values[position * count..][..count];
                let stored = array.read(sample as usize, &mut maker.raw)?;
                if place > 0 {
                    out.copy_from_slice(&maker.raw);
                    continue;
                }
                let augmentation = &options.augmentation;
                match shape.as_slice() {
                    &[channels, height, width] if !augmentation.is_none() => {
                        maker.preprocessed.resize(count, 0.0);
                        options.preprocessing.apply(&maker.raw, &stored, &mut maker.scratch, &mut maker.preprocessed);
                        let stream = augment::stream(options.seed, self.epoch, sample);
                        augmentation.apply(stream, [channels, height, width], &maker.preprocessed, out);
                    }
                    _ => options.preprocessing.apply(&maker.raw, &stored, &mut maker.scratch, out),
                }
                // The stored numbers are finite, but scaling can make too much of them.
                if let Some(index) = out.iter().position(|value| !value.is_finite()) {
                    let (name, position) = (array.name().to_owned(), position_of(index, shape));
                    return Err(DataError::NotFinite {
                        name,
                        sample: sample as usize,
                        position,
                        value: out[index].into(),
                    });
                }
            }
        }
        match dataset.target() {
            Target::None => {}
            Target::Classes { labels: all, .. } => {
                let labels = labels.get_or_insert_default();
                labels.clear();
                labels.extend(samples.iter().map(|&sample| all[sample as usize]));
            }
            Target::Array(array) => {
                // A target is always an array of one shape.
                let shape = array.sample_shapes().swap_remove(0);
                let out = target.get_or_insert_default();
                prepare(out, array, &shape, samples.len());
                let count: usize = shape.iter().product();
                for (position, &sample) in samples.iter().enumerate() {
                    array.read(sample as usize, &mut maker.raw)?;
                    out.values[position * count..][..count].copy_from_slice(&maker.raw);
                }
            }
        }
        indices.clear();
        indices.extend_from_slice(samples);
        Ok(batch)
    }
}

/// Gives an array of a batch its name, shape and length.
fn prepare(out: &mut BatchArray, array: &Array, shape: &[usize], samples: usize) {
    if out.name != array.name() {
        array.name().clone_into(&mut out.name);
    }
    out.shape.clear();
    out.shape.push(samples);
    out.shape.extend_from_slice(shape);
    out.values.resize(out.shape.iter().product(), 0.0);
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
