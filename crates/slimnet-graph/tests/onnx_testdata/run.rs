//! One official test: a model and data sets of inputs and expected outputs.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::Message;
use slimnet_graph::evaluate::evaluate_graph;
use slimnet_graph::onnx::{self, ReadProblem, proto::TensorProto};
use slimnet_graph::{ElementType, Graph, Op, Tensor, ValueId};

/// No test has larger tensors.
const LIMIT: usize = 1 << 28;

/// What came of a test.
pub enum Outcome {
    /// Every output of every data set is as expected, also after writing and reading.
    Passed,
    /// Something is not as expected.
    Failed(String),
    /// The test has an operator that is kept whole, not understood.
    OutsideTheClaim(String),
}

/// Runs the test in a folder.
pub fn run(folder: &Path) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| attempt(folder))).unwrap_or_else(|_| Outcome::Failed("panic".into()))
}

fn attempt(folder: &Path) -> Outcome {
    let graph = match onnx::read_file(&folder.join("model.onnx")) {
        Ok(graph) => graph,
        Err(error) => {
            return match *error.problem {
                ReadProblem::Opset { found } => Outcome::OutsideTheClaim(format!("operator set {found}")),
                problem => Outcome::Failed(format!("reading: {problem}")),
            };
        }
    };
    if let Some(outcome) = outside(&graph) {
        return outcome;
    }
    let again = match write_and_read(&graph) {
        Ok(again) => again,
        Err(error) => return Outcome::Failed(error),
    };
    for set in 0.. {
        let set = folder.join(format!("test_data_set_{set}"));
        if !set.is_dir() {
            break;
        }
        if let Err(error) = check(&graph, &again, &set) {
            return Outcome::Failed(error);
        }
    }
    Outcome::Passed
}

/// If something is not understood: a failure if it is an operator that we claim, else the reason.
fn outside(graph: &Graph) -> Option<Outcome> {
    if graph.values().any(|(_, value)| value.other_type.is_some()) {
        return Some(Outcome::OutsideTheClaim("values that are no tensors".into()));
    }
    let other = graph.nodes().find_map(|(_, node)| node.op.other())?;
    let claimed = other.domain.is_empty() && Op::known_types().contains(&other.op_type.as_str());
    let name = [other.domain.as_str(), other.op_type.as_str()].join(if other.domain.is_empty() { "" } else { "::" });
    Some(if claimed {
        Outcome::Failed(format!("{name} is kept whole: {}", other.reason))
    } else {
        Outcome::OutsideTheClaim(name)
    })
}

fn write_and_read(graph: &Graph) -> Result<Graph, String> {
    let (bytes, written) = onnx::write_bytes(graph).map_err(|error| format!("writing: {error}"))?;
    if written.raised_from.is_some() {
        return Err(format!("written as opset {} instead of {:?}", written.opset, written.raised_from));
    }
    onnx::read_bytes(bytes.into(), None).map_err(|error| format!("reading what was written: {error}"))
}

fn check(graph: &Graph, again: &Graph, set: &Path) -> Result<(), String> {
    let declared = |value: &ValueId| graph.value(*value).element_type;
    let inputs = graph.inputs().iter().enumerate();
    let inputs: Vec<_> = inputs.map_while(|(index, value)| tensor(set, "input", index, declared(value))).collect();
    let results = evaluate(graph, &inputs)?;
    for (index, result) in results.iter().enumerate() {
        let expected = tensor(set, "output", index, declared(&graph.outputs()[index]))
            .ok_or_else(|| format!("no expected output {index}"))?;
        compare(result, &expected).map_err(|error| format!("output {index}: {error}"))?;
    }
    if results != evaluate(again, &inputs).map_err(|error| format!("after writing: {error}"))? {
        return Err("other results after writing and reading".into());
    }
    Ok(())
}

/// A tensor of a data set, for a value of which the model declares the element type.
fn tensor(set: &Path, kind: &str, index: usize, declared: Option<ElementType>) -> Option<Tensor> {
    let bytes = std::fs::read(set.join(format!("{kind}_{index}.pb"))).ok()?;
    let proto = TensorProto::decode(bytes.as_slice()).unwrap();
    let tensor = onnx::tensor_from_proto(&proto).unwrap();
    // The writer of the tests had no bfloat16 and stored bit patterns.
    if (declared, tensor.element_type()) == (Some(ElementType::BF16), ElementType::U16) {
        let bits = tensor.bytes().unwrap().clone();
        return Some(Tensor::from_bytes(ElementType::BF16, tensor.shape().to_vec(), bits).unwrap());
    }
    Some(tensor)
}

fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let inputs: HashMap<_, _> = graph.inputs().iter().copied().zip(inputs.iter().cloned()).collect();
    let results = evaluate_graph(graph, &inputs, LIMIT).map_err(|error| error.to_string())?;
    Ok(graph.outputs().iter().map(|output| results[output].clone()).collect())
}

/// The official runner's comparison: floats within 1e-3 relative or 1e-7, everything else exact.
fn compare(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    let describe = |tensor: &Tensor| format!("{}{:?}", tensor.element_type(), tensor.shape());
    if found.element_type() != expected.element_type() || found.shape() != expected.shape() {
        return Err(format!("expected {}, found {}", describe(expected), describe(found)));
    }
    if !found.element_type().is_float() {
        return if found == expected { Ok(()) } else { Err(differing(found, expected)) };
    }
    let (found_values, expected_values) = (found.to_f64s().unwrap(), expected.to_f64s().unwrap());
    let close = |found: f64, expected: f64| {
        found == expected
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= 1e-7 + 1e-3 * expected.abs()
    };
    match found_values.iter().zip(&expected_values).position(|(&found, &expected)| !close(found, expected)) {
        None => Ok(()),
        Some(at) => Err(format!("element {at}: expected {}, found {}", expected_values[at], found_values[at])),
    }
}

fn differing(found: &Tensor, expected: &Tensor) -> String {
    match (found.to_i128s(), expected.to_i128s()) {
        (Ok(found), Ok(expected)) => {
            match found.iter().zip(&expected).position(|(found, expected)| found != expected) {
                Some(at) => format!("element {at}: expected {}, found {}", expected[at], found[at]),
                None => "differs in what is no element".into(),
            }
        }
        _ => format!("expected {:?}, found {:?}", expected.strings(), found.strings()),
    }
}
