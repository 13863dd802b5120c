//! Data sets as what networks are fed with: which array goes to which input, and in which shape.

use std::collections::BTreeMap;

use slimnet_data::{
    Augmentation, Batch as Samples, HoldOut, Loader, LoaderOptions, OpenOptions, Preprocessing, Source, Split, Splits,
    Target,
};
use slimnet_engine::train::{Batch, Metric, Source as Batches, SourceError};
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::tensor::{ElementType, Tensor};

use crate::arguments::Data;
use crate::failure::{Failure, Result};

/// A data set opened for a network.
#[derive(Debug)]
pub struct Opened {
    pub splits: Splits,
    pub preprocessing: Preprocessing,
    inputs: Vec<Input>,
    /// Shape of a sample's targets, as the output has it.
    targets: Option<Vec<usize>>,
}

/// An input of a network and the array that it gets.
#[derive(Debug, Clone)]
struct Input {
    name: String,
    array: String,
    /// Shape of a sample.
    shape: Vec<usize>,
    /// What the network takes: `float32`, or integers such as numbers of words.
    element_type: ElementType,
}

fn cannot(options: &Data, error: &dyn std::error::Error) -> Failure {
    Failure::new(&format!("cannot use the data {:?}", options.data), error)
}

/// Opens the data that the command line asks for, for a network.
pub fn open(options: &Data, graph: &Graph) -> Result<Opened> {
    let hold_out = |key: &str, text: &Option<String>| {
        let parsed = text.as_ref().map(|text| HoldOut::parse(key, text)).transpose();
        parsed.map_err(|error| Failure::usage(&error.to_string()))
    };
    let recorded = Preprocessing::from_metadata(&graph.model.metadata)
        .map_err(|error| Failure::new("cannot read how data is prepared for the network", &error))?;
    let mut open_options = OpenOptions {
        data_dir: options.data_dir.clone(),
        validation: hold_out("validation", &options.validation)?,
        test: hold_out("test", &options.test)?,
        split_seed: options.split_seed,
        labels_offset: recorded.as_ref().map_or(0, |preprocessing| preprocessing.labels_offset),
    };
    if let Some(text) = &options.labels_offset {
        open_options.labels_offset =
            text.parse().map_err(|_| Failure::usage(&format!("--labels-offset: expected a number, found {text:?}")))?;
    }
    let source = Source::parse(&options.data).map_err(|error| Failure::usage(&error.to_string()))?;
    let splits = source.open(&open_options).map_err(|error| cannot(options, &error))?;
    let mut preprocessing = recorded.unwrap_or_else(|| splits.preprocessing.clone());
    let given = [
        ("scale", &options.scale),
        ("mean", &options.mean),
        ("std", &options.std),
        ("layout", &options.layout),
        ("labels-offset", &options.labels_offset),
        ("resize", &options.resize),
        ("crop", &options.crop),
    ];
    for (key, text) in given {
        if let Some(text) = text {
            preprocessing.set(key, text).map_err(|error| Failure::usage(&error.to_string()))?;
        }
    }
    let inputs = assign(options, graph, &splits.train, &preprocessing)?;
    Ok(Opened { splits, preprocessing, inputs, targets: None })
}

/// Decides which array each input gets, and checks that it can.
fn assign(options: &Data, graph: &Graph, split: &Split, preprocessing: &Preprocessing) -> Result<Vec<Input>> {
    let loader = Loader::new(split.clone(), LoaderOptions::evaluation(1, preprocessing.clone()))
        .map_err(|error| cannot(options, &error))?;
    let arrays: Vec<(&str, &[usize])> = loader.inputs().collect();
    let names = || arrays.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let given: BTreeMap<_, _> = options.inputs.iter().map(|(name, array)| (name.as_str(), array.as_str())).collect();
    let free: Vec<ValueId> = graph.free_inputs().collect();
    if let Some(unknown) = given.keys().find(|name| !free.iter().any(|&input| graph.value(input).name == **name)) {
        return Err(Failure::usage(&format!("--input: the network has no input {unknown:?}")));
    }
    let mut inputs = Vec::new();
    for &input in &free {
        let value = graph.value(input);
        let wish = given.get(value.name.as_str()).copied();
        let only = (free.len() == 1 && arrays.len() == 1).then(|| arrays[0]);
        let found = match wish {
            Some(wish) => arrays.iter().find(|(name, _)| *name == wish).copied(),
            None => arrays.iter().find(|(name, _)| *name == value.name).copied().or(only),
        };
        let Some((array, shape)) = found else {
            let wish = wish.unwrap_or(&value.name);
            let why =
                format!("the network's input {:?} asks for an array {wish:?}, the data has {}", value.name, names());
            return Err(Failure::because(&format!("cannot use the data {:?}", options.data), &why)
                .advise("say which array it gets: --input NAME=ARRAY"));
        };
        let shape = fitting(graph, input, shape).ok_or_else(|| {
            let expected = value.shape.as_deref().map_or_else(|| "anything".into(), slimnet_graph::graph::display_shape);
            let why = format!(
                "samples of {array:?} have the shape {shape:?}, the network's input {:?} takes {expected} (the batch first)",
                value.name
            );
            Failure::because(&format!("cannot use the data {:?}", options.data), &why)
                .advise("--layout, --resize and --crop change the shape of samples")
        })?;
        let element_type = value.element_type.unwrap_or(ElementType::F32);
        inputs.push(Input { name: value.name.clone(), array: array.to_owned(), shape, element_type });
    }
    Ok(inputs)
}

