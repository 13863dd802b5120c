//! The proof: what a technique gained or lost, all networks measured side by side in one run.

mod measurement;
mod verdicts;

use std::collections::BTreeMap;
use std::path::PathBuf;

use slimnet_engine::Threads;
use slimnet_engine::kernels::instruction_set;
use slimnet_graph::{Graph, onnx};

use crate::commands::bench::subject::{Subject, batches, check_dims};
use crate::failure::{Failure, Result};
use crate::lengths;
use crate::report::proof::{Accuracy, NetworkProof, ProofReport};
use crate::report::summary::Summary;
use crate::runtime::{self, VARIABLE};
use measurement::Bench;

/// Batches at which networks are measured that leave it open.
const BATCHES: [usize; 2] = [1, 64];

/// A network that is compared with the others; the first is what they are compared with.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What it is called: `before`, `after`, a control.
    pub label: String,
    /// The network in the form in which it is deployed.
    pub graph: &'a Graph,
    /// Size of its file; `None` counts what an ONNX file of it would have.
    pub file_bytes: Option<u64>,
    /// Its accuracy on the validation samples.
    pub validation: Option<Accuracy>,
    /// Its accuracy on the test samples.
    pub test: Option<Accuracy>,
}

/// How networks are measured.
#[derive(Debug, Clone)]
pub struct ProofOptions {
    /// Seconds for each network in each runtime, over all batches.
    pub seconds: f64,
    /// Threads of each runtime.
    pub threads: usize,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Lengths of dimensions that inputs only name, other than the batch.
    pub dims: BTreeMap<String, usize>,
    /// The library of ONNX Runtime; `None` looks for it.
    pub ort: Option<PathBuf>,
}

impl Default for ProofOptions {
    fn default() -> Self {
        Self { seconds: 1.0, threads: 1, seed: 0, dims: BTreeMap::new(), ort: None }
    }
}

