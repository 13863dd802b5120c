//! Inputs to try networks on, and how far apart two networks are on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::tensor::element_count;
use slimnet_graph::zoo::random::{self, Distribution, Stream};
use slimnet_graph::{Dim, Graph, Tensor, Value, ValueId};

use crate::compare::Difference;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::lengths;
use crate::report::layer;
use crate::report::number::counted;

/// No tensor that an evaluation makes may be larger than this many bytes.
const TENSOR_LIMIT: usize = 1 << 30;

/// More threads than any machine has cores only take memory.
const MOST_THREADS: usize = 256;

/// Where inputs come from.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Number of samples.
    pub count: usize,
    /// Seed of the random ones.
    pub seed: u64,
    /// Lengths of dimensions that are only named, where the defaults are not meant.
    pub dims: BTreeMap<String, usize>,
    /// Random elements are uniform in this range; else normal, integers uniform in 0 to 9.
    pub range: Option<(f64, f64)>,
    /// Inputs that are given, by name.
    pub given: BTreeMap<String, Tensor>,
}

/// What the samples were, for reports.
#[derive(Debug, Clone, Serialize)]
pub struct SamplesReport {
    /// Number of samples.
    pub count: usize,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Distribution of the random inputs.
    pub distribution: String,
    /// Lengths taken for dimensions that are only named.
    pub dims: BTreeMap<String, usize>,
    /// Inputs that were given.
    pub given: Vec<String>,
}

/// How far apart the results for one output are.
#[derive(Debug, Clone, Serialize)]
pub struct OutputDifference {
    /// Name of the output.
    pub name: String,
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// Its largest absolute value as a part of the output's largest value.
    pub relative_difference: Option<f64>,
}

impl Samples {
    /// Lengths of all named dimensions of the inputs: as given inputs have them, as told, else the defaults.
    fn lengths(&self, graph: &Graph) -> Result<BTreeMap<String, usize>> {
        lengths::check(graph, self.dims.keys())?;
        let mut lengths = lengths::defaults(graph);
        lengths.extend(self.dims.clone());
        for input in graph.free_inputs().map(|input| graph.value(input)) {
            let Some(given) = self.given.get(&input.name) else { continue };
            for (dim, &length) in input.shape.iter().flatten().zip(given.shape()) {
                if let Some(name) = dim.as_name() {
                    lengths.insert(name.to_owned(), length);
                }
            }
        }
        Ok(lengths)
    }

    /// Says what is about to take its time.
    pub fn announce(&self, console: Console) {
        console.note(&format!("computing the outputs of both networks on {} …", counted(self.count, "input")));
    }

    /// What the samples are, for reports.
    pub fn report(&self, graph: &Graph) -> Result<SamplesReport> {
        let lengths = self.lengths(graph)?;
        let distribution = match self.range {
            Some((low, high)) => format!("uniform in {low} to {high}"),
            None => "normal".to_owned(),
        };
        Ok(SamplesReport {
            count: self.count,
            seed: self.seed,
            distribution,
            dims: lengths.into_iter().filter(|(name, _)| !name.starts_with('?')).collect(),
            given: self.given.keys().cloned().collect(),
        })
    }

    /// The inputs of one sample by name.
    fn inputs(&self, graph: &Graph, number: usize) -> Result<BTreeMap<String, Tensor>> {
        let lengths = self.lengths(graph)?;
        let inputs = graph.free_inputs().map(|input| graph.value(input));
        inputs.map(|input| Ok((input.name.clone(), self.input(input, &lengths, number)?))).collect()
    }

    fn input(&self, input: &Value, lengths: &BTreeMap<String, usize>, number: usize) -> Result<Tensor> {
        if let Some(given) = self.given.get(&input.name) {
            return Ok(given.clone());
        }
        let cannot = |why: &str| {
            let what = format!("cannot make random numbers for the input {}", input.describe());
            Failure::because(&what, why).advise("give it with --input NAME=FILE.npy")
        };
        let element_type = input.element_type.ok_or_else(|| cannot("its element type is not known"))?;
        let shape = input.shape.as_ref().ok_or_else(|| cannot("its number of axes is not known"))?;
        let length = |name: &str| lengths.get(name).and_then(|&length| i64::try_from(length).ok());
        let shape: Option<Vec<usize>> = shape.iter().map(|dim| usize::try_from(dim.at(length)?).ok()).collect();
        let shape = shape.ok_or_else(|| cannot("a dimension is negative or too large"))?;
        let count = element_count(&shape).map_err(|error| cannot(&error.to_string()))?;
        if count > TENSOR_LIMIT / 8 {
            return Err(cannot(&format!("{count} elements are more than the limit of {}", TENSOR_LIMIT / 8)));
        }
        let distribution = match self.range {
            Some((low, high)) => Distribution::Uniform { low, high },
            None if element_type.is_float() => Distribution::Normal { mean: 0.0, deviation: 1.0 },
            None => Distribution::Uniform { low: 0.0, high: 10.0 },
        };
        // One stream for each sample of each input: what one input draws changes no other.
        let stream = Stream::named(self.seed, &format!("{} {number}", input.name));
        random::tensor(element_type, shape, stream, distribution).map_err(|error| cannot(&error.to_string()))
    }