/// The shape in which an input takes a sample: as it is, or with its axes merged or split where the network knows the
/// lengths.
fn fitting(graph: &Graph, input: ValueId, sample: &[usize]) -> Option<Vec<usize>> {
    let Some(shape) = &graph.value(input).shape else { return Some(sample.to_vec()) };
    let wanted = shape.get(1..)?;
    let same = wanted.len() == sample.len()
        && wanted.iter().zip(sample).all(|(dim, &length)| dim.known().is_none_or(|known| known == length));
    if same {
        return Some(sample.to_vec());
    }
    let known: Option<Vec<usize>> = wanted.iter().map(slimnet_graph::Dim::known).collect();
    known.filter(|known| known.iter().product::<usize>() == sample.iter().product::<usize>())
}

impl Opened {
    /// Adds to the lengths that were given those of axes that the network only names and the data has.
    pub fn add_lengths(&self, graph: &Graph, given: &mut Vec<(String, usize)>) {
        for (input, fed) in graph.free_inputs().zip(&self.inputs) {
            let named = graph.value(input).shape.iter().flatten().skip(1).zip(&fed.shape);
            for (dim, &length) in named {
                if let Some(name) = dim.as_name().filter(|name| !given.iter().any(|(known, _)| known == name)) {
                    given.push((name.to_owned(), length));
                }
            }
        }
    }

    /// Samples in order, unchanged.
    pub fn evaluation(&self, split: &Split, batch: usize) -> Result<Feed> {
        self.feed(split, LoaderOptions::evaluation(batch, self.preprocessing.clone()))
    }

    /// Samples in random order, augmented.
    pub fn training(&self, batch: usize, seed: u64, augmentation: Augmentation) -> Result<Feed> {
        self.feed(&self.splits.train, LoaderOptions::training(batch, seed, self.preprocessing.clone(), augmentation))
    }

    /// Leaves only samples of these classes to train on.
    pub fn only_classes(&mut self, classes: &[i64]) -> Result<()> {
        let Target::Classes { labels, .. } = self.splits.train.dataset().target() else {
            return Err(Failure::usage("--only-classes: the data has no classes"));
        };
        let samples = self.splits.train.samples().iter().copied();
        let chosen: Vec<u32> = samples.filter(|&sample| classes.contains(&labels[sample as usize])).collect();
        if chosen.is_empty() {
            return Err(Failure::usage("--only-classes: no sample is of these classes"));
        }
        self.splits.train = self.splits.train.choose(chosen);
        Ok(())
    }

    fn feed(&self, split: &Split, options: LoaderOptions) -> Result<Feed> {
        let loader = Loader::new(split.clone(), options)
            .map_err(|error| Failure::new(&format!("cannot use the data {:?}", self.splits.name), &error))?;
        Ok(Feed { loader, inputs: self.inputs.clone(), targets: self.targets.clone() })
    }

    /// Gives targets that are numbers the output's shape, if they are as many.
    pub fn shape_targets(&mut self, graph: &Graph, output: ValueId) -> Result<()> {
        let Target::Array(array) = self.splits.train.dataset().target() else { return Ok(()) };
        let shape = graph.value(output).shape.as_deref().unwrap_or_default();
        let sample: Option<Vec<usize>> = shape.iter().skip(1).map(slimnet_graph::Dim::known).collect();
        let shapes = array.sample_shapes();
        let (Some(sample), [found]) = (sample, shapes.as_slice()) else { return Ok(()) };
        if sample.iter().product::<usize>() != found.iter().product::<usize>() {
            let why = format!(
                "targets {:?} have the shape {found:?} a sample, the output {:?} has {sample:?}",
                array.name(),
                graph.value(output).name
            );
            return Err(Failure::because("data and network do not fit", &why)
                .advise("class labels must be integers, one a sample; targets as many numbers as the output has"));
        }
        self.targets = Some(sample);
        Ok(())
    }

