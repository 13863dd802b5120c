//! Taking the times of all networks at one batch, and comparing outputs on the way.

use std::sync::Arc;

use slimnet_engine::Threads;
use slimnet_engine::kernels::Zeros;
use slimnet_graph::tensor::Tensor;

use super::ProofOptions;
use crate::commands::bench::subject::Subject;
use crate::compare::Difference;
use crate::failure::{Failure, Result};
use crate::lengths;
use crate::measure::{Budget, Workload, measure};
use crate::report::bench::Spread;
use crate::report::proof::{BatchProof, NetworkProof, Timing};
use crate::runtime::{Library, Ort, Own, output_names, random_inputs};

/// What measures.
pub(super) struct Bench<'a> {
    pub library: Option<&'a Arc<Library>>,
    pub threads: &'a Threads,
    /// For each network in each runtime.
    pub seconds: f64,
    pub options: &'a ProofOptions,
}

/// A network, ready in every runtime that can run it.
#[derive(Default)]
struct Ready {
    dense: Option<Own>,
    /// Only if some kernel leaves zeros out.
    sparse: Option<Own>,
    ort: Option<Ort>,
}

impl Ready {
    /// What the own engine does if nobody tells it to multiply zeros.
    fn own(&self) -> Option<&Own> {
        self.sparse.as_ref().or(self.dense.as_ref())
    }

    /// Those that are there, in the order of [`Self::times`].
    fn workloads(&mut self) -> impl Iterator<Item = &mut dyn Workload> {
        let own = [&mut self.dense, &mut self.sparse].into_iter().flatten().map(|own| own as &mut dyn Workload);
        own.chain(self.ort.as_mut().map(|ort| ort as &mut dyn Workload))
    }

    /// The times of each: dense, sparse, in ONNX Runtime.
    fn times(&self, series: &mut impl Iterator<Item = Vec<f64>>) -> Times {
        let mut of = |is_there: bool| is_there.then(|| series.next()).flatten();
        Times { dense: of(self.dense.is_some()), sparse: of(self.sparse.is_some()), ort: of(self.ort.is_some()) }
    }
}

/// Times of all runs of a network in milliseconds, turn by turn.
struct Times {
    dense: Option<Vec<f64>>,
    sparse: Option<Vec<f64>>,
    ort: Option<Vec<f64>>,
}

impl Bench<'_> {
    /// Measures all networks at a batch and adds what it finds to their proofs.
    pub fn measure(
        &self,
        subjects: &[Subject],
        batch: usize,
        proofs: &mut [NetworkProof],
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let mut all = Vec::new();
        for (subject, proof) in subjects.iter().zip(proofs.iter_mut()) {
            all.push(self.prepare(subject, batch, proof, notes));
        }
        let budget = Budget { seconds: self.seconds, runs: None };
        let series = self.threads.run(|| {
            let mut workloads: Vec<_> = all.iter_mut().flat_map(Ready::workloads).collect();
            if workloads.is_empty() { Ok(Vec::new()) } else { measure(&mut workloads, budget) }
        })?;
        let mut series = series.into_iter();
        let times: Vec<_> = all.iter().map(|ready| ready.times(&mut series)).collect();
        let Some(first) = times.first() else { return Ok(()) };
        let own = first.sparse.as_ref().or(first.dense.as_ref());
        for ((ready, times), proof) in all.iter().zip(&times).zip(proofs) {
            proof.batches.push(BatchProof {
                batch,
                memory_bytes: ready.own().map(|own| own.memory().total()),
                own_dense: timing(times.dense.as_ref(), first.dense.as_ref()),
                own_sparse: timing(times.sparse.as_ref(), own),
                ort: timing(times.ort.as_ref(), first.ort.as_ref()),
            });
        }
        Ok(())
    }

    /// Makes a network ready, with random inputs, in every runtime that can run it, and compares what they compute.
    fn prepare(&self, subject: &Subject, batch: usize, proof: &mut NetworkProof, notes: &mut Vec<String>) -> Ready {
        let lengths = subject.lengths(batch, &self.options.dims);
        let what = |runtime: &str| format!("cannot run the network {:?} in {runtime} at batch {batch}", subject.name);
        let mut noted = |failure: Failure| {
            let note = failure.to_string();
            if !notes.contains(&note) {
                notes.push(note);
            }
        };
        let made = lengths::fix(&subject.graph, &lengths).and_then(|fixed| random_inputs(&fixed, self.options.seed));
        let inputs = match made {
            Ok(inputs) => inputs,
            Err(failure) => {
                noted(failure);
                return Ready::default();
            }
        };
        let own = |zeros| -> Result<(Own, Vec<Tensor>)> {
            let mut own = Own::new(&subject.graph, &lengths, zeros, &what("own"))?;
            own.set(&inputs)?;
            // What fails is known before it is measured.
            self.threads.run(|| own.run())?;
            let outputs = own.outputs()?;
            Ok((own, outputs))
        };
        let ort = |library| -> Result<(Ort, Vec<Tensor>)> {
            let mut ort = Ort::new(library, &subject.graph, self.threads.count(), &inputs, &what("ort"))?;
            ort.run()?;
            let outputs = ort.outputs()?;
            Ok((ort, outputs))
        };
        let mut ready = Ready::default();
        let mut computed = Vec::new();
        let mut keep = |made: Result<(Own, Vec<Tensor>)>| match made {
            Ok((own, outputs)) => {
                computed.push(outputs);
                Some(own)
            }
            Err(failure) => {
                noted(failure);
                None
            }
        };
        ready.sparse = keep(own(Zeros::Skipped)).filter(Own::skips_zeros);
        ready.dense = keep(own(Zeros::Multiplied));
        match self.library.map(ort) {
            Some(Ok((made, expected))) => {
                ready.ort = Some(made);
                let compared = compare(&expected, &computed, &output_names(&subject.graph));
                match compared.map_err(|why| Failure::because(&format!("cannot compare {:?}", subject.name), &why)) {
                    Ok(Some(found)) => proof.difference_of_runtimes.get_or_insert_default().join(&found),
                    Ok(None) => {}
                    Err(failure) => noted(failure),
                }
            }
            Some(Err(failure)) => noted(failure),
            None => {}
        }
        ready
    }
}

/// How far outputs of the own engine are from those of ONNX Runtime.
fn compare(
    expected: &[Tensor],
    computed: &[Vec<Tensor>],
    names: &[String],
) -> std::result::Result<Option<Difference>, String> {
    let mut all = Difference::default();
    for found in computed {
        for ((expected, found), name) in expected.iter().zip(found).zip(names) {
            let described = |tensor: &Tensor| format!("{} {:?}", tensor.element_type(), tensor.shape());
            if described(expected) != described(found) {
                let (expected, found) = (described(expected), described(found));
                return Err(format!("the output {name:?} is {expected} in ort and {found} in own"));
            }
            all.add(expected, found).map_err(|error| error.to_string())?;
        }
    }
    Ok((!computed.is_empty()).then_some(all))
}

/// The times of a network, as parts of those of the first.
fn timing(times: Option<&Vec<f64>>, first: Option<&Vec<f64>>) -> Option<Timing> {
    let times = times?;
    let milliseconds = Spread::of(times.clone());
    let part = |first: &Vec<f64>| milliseconds.median / Spread::of(first.clone()).median.max(f64::MIN_POSITIVE);
    Some(Timing { runs: times.len(), milliseconds, part_of_first: first.map(part) })
}
