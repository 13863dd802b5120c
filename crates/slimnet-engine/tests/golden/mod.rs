//! Cases of `PyTorch`'s values, and how kernels are compared with them.

pub mod cases;
pub mod training;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use slimnet_engine::kernels::testing::{difference, run};
use slimnet_engine::kernels::{Context, KernelError, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::tensor::{ElementType, Tensor};

/// How far values may be apart, relative to the larger of 1 and the largest value.
pub const TOLERANCE: f64 = 1e-5;

/// What `PyTorch` says of one case, by ONNX's slots.
#[derive(Debug, Default)]
pub struct Value {
    pub inputs: Vec<Option<Tensor>>,
    pub outputs: Vec<Option<Tensor>>,
    /// Gradients that come from above, by output.
    pub upstream: Vec<Option<Tensor>>,
    /// Gradients that are asked for, by input.
    pub gradients: Vec<Option<Tensor>>,
}

/// The cases of a file, by name.
pub type Values = BTreeMap<String, Value>;

/// Reads a file of cases.
pub fn read(family: &str) -> Values {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{family}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut values = Values::new();
    for (key, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let (name, slot) = key.split_once(':').unwrap();
        let (kind, slot) = slot.split_at(1);
        let slot: usize = slot.parse().unwrap();
        let element_type = match view.dtype() {
            Dtype::F32 => ElementType::F32,
            Dtype::I64 => ElementType::I64,
            Dtype::I32 => ElementType::I32,
            Dtype::BOOL => ElementType::Bool,
            other => panic!("{key}: {other:?}"),
        };
        let tensor = Tensor::from_bytes(element_type, view.shape().to_vec(), view.data().to_vec().into()).unwrap();
        let value = values.entry(name.to_owned()).or_default();
        let part = match kind {
            "i" => &mut value.inputs,
            "o" => &mut value.outputs,
            "u" => &mut value.upstream,
            "g" => &mut value.gradients,
            other => panic!("{key}: {other}"),
        };
        part.resize(part.len().max(slot + 1), None);
        part[slot] = Some(tensor);
    }
    for value in values.values_mut() {
        value.upstream.resize(value.outputs.len(), None);
        value.gradients.resize(value.inputs.len(), None);
    }
    values
}

/// An operator of ONNX whose inputs and results the file of the same name has.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub op: Op,
    /// `float32` inputs whose data is known when the kernel is prepared.
    pub constant: &'static [usize],
}

impl Case {
    pub fn new(name: &'static str, op_type: &str, attributes: Attributes, constant: &'static [usize]) -> Self {
        let op = Op::read(op_type, attributes).unwrap_or_else(|| panic!("{name}: no operator {op_type}"));
        Self { name, op: op.unwrap_or_else(|error| panic!("{name}: {error}")), constant }
    }

    /// Whether the data of an input is known when the kernel is prepared: axes and shapes, but not indices.
    fn constant(&self, slot: usize, input: &Tensor) -> bool {
        let indices = matches!(
            self.op,
            Op::Gather(_)
                | Op::GatherElements(_)
                | Op::GatherNd(_)
                | Op::ScatterElements(_)
                | Op::ScatterNd(_)
                | Op::Where(_)
                | Op::Lstm(_)
                | Op::Gru(_)
                | Op::Rnn(_)
        );
        self.constant.contains(&slot) || (input.element_type() != ElementType::F32 && !indices)
    }

    /// Compares outputs and gradients; what differs, in words. With `later` the gradient must have no kernel.
    pub fn check(&self, value: &Value, later: bool) -> Vec<String> {
        let inputs = value.inputs.len();
        let constant = |slot: usize| {
            value.inputs.get(slot).and_then(Option::as_ref).is_some_and(|input| self.constant(slot, input))
        };
        let types: Vec<_> = value.outputs.iter().map(|output| output.as_ref().map(type_of)).collect();
        let outputs = match run(&self.op, &value.inputs, &types, constant, Context::default()) {
            Ok(outputs) => outputs,
            Err(error) => return vec![format!("forward: {error}")],
        };
        let mut wrong = Vec::new();
        compare("output", &outputs, &value.outputs, &mut wrong);

        let gradient = Op::Gradient(Box::new(Gradient { of: self.op.clone(), inputs, outputs: value.outputs.len() }));
        let all: Vec<_> = value.inputs.iter().chain(&outputs).chain(&value.upstream).cloned().collect();
        let wanted: Vec<usize> = (0..inputs).filter(|&slot| value.gradients[slot].is_some()).collect();
        assert!(!wanted.is_empty(), "{}: nothing is differentiated", self.name);
        // All gradients in one run, and each in a run of its own.
        let alone = wanted.iter().map(|&slot| vec![slot]).filter(|_| wanted.len() > 1);
        for slots in std::iter::once(wanted.clone()).chain(alone) {
            let expected: Vec<_> =
                (0..inputs).map(|slot| value.gradients[slot].clone().filter(|_| slots.contains(&slot))).collect();
            let types: Vec<_> = expected.iter().map(|gradient| gradient.as_ref().map(type_of)).collect();
            let constant = |slot: usize| slot < inputs && constant(slot);
            match run(&gradient, &all, &types, constant, Context::default()) {
                Ok(_) if later => wrong.push(format!("gradient of {slots:?} has a kernel now: take it out of LATER")),
                Ok(found) => compare(&format!("of {slots:?} gradient"), &found, &expected, &mut wrong),
                Err(KernelError::Unsupported(_)) if later => {}
                Err(error) => wrong.push(format!("gradient of {slots:?}: {error}")),
            }
        }
        wrong
    }
}

fn type_of(tensor: &Tensor) -> ValueType {
    ValueType::new(tensor.element_type(), tensor.shape().to_vec())
}

/// Adds what differs to `wrong`.
fn compare(what: &str, found: &[Option<Tensor>], expected: &[Option<Tensor>], wrong: &mut Vec<String>) {
    assert_eq!(found.len(), expected.len());
    for (slot, (found, expected)) in found.iter().zip(expected).enumerate() {
        match (found, expected) {
            (Some(found), Some(expected)) => {
                let difference = difference(found, expected);
                if difference > TOLERANCE {
                    wrong.push(format!("{what} {slot} differs by {difference:.3e}"));
                }
            }
            (None, None) => {}
            _ => wrong.push(format!("{what} {slot} is there on one side only")),
        }
    }
}