    /// Turns class labels into targets of the output's shape: 0 or 1 for a single number, else 1 for the class and 0 for
    /// the others.
    pub fn labels_as_targets(&mut self, graph: &Graph, output: ValueId) -> Result<()> {
        let shape = graph.value(output).shape.as_deref().unwrap_or_default();
        let sample: Option<Vec<usize>> = shape.iter().skip(1).map(slimnet_graph::Dim::known).collect();
        let Some(sample) = sample.filter(|sample| sample.iter().filter(|&&length| length > 1).count() <= 1) else {
            let why = format!(
                "class labels say one number a sample, the output has {}",
                slimnet_graph::graph::display_shape(shape)
            );
            return Err(Failure::because("data and network do not fit", &why));
        };
        let classes = sample.iter().product::<usize>().max(2);
        self.splits.require_classes(classes).map_err(|error| Failure::new("data and network do not fit", &error))?;
        self.targets = Some(sample);
        Ok(())
    }

    /// Refuses labels beyond the classes of the network before anything is computed.
    pub fn check_classes(&self, network: &Graph, output: ValueId, metric: Option<Metric>) -> Result<()> {
        let axis = slimnet_engine::job::scores::ending(network, output).class_axis().unwrap_or(1);
        let classes = network.value(output).shape.as_ref().and_then(|shape| shape.get(axis)?.known());
        match classes {
            Some(classes) if self.has_classes() && metric == Some(Metric::Classes) => {
                let fits = self.splits.require_classes(classes);
                fits.map_err(|error| Failure::new("data and network do not fit", &error))
            }
            _ => Ok(()),
        }
    }

    /// Writes down in a network how its data is prepared.
    pub fn record(&self, network: &mut Graph) {
        for (key, value) in self.preprocessing.to_metadata() {
            let metadata = &mut network.model.metadata;
            match metadata.iter_mut().find(|(found, _)| *found == key) {
                Some((_, old)) => *old = value,
                None => metadata.push((key, value)),
            }
        }
    }

    /// Whether samples have classes.
    pub fn has_classes(&self) -> bool {
        matches!(self.splits.train.dataset().target(), Target::Classes { .. })
    }
}

/// Batches for a network.
#[derive(Debug)]
pub struct Feed {
    loader: Loader,
    inputs: Vec<Input>,
    targets: Option<Vec<usize>>,
}

impl Feed {
    /// The batches in order.
    pub fn batches(&self) -> impl Iterator<Item = std::result::Result<Batch, SourceError>> + '_ {
        self.from(0, 0)
    }

    fn from(&self, epoch: u64, first: usize) -> impl Iterator<Item = std::result::Result<Batch, SourceError>> + '_ {
        self.loader.epoch(epoch, first).map(|samples| self.batch(&samples?))
    }

    fn batch(&self, samples: &Samples) -> std::result::Result<Batch, SourceError> {
        let count = samples.len();
        let mut values = Vec::new();
        for input in &self.inputs {
            let array = samples.inputs().iter().find(|array| array.name == input.array).ok_or("an array is missing")?;
            let shape = [&[count], input.shape.as_slice()].concat();
            let tensor = if input.element_type == ElementType::F32 {
                Tensor::from_values(shape, array.values.clone())?
            } else {
                Tensor::from_f64s(input.element_type, shape, array.values.iter().map(|&x| f64::from(x)).collect())?
            };
            values.push((input.name.clone(), tensor));
        }
        if let (Some(labels), Some(sample)) = (samples.labels(), &self.targets) {
            // For whoever counts right ones by the largest score, too.
            values.push(("labels".into(), Tensor::vector(labels.to_vec())));
            let classes: usize = sample.iter().product();
            let first = usize::from(classes == 1);
            let of = |&label: &i64| (first..first + classes).map(move |class| f32::from(label as usize == class));
            let shape = [&[count], sample.as_slice()].concat();
            values.push(("targets".into(), Tensor::from_values(shape, labels.iter().flat_map(of).collect())?));
        } else if let Some(labels) = samples.labels() {
            values.push(("labels".into(), Tensor::vector(labels.to_vec())));
        }
        if let Some(target) = samples.target() {
            let shape = self
                .targets
                .as_ref()
                .map_or_else(|| target.shape.clone(), |sample| [&[count], sample.as_slice()].concat());
            values.push(("targets".into(), Tensor::from_values(shape, target.values.clone())?));
        }
        Ok(Batch { values, samples: count })
    }
}

impl Batches for Feed {
    fn batches_per_epoch(&self) -> usize {
        self.loader.batches_per_epoch()
    }

    fn epoch(
        &self,
        epoch: u64,
        first: usize,
    ) -> Box<dyn Iterator<Item = std::result::Result<Batch, SourceError>> + '_> {
        Box::new(self.from(epoch, first))
    }
}
