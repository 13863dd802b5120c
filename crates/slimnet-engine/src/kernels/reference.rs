//! The reference evaluator as a kernel: slow, but it knows every operator and element type.

use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::tensor::{ElementType, Tensor};

use super::arrangement::Layout;
use super::{Call, Kernel, KernelError, NodeType, ValueType};

/// A node that the reference evaluator computes.
#[derive(Debug)]
struct Reference {
    op: Op,
    inputs: Vec<Option<ValueType>>,
    outputs: Vec<Option<ValueType>>,
}

pub(super) fn prepare(node: &NodeType<'_>) -> Result<Box<dyn Kernel>, KernelError> {
    let unsupported = |what: String| Err(KernelError::Unsupported(what));
    if node.layout == Layout::ChannelsLast {
        return unsupported("with channels last".into());
    }
    if let Op::Other(other) = node.op {
        return unsupported(format!("{}: {}", other.op_type, other.reason));
    }
    if let Op::Dropout(_) = node.op
        && node.input(2).is_some_and(|training| {
            training
                .constant
                .as_ref()
                .is_none_or(|data| data.to_f64s().is_ok_and(|values| values.iter().any(|&value| value != 0.0)))
        })
    {
        return unsupported("Dropout in training, of this element type".into());
    }
    if node
        .inputs
        .iter()
        .chain(node.outputs)
        .flatten()
        .any(|value| value.element_type.bits().is_none_or(|bits| bits < 8))
    {
        return unsupported(format!("{} on strings or on elements of less than a byte", node.op.op_type()));
    }
    Ok(Box::new(Reference { op: node.op.clone(), inputs: node.inputs.to_vec(), outputs: node.outputs.to_vec() }))
}

impl Kernel for Reference {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let failed = |error: &dyn std::fmt::Display| KernelError::Value(error.to_string());
        let tensor = |slot: usize, value: &ValueType| match &value.constant {
            Some(data) => Ok(data.clone()),
            None => Tensor::from_bytes(
                value.element_type,
                value.shape.clone(),
                bytemuck::cast_slice::<u8, u8>(call.input_bytes(slot)).to_vec().into(),
            ),
        };
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(slot, value)| value.as_ref().map(|value| tensor(slot, value)).transpose())
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))?;
        let views: Vec<_> = inputs.iter().map(Option::as_ref).collect();
        let limit =
            self.outputs.iter().flatten().map(|value| value.len() * size_of::<u64>()).max().unwrap_or(0).max(1 << 20);
        let results = evaluate_op(&self.op, &views, self.outputs.len(), limit).map_err(|error| failed(&error))?;
        for (slot, (expected, found)) in self.outputs.iter().zip(&results).enumerate() {
            let Some(expected) = expected else { continue };
            let bytes = found
                .bytes()
                .filter(|_| found.shape() == expected.shape && found.element_type() == expected.element_type);
            let Some(bytes) = bytes else {
                let found = format!("{} {:?}", found.element_type(), found.shape());
                let expected: (ElementType, _) = (expected.element_type, &expected.shape);
                return Err(KernelError::Value(format!(
                    "output {slot} is {found}, expected {} {:?}",
                    expected.0, expected.1
                )));
            };
            call.output_bytes(slot).copy_from_slice(bytes);
        }
        Ok(())
    }
}
