//! Real networks lose 30 % of their neurons and then compute what they would with the slices that read these at zero.
//!
//! The networks lie beside the repository; without them nothing is tested, which is said loudly. With
//! `SLIMNET_PRUNED=FOLDER` the pruned and the zeroed networks are written there, to compare them in another runtime.

#[allow(dead_code)]
#[path = "../../slimnet-graph/tests/axes_support/oracle.rs"]
mod oracle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use oracle::{difference, zeroed};
use slimnet_compress::prune::{NeuronChoice, PruneError, PrunedNeurons, Scope, prune_neurons};
use slimnet_engine::kernels::Context;
use slimnet_engine::{Plan, PlanOptions};
use slimnet_graph::axes::{CoupleOptions, Coupling, GroupId, couple};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::{read_file, write_file};
use slimnet_graph::simplify::{SimplifyOptions, simplify};
use slimnet_graph::validate::validate;
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::{Graph, Tensor};

/// The part of the units of each axis that goes.
const PART: f64 = 0.3;

/// Networks of which no group can be removed, with what the error must say.
const NOTHING: [(&str, &str); 1] = [("qonnx_TFC_2W2A", "no operator that is understood")];

fn networks() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("NOT TESTED: there are no networks at {}", folder.display());
        return Vec::new();
    };
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    files.sort();
    files
}

/// Sum of the magnitudes of a group's slices, with those of its members, divided by the mean of its axis.
fn magnitudes(graph: &Graph, coupling: &Coupling) -> Vec<f64> {
    let mut own = vec![0.0; coupling.group_count()];
    for (value, source) in graph.values() {
        let Some(values) = source.data.as_ref().and_then(|data| data.values::<f32>().ok()) else { continue };
        for cover in coupling.covers(value) {
            let shape = source.known_shape().unwrap();
            for (index, element) in values.iter().enumerate() {
                let mut place = 0;
                for (&axis, length) in cover.axes.iter().zip(&cover.lengths) {
                    let stride: usize = shape[axis + 1..].iter().product();
                    place = place * length + index / stride % shape[axis];
                }
                own[cover.groups[place].index()] += f64::from(element.abs());
            }
        }
    }
    let whole = |group: GroupId| {
        let members = coupling.members(group).iter();
        own[group.index()] + members.map(|member| own[member.index()]).sum::<f64>()
    };
    let all: Vec<f64> = coupling.groups().map(whole).collect();
    let mean = |axis: usize| {
        let groups = &coupling.axes()[axis].groups;
        groups.iter().map(|group| all[group.index()]).sum::<f64>() / groups.len() as f64
    };
    let means: Vec<f64> = (0..coupling.axes().len()).map(mean).collect();
    coupling.groups().map(|group| all[group.index()] / means[coupling.axis_of(group)].max(1e-30)).collect()
}

/// Removes units, the same part of each axis, until that much of the channels is gone on average.
fn prune(graph: &mut Graph, coupling: &Coupling) -> Result<PrunedNeurons, PruneError> {
    let scores = magnitudes(graph, coupling);
    let axes: Vec<_> = coupling.axes().iter().filter(|axis| coupling.units(axis, |_| 0.0).len() > 1).collect();
    let left = |graph: &Graph| -> f64 {
        let parts = axes.iter().filter_map(|axis| axis.covers.first()).map(|&(value, place)| {
            let cover = &coupling.covers(value)[place];
            let shape = graph.value(value).shape.as_ref().unwrap();
            let length: usize = cover.axes.iter().map(|&axis| shape[axis].known().unwrap()).product();
            length as f64 / cover.groups.len() as f64
        });
        parts.sum::<f64>() / axes.len() as f64
    };
    let choice = NeuronChoice { scope: Scope::Layer, round: 1 };
    prune_neurons(graph, coupling, &scores, &|_| false, choice, &|graph| Ok(left(graph) <= 1.0 - PART))
}

/// Random inputs of a network by name, with 2 for what is only named.
fn inputs(graph: &Graph, plan: &Plan) -> BTreeMap<String, Tensor> {
    let distribution = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    let input = |id| {
        let (element_type, shape) = plan.value_type(id);
        let name = graph.value(id).name.clone();
        let data = tensor(element_type, shape.to_vec(), Stream::named(1, &name), distribution).unwrap();
        (name, data)
    };
    graph.free_inputs().map(input).collect()
}

fn outputs(graph: &Graph) -> Vec<Vec<f64>> {
    let names = graph.free_inputs().flat_map(|input| graph.value(input).shape.iter().flatten());
    let lengths = names.flat_map(slimnet_graph::Dim::names).map(|name| (name.to_owned(), 2)).collect();
    let mut plan = Plan::new(graph, &PlanOptions { lengths, ..PlanOptions::default() }).unwrap();
    let inputs = inputs(graph, &plan);
    for input in graph.free_inputs() {
        plan.set(input, &inputs[&graph.value(input).name]).unwrap();
    }
    plan.run(Context::default()).unwrap();
    graph.outputs().iter().map(|&output| plan.tensor(output).unwrap().to_f64s().unwrap()).collect()
}

/// What came of a network, or what is wrong.
fn run(path: &Path) -> Result<String, String> {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut graph = read_file(path).map_err(|error| error.to_string())?;
    simplify(&mut graph, &SimplifyOptions::default()).map_err(|error| error.to_string())?;
    infer_graph(&mut graph).unwrap();
    let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
    let mut narrow = graph.clone();
    let start = Instant::now();
    let pruned = match (prune(&mut narrow, &coupling), NOTHING.iter().find(|(known, _)| *known == name)) {
        (Err(error @ PruneError::NothingRemovable { .. }), Some((_, why))) if error.to_string().contains(why) => {
            return Ok(format!("{error}"));
        }
        (result, None) => result.map_err(|error| error.to_string())?,
        (result, Some(_)) => return Err(format!("expected that nothing can be removed, found {result:?}")),
    };
    let milliseconds = start.elapsed().as_millis();
    validate(&narrow).map_err(|error| error.to_string())?;
    let zeroed = zeroed(&graph, &coupling, &pruned.groups);
    if let Some(folder) = std::env::var_os("SLIMNET_PRUNED") {
        for (graph, end) in [(&narrow, "pruned"), (&zeroed, "zeroed")] {
            write_file(graph, &Path::new(&folder).join(format!("{name}.{end}.onnx"))).unwrap();
        }
    }
    let parts = outputs(&zeroed).into_iter().zip(outputs(&narrow));
    let error = parts.map(|(a, b)| difference(&a, &b)).fold(0.0, f64::max);
    let parts = outputs(&graph).into_iter().zip(outputs(&narrow));
    let moved = parts.map(|(a, b)| difference(&a, &b)).fold(0.0, f64::max);
    let lost = pruned.axes.iter().map(|axis| format!("{}→{}", axis.before, axis.after)).collect::<Vec<_>>();
    let said = format!(
        "{} in {milliseconds} ms, outputs differ by {error:.1e} (before by {moved:.1e}); {}",
        pruned.reached,
        lost.join(" ")
    );
    if error <= 1e-5 && moved > 1e-2 && pruned.reached && pruned.skipped.is_empty() { Ok(said) } else { Err(said) }
}

#[test]
fn real_networks_equal_their_zeroed_readers() {
    let results: Vec<_> = networks().iter().map(|path| (path.file_name().unwrap().to_owned(), run(path))).collect();
    for (name, result) in &results {
        println!("{}: {result:?}", name.display());
    }
    let wrong: Vec<_> = results.iter().filter(|(_, result)| result.is_err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