    /// Gives an input, after checking that the graph has one of this name and that the tensor is of its type.
    pub fn give(&mut self, graph: &Graph, name: &str, read: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        let input = graph.free_inputs().map(|input| graph.value(input)).find(|input| input.name == name);
        let Some(input) = input else {
            let names: Vec<_> = graph.free_inputs().map(|input| graph.value(input).name.clone()).collect();
            let known = names.join(", ");
            return Err(Failure::usage(&format!("--input: there is no input {name:?}; the inputs are: {known}")));
        };
        let given = read()?;
        let fits_type = input.element_type.is_none_or(|element_type| element_type == given.element_type());
        let fits_shape = input.shape.as_ref().is_none_or(|shape| {
            let fits = |(dim, &length): (&Dim, &usize)| dim.known().is_none_or(|dim| dim == length);
            shape.len() == given.rank() && shape.iter().zip(given.shape()).all(fits)
        });
        if !fits_type || !fits_shape {
            let why = format!("expected {}, found {}", layer::typed(input), layer::tensor_type(&given));
            return Err(Failure::because("the array does not fit the input", &why));
        }
        self.given.insert(name.to_owned(), given);
        Ok(())
    }
}

/// How far apart the outputs of two networks with equal inputs and outputs are. The order of the result is that of the
/// first network's outputs.
pub fn compare_outputs(
    first: &Graph,
    second: &Graph,
    samples: &Samples,
    threads: usize,
) -> Result<Vec<OutputDifference>> {
    let names: Vec<&str> = first.outputs().iter().map(|&output| first.value(output).name.as_str()).collect();
    let compare = |number| -> Result<Vec<Difference>> {
        let inputs = samples.inputs(first, number)?;
        let (first, second) = (evaluate(first, &inputs)?, evaluate(second, &inputs)?);
        let compare = |&name: &&str| {
            let mut difference = Difference::default();
            let missing = || Failure::because("cannot compare the networks", &format!("output {name:?} has no result"));
            let (first, second) = (first.get(name).ok_or_else(missing)?, second.get(name).ok_or_else(missing)?);
            let cannot = |why: &str| Failure::because(&format!("cannot compare output {name:?}"), why);
            if (first.element_type(), first.shape()) != (second.element_type(), second.shape()) {
                let describe = |tensor: &Tensor| format!("{}{:?}", tensor.element_type(), tensor.shape());
                return Err(cannot(&format!("it is {} and {}", describe(first), describe(second))));
            }
            difference.add(first, second).map_err(|error| cannot(&error.to_string()))?;
            Ok(difference)
        };
        names.iter().map(compare).collect()
    };
    let mut sum = vec![Difference::default(); names.len()];
    for sample in in_parallel(samples.count, threads, compare) {
        for (sum, sample) in sum.iter_mut().zip(sample?) {
            sum.join(&sample);
        }
    }
    let outputs = names.into_iter().zip(sum).map(|(name, difference)| OutputDifference {
        name: name.to_owned(),
        relative_difference: difference.relative(),
        difference,
    });
    Ok(outputs.collect())
}

fn evaluate(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Result<HashMap<String, Tensor>> {
    let inputs: HashMap<ValueId, Tensor> =
        inputs.iter().filter_map(|(name, tensor)| Some((graph.find_value(name)?, tensor.clone()))).collect();
    let outputs = evaluate_graph(graph, &inputs, TENSOR_LIMIT)
        .map_err(|error| Failure::new(&format!("cannot evaluate the network {:?}", graph.name), &error))?;
    Ok(outputs.into_iter().map(|(id, tensor)| (graph.value(id).name.clone(), tensor)).collect())
}

/// Results of `work` for `0..count` in this order, computed on several threads.
fn in_parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut results = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return results;
            }
            results.push((number, work(number)));
        }
    };
    let mut results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(count).min(MOST_THREADS)).map(|_| scope.spawn(worker)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().flat_map(join).collect::<Vec<_>>()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_results_keep_their_order() {
        for threads in [1, 2, 7] {
            assert_eq!(in_parallel(20, threads, |number| number * number), (0..20).map(|n| n * n).collect::<Vec<_>>());
        }
        assert!(in_parallel(0, 4, |number| number).is_empty());
    }
}
