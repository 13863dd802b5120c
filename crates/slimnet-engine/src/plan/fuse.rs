//! Elementwise steps that the kernel before them does in passing ([`Kernel::absorb`]).

use std::collections::{BTreeSet, HashMap};

use slimnet_graph::Op;
use slimnet_graph::graph::{NodeId, ValueId};
use slimnet_graph::ops::elementwise::{Binary, Unary, Variadic};

use super::PlanError;
use super::build::used;
use super::shapes::Fixed;
use crate::kernels::{Epilogue, Kernel, ValueType};

/// A node and what computes it, with what its kernel reads and writes.
pub(super) struct Prepared {
    pub node: NodeId,
    pub kernel: Box<dyn Kernel>,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<Option<ValueId>>,
}

/// Lets kernels absorb the steps that follow them. A kernel that does moves to the place of what it absorbed, where all
/// that this reads is there.
pub(super) fn fuse(
    kernels: Vec<Prepared>,
    fixed: &Fixed,
    kept: &BTreeSet<ValueId>,
) -> Result<Vec<Prepared>, PlanError> {
    let mut uses: HashMap<ValueId, usize> = kept.iter().map(|&value| (value, 1)).collect();
    let mut source: HashMap<ValueId, usize> = HashMap::new();
    let mut first_reader: HashMap<ValueId, usize> = HashMap::new();
    for (index, step) in kernels.iter().enumerate() {
        for (_, value) in used(&*step.kernel, &step.inputs, &step.outputs) {
            *uses.entry(value).or_default() += 1;
            first_reader.entry(value).or_insert(index);
        }
        source.extend(step.outputs.iter().flatten().map(|&output| (output, index)));
    }
    let mut kernels: Vec<_> = kernels.into_iter().map(Some).collect();
    for index in 0..kernels.len() {
        let Some(step) = &kernels[index] else { continue };
        let Some(&Some(result)) = step.outputs.first() else { continue };
        // Of two operands the one that is computed last takes the step over: the other is there by then.
        let mut found = epilogue(step, fixed)?;
        let place = |slot: usize| step.inputs.get(slot).copied().flatten().and_then(|value| source.get(&value));
        found.sort_by_key(|(slot, _)| std::cmp::Reverse(place(*slot).copied()));
        for (slot, clamp) in found {
            let Some(step) = &kernels[index] else { break };
            let Some(value) = step.inputs.get(slot).copied().flatten() else { continue };
            let other = step.inputs.get(1 - slot.min(1)).copied().flatten().filter(|_| clamp.is_none());
            let Some(&before) = source.get(&value).filter(|_| uses.get(&value) == Some(&1)) else { continue };
            let Some(absorber) = &mut kernels[before] else { continue };
            // What else it computes must not be needed before the place where it moves to.
            let late = |output: &ValueId| first_reader.get(output).is_some_and(|&reader| reader < index);
            if absorber.outputs.first() != Some(&Some(value)) || absorber.outputs[1..].iter().flatten().any(late) {
                continue;
            }
            let epilogue = clamp.unwrap_or(Epilogue::Add { slot: absorber.inputs.len() });
            if !absorber.kernel.absorb(&epilogue) {
                continue;
            }
            absorber.inputs.extend(other.map(Some));
            absorber.outputs[0] = Some(result);
            source.insert(result, index);
            kernels[index] = kernels[before].take();
            break;
        }
    }
    Ok(kernels.into_iter().flatten().collect())
}

/// The slots whose source may absorb the step, and how it limits them (`None`: it adds the other input).
fn epilogue(step: &Prepared, fixed: &Fixed) -> Result<Vec<(usize, Option<Epilogue>)>, PlanError> {
    let types = |values: &[Option<ValueId>]| {
        values.iter().map(|value| value.map(|value| fixed.value_type(value)).transpose()).collect::<Result<Vec<_>, _>>()
    };
    let op = &fixed.graph.node(step.node).op;
    let is_candidate = match op {
        Op::Unary(Unary::Relu) | Op::Clip(_) | Op::Binary(Binary::Add) => true,
        Op::Variadic(Variadic::Sum) => step.inputs.len() == 2,
        _ => false,
    };
    if !is_candidate {
        return Ok(Vec::new());
    }
    let (inputs, outputs) = (types(&step.inputs)?, types(&step.outputs)?);
    let input = |slot: usize| inputs.get(slot).and_then(Option::as_ref);
    let Some(output) = outputs.first().and_then(Option::as_ref).filter(|output| output.is_f32()) else {
        return Ok(Vec::new());
    };
    // A limit that is known and a number; an absent one limits nothing.
    let limit = |slot: usize, absent: f32| match input(slot) {
        None => Some(absent),
        Some(limit) => {
            let values = limit.constant.as_ref()?.to_f64s().ok()?;
            values.first().map(|&value| value as f32).filter(|value| !value.is_nan())
        }
    };
    Ok(match op {
        Op::Unary(Unary::Relu) => vec![(0, Some(Epilogue::Clamp { low: 0.0, high: f32::INFINITY }))],
        Op::Clip(_) => match (limit(1, f32::NEG_INFINITY), limit(2, f32::INFINITY)) {
            (Some(low), Some(high)) => vec![(0, Some(Epilogue::Clamp { low, high }))],
            _ => Vec::new(),
        },
        _ => {
            let same = |value: &ValueType| value.is_f32() && value.shape == output.shape;
            let fits = step.inputs.first() != step.inputs.get(1) && inputs.iter().flatten().all(same);
            if fits { vec![(1, None), (0, None)] } else { Vec::new() }
        }
    })
}