/// Measures networks in turns and compares each with the first. What cannot be measured is left out and named among the
/// notes of the report.
///
/// # Errors
/// If there is no network, a library of ONNX Runtime is named that cannot be used, or the inputs of the networks are fixed
/// to different batches.
pub fn prove(entries: &[Entry<'_>], options: &ProofOptions) -> Result<ProofReport> {
    if entries.is_empty() {
        return Err(Failure::because("cannot measure what was gained", "there is no network"));
    }
    let subject = |entry: &Entry<'_>| Subject { name: entry.label.clone(), graph: entry.graph.clone() };
    let subjects: Vec<_> = entries.iter().map(subject).collect();
    check_dims(&subjects, &options.dims)?;
    let library = runtime::find(options.ort.as_deref())?;
    let threads = Threads::new(options.threads).map_err(|error| Failure::new("cannot start threads", &error))?;
    let mut networks = entries.iter().map(|entry| count(entry, options)).collect::<Result<Vec<_>>>()?;
    let mut notes = Vec::new();
    if library.is_none() {
        notes.push(format!(
            "ort is not measured: no libonnxruntime is found that can be used; name one by --ort or {VARIABLE}"
        ));
    }
    let batches = batches(&subjects, &[], &BATCHES)?;
    if let &[fixed] = batches.as_slice() {
        notes.push(format!("only batch {fixed} is measured: the inputs are fixed to it"));
    }
    let seconds = options.seconds / batches.len() as f64;
    let bench = Bench { library: library.as_ref(), threads: &threads, seconds, options };
    for &batch in &batches {
        bench.measure(&subjects, batch, &mut networks, &mut notes)?;
    }
    compare_accuracies(&mut networks);
    let (verdicts, disagreements) = (verdicts::verdicts(&networks), verdicts::disagreements(&networks));
    Ok(ProofReport {
        threads: threads.count(),
        instruction_set: instruction_set(),
        ort_version: library.map(|library| library.version().to_owned()),
        seed: options.seed,
        networks,
        notes,
        disagreements,
        verdicts,
    })
}

/// What is counted of a network, not measured.
fn count(entry: &Entry<'_>, options: &ProofOptions) -> Result<NetworkProof> {
    let file_bytes = if let Some(bytes) = entry.file_bytes {
        bytes
    } else {
        let what = format!("cannot write the network {:?}", entry.label);
        onnx::write_bytes(entry.graph).map_err(|error| Failure::new(&what, &error))?.1.bytes
    };
    let known = lengths::defaults(entry.graph);
    let dims = options.dims.iter().filter(|(name, _)| known.contains_key(*name));
    let dims = dims.map(|(name, &length)| (name.clone(), length)).collect();
    let summary = Summary::of(&lengths::fix(entry.graph, &dims)?, None)?;
    Ok(NetworkProof {
        network: entry.label.clone(),
        file_bytes,
        parameters: summary.parameters,
        nonzero_parameters: summary.nonzero_parameters,
        macs: summary.macs,
        nodes_of_unknown_macs: summary.nodes_of_unknown_macs,
        batches: Vec::new(),
        difference_of_runtimes: None,
        validation: entry.validation,
        test: entry.test,
    })
}

/// Notes how far accuracies are from those of the first network.
fn compare_accuracies(networks: &mut [NetworkProof]) {
    let Some((first, others)) = networks.split_first_mut() else { return };
    for other in others {
        for (accuracy, first) in [(&mut other.validation, first.validation), (&mut other.test, first.test)] {
            if let (Some(accuracy), Some(first)) = (accuracy, first) {
                accuracy.difference = Some(accuracy.percent - first.percent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use slimnet_graph::infer::infer_graph;
    use slimnet_graph::tensor::{ElementType, Tensor};
    use slimnet_graph::zoo::{self, ZooOptions};

    fn network() -> Graph {
        let mut graph = zoo::build("lenet-300-100", &ZooOptions::default()).unwrap();
        infer_graph(&mut graph).unwrap();
        graph
    }

    /// Nineteen of twenty weights of the first layer are zero.
    fn pruned() -> Graph {
        let mut graph = network();
        let first =
            graph.values().find(|(_, value)| value.data.as_ref().is_some_and(|data| data.rank() == 2)).unwrap().0;
        let data = graph.value(first).data.clone().unwrap();
        let values = data.to_f64s().unwrap().into_iter().enumerate();
        let kept = values.map(|(index, value)| if index % 20 == 3 { value } else { 0.0 }).collect();
        graph.value_mut(first).data = Some(Tensor::from_f64s(ElementType::F32, data.shape().to_vec(), kept).unwrap());
        graph
    }

    #[test]
    fn networks_are_measured_side_by_side() {
        let (before, after) = (network(), pruned());
        let entry = |label: &str, graph, accuracy| Entry {
            label: label.to_owned(),
            graph,
            file_bytes: None,
            validation: Some(Accuracy::new(accuracy, 500)),
            test: None,
        };
        let entries = [entry("before", &before, 98.0), entry("after", &after, 97.5)];
        let report = prove(&entries, &ProofOptions { seconds: 0.02, ..ProofOptions::default() }).unwrap();
        let [before, after] = report.networks.as_slice() else { panic!("two networks") };
        assert_eq!(before.file_bytes, after.file_bytes);
        assert!(after.zeros() > 0.8 && before.zeros() < 0.01);
        assert_eq!(before.batches.iter().map(|batch| batch.batch).collect::<Vec<_>>(), BATCHES);
        for (before, after) in before.batches.iter().zip(&after.batches) {
            assert!(before.own_sparse.is_none() && after.own_sparse.is_some());
            assert!(before.own_dense.is_some() && after.own_dense.is_some());
            assert!(after.memory_bytes < before.memory_bytes, "sparse weights are kept without zeros");
            assert_eq!(before.ort.is_some(), report.ort_version.is_some());
        }
        assert_eq!(after.validation.unwrap().difference, Some(-0.5));
        assert!(after.difference_of_runtimes.is_none_or(|found| found.relative().unwrap() < 1e-4));
        let text = report.text(Some(100));
        for words in ["before", "after", "own, zeros left out", "97.50 % (−0.50 pp)", "zeros take as many bytes"] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert_eq!(text.contains("no libonnxruntime is found"), report.ort_version.is_none());
    }

    #[test]
    fn what_cannot_be_measured_is_noted() {
        let mut graph = network();
        let input = graph.free_inputs().next().unwrap();
        graph.value_mut(input).shape.as_mut().unwrap()[0] = slimnet_graph::Dim::from(3usize);
        let graph = lengths::fix(&graph, &BTreeMap::new()).unwrap();
        let entry =
            Entry { label: "only".to_owned(), graph: &graph, file_bytes: Some(7), validation: None, test: None };
        let report = prove(&[entry], &ProofOptions { seconds: 0.01, ..ProofOptions::default() }).unwrap();
        assert_eq!(report.networks[0].batches.len(), 1);
        assert!(report.notes.iter().any(|note| note.contains("only batch 3 is measured")), "{:?}", report.notes);
        assert!(prove(&[], &ProofOptions::default()).is_err());
        let options = ProofOptions { ort: Some("missing.so".into()), ..ProofOptions::default() };
        let entry = Entry { label: "only".to_owned(), graph: &graph, file_bytes: None, validation: None, test: None };
        let why = prove(&[entry], &options).unwrap_err().to_string();
        assert!(why.contains("missing.so cannot be loaded as a library"), "{why}");
    }
}
