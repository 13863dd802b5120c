//! Where channels lie, decided for the graph as a whole.
//!
//! Windows are computed faster on `[N, spatial…, C]` ([`Layout`]). A node that has such kernels gets its tensors in that
//! order, and operators that work element by element or axis by axis keep the order of what they read, so that tensors are
//! moved only where a region begins or ends. It is a rewrite: values of the other order are values of their own, computed
//! from the plain ones, or the other way, by a `Transpose`; those that nobody reads are never run.

use std::collections::{HashMap, HashSet};

use slimnet_graph::Op;
use slimnet_graph::graph::{NodeId, ValueId};
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::layout::Transpose;
use slimnet_graph::tensor::Tensor;

use super::PlanError;
use super::shapes::Fixed;
use crate::kernels::arrangement::{Arrangement, Layout, channels_last, follows_layout};
use crate::kernels::{NodeType, ValueType, Zeros, arrangement};

/// Most axes of a tensor whose channels are moved.
const MOST_AXES: usize = 5;

/// Rewrites the graph. Returns the nodes whose kernels are told that channels are last.
pub(super) fn choose(fixed: &mut Fixed, needed: &[NodeId], zeros: Zeros) -> Result<HashSet<NodeId>, PlanError> {
    let mut chooser = Chooser { fixed, zeros, moved: HashMap::new(), home: HashSet::new(), told: HashSet::new() };
    for &node in needed {
        chooser.lay_out(node)?;
    }
    Ok(chooser.told)
}

struct Chooser<'a> {
    fixed: &'a mut Fixed,
    zeros: Zeros,
    /// For plain values the same with channels last.
    moved: HashMap<ValueId, ValueId>,
    /// Plain values that are computed from those with channels last.
    home: HashSet<ValueId>,
    told: HashSet<NodeId>,
}

/// The types of a node's values.
type Types = Vec<Option<ValueType>>;

impl Chooser<'_> {
    fn lay_out(&mut self, id: NodeId) -> Result<(), PlanError> {
        let node = self.fixed.graph.node(id);
        let (op, inputs, outputs) = (node.op.clone(), node.inputs().to_vec(), node.outputs().to_vec());
        let (input_types, output_types) = (self.types(&inputs)?, self.types(&outputs)?);
        let described = NodeType {
            op: &op,
            inputs: &input_types,
            outputs: &output_types,
            layout: Layout::Plain,
            zeros: self.zeros,
        };
        match arrangement(&described) {
            Arrangement::ChannelsLast => {
                self.told.insert(id);
                let follows = |slot: usize, value: &ValueType| follows_layout(&op, value.shape.len(), slot);
                for (slot, (value, value_type)) in inputs.iter().zip(&input_types).enumerate() {
                    if let (Some(value), Some(value_type)) = (value, value_type)
                        && follows(slot, value_type)
                    {
                        let moved = self.channels_last(*value, value_type)?;
                        self.fixed.graph.set_input(id, slot, Some(moved));
                    }
                }
                for (slot, (value, value_type)) in outputs.iter().zip(&output_types).enumerate() {
                    if let (Some(value), Some(value_type)) = (value, value_type)
                        && follows(slot, value_type)
                    {
                        self.compute_channels_last(id, slot, *value, value_type)?;
                    }
                }
                Ok(())
            }
            Arrangement::Elementwise => self.element_by_element(id, (&inputs, &input_types), (&outputs, &output_types)),
            Arrangement::Plain => match axis_by_axis(&described) {
                Some(settings) => self.axis_by_axis(id, settings, (&inputs, &input_types), (&outputs, &output_types)),
                None => Ok(()),
            },
        }
    }

    fn types(&self, values: &[Option<ValueId>]) -> Result<Types, PlanError> {
        values.iter().map(|value| value.map(|value| self.fixed.value_type(value)).transpose()).collect()
    }

    /// Whether a tensor of so many axes that is read has its channels last where it is computed.
    fn reads_moved(&self, inputs: &[Option<ValueId>], types: &Types, rank: usize) -> bool {
        inputs.iter().zip(types).any(|(value, value_type)| {
            let of_rank = value_type.as_ref().is_some_and(|value_type| value_type.shape.len() == rank);
            of_rank && value.is_some_and(|value| self.home.contains(&value))
        })
    }

    fn element_by_element(
        &mut self,
        id: NodeId,
        (inputs, input_types): (&[Option<ValueId>], &Types),
        (outputs, output_types): (&[Option<ValueId>], &Types),
    ) -> Result<(), PlanError> {
        let all = || input_types.iter().chain(output_types).flatten();
        let rank = all().map(|value| value.shape.len()).max().unwrap_or(0);
        // Operands of fewer axes must have the same bytes in either order.
        let fits =
            |value: &ValueType| value.shape.len() == rank || value.len() == 1 || keeps_bytes(&widened(value, rank));
        if !(3..=MOST_AXES).contains(&rank) || !all().all(fits) || !self.reads_moved(inputs, input_types, rank) {
            return Ok(());
        }
        for (slot, (value, value_type)) in inputs.iter().zip(input_types).enumerate() {
            let (Some(value), Some(value_type)) = (value, value_type) else { continue };
            let moved = match value_type.shape.len() {
                axes if axes == rank => self.channels_last(*value, value_type)?,
                _ if value_type.len() == 1 => continue,
                _ => self.reshaped(*value, value_type, channels_last(&widened(value_type, rank)))?,
            };
            self.fixed.graph.set_input(id, slot, Some(moved));
        }
        for (slot, (value, value_type)) in outputs.iter().zip(output_types).enumerate() {
            let (Some(value), Some(value_type)) = (value, value_type) else { continue };
            if value_type.shape.len() == rank {
                self.compute_channels_last(id, slot, *value, value_type)?;
            } else if value_type.len() > 1 {
                let shape = channels_last(&widened(value_type, rank));
                let wide = self.add(*value, ValueType::new(value_type.element_type, shape));
                self.fixed.graph.set_output(id, slot, wide)?;
                self.fixed.graph.add_node("", Op::Unary(Unary::Identity), vec![Some(wide)], vec![Some(*value)])?;
            }
        }
        Ok(())
    }

    fn axis_by_axis(
        &mut self,
        id: NodeId,
        settings: Settings,
        (inputs, input_types): (&[Option<ValueId>], &Types),
        (outputs, output_types): (&[Option<ValueId>], &Types),
    ) -> Result<(), PlanError> {
        let Settings { rank, op, count, axes } = settings;
        if !(3..=MOST_AXES).contains(&rank) || !self.reads_moved(inputs, input_types, rank) {
            return Ok(());
        }
        // A list of axes that was absent moves the inputs behind it.
        let (added, gradient) = match &self.fixed.graph.node(id).op {
            Op::Gradient(gradient) => (count - gradient.inputs, true),
            _ => (0, false),
        };
        let place = |slot: usize| if gradient && slot + added >= count { slot + added } else { slot };
        let mut new_inputs = vec![None; place(inputs.len()).max(count)];
        for (slot, (value, value_type)) in inputs.iter().zip(input_types).enumerate() {
            let (Some(value), Some(value_type)) = (value, value_type) else { continue };
            let moves = value_type.shape.len() == rank;
            new_inputs[place(slot)] = Some(if moves { self.channels_last(*value, value_type)? } else { *value });
        }
        if let Some((slot, axes)) = axes {
            let axes = Tensor::vector(axes);
            let value = self.fixed.graph.add_intermediate("axes");
            let value_type =
                ValueType { element_type: axes.element_type(), shape: axes.shape().to_vec(), constant: Some(axes) };
            self.fixed.add_type(value, value_type);
            new_inputs[slot] = Some(value);
        }
        self.fixed.graph.node_mut(id).op = op;
        self.fixed.graph.set_inputs(id, &new_inputs);
        for (slot, (value, value_type)) in outputs.iter().zip(output_types).enumerate() {
            let (Some(value), Some(value_type)) = (value, value_type) else { continue };
            if value_type.shape.len() == rank {
                self.compute_channels_last(id, slot, *value, value_type)?;
            }
        }
        Ok(())
    }

    /// A new value, called like another.
    fn add(&mut self, like: ValueId, value_type: ValueType) -> ValueId {
        let name = format!("{} (channels last)", self.fixed.graph.value(like).name);
        let value = self.fixed.graph.add_intermediate(&name);
        self.fixed.add_type(value, value_type);
        value
    }

    /// The value with its channels last, moved there if it is not yet.
    fn channels_last(&mut self, value: ValueId, value_type: &ValueType) -> Result<ValueId, PlanError> {
        if let Some(&moved) = self.moved.get(&value) {
            return Ok(moved);
        }
        let rank = value_type.shape.len() as i64;
        let shape = channels_last(&value_type.shape);
        let moved = if value_type.constant.is_some() && keeps_bytes(&value_type.shape) {
            self.reshaped(value, value_type, shape)?
        } else {
            let moved = self.add(value, ValueType::new(value_type.element_type, shape));
            let perm = std::iter::once(0).chain(2..rank).chain([1]).collect();
            let transpose = Op::Transpose(Transpose { perm: Some(perm) });
            self.fixed.graph.add_node("", transpose, vec![Some(value)], vec![Some(moved)])?;
            moved
        };
        self.moved.insert(value, moved);
        Ok(moved)
    }

    /// The same bytes as a tensor of another shape.
    fn reshaped(&mut self, value: ValueId, value_type: &ValueType, shape: Vec<usize>) -> Result<ValueId, PlanError> {
        let constant = value_type.constant.as_ref().and_then(|data| {
            let bytes = data.bytes()?.clone();
            Tensor::from_bytes(data.element_type(), shape.clone(), bytes).ok()
        });
        let known = constant.is_some();
        let reshaped = self.add(value, ValueType { element_type: value_type.element_type, shape, constant });
        if !known {
            self.fixed.graph.add_node("", Op::Unary(Unary::Identity), vec![Some(value)], vec![Some(reshaped)])?;
        }
        Ok(reshaped)
    }

    /// Lets a node compute an output with its channels last, and the plain value from that.
    fn compute_channels_last(
        &mut self,
        id: NodeId,
        slot: usize,
        value: ValueId,
        value_type: &ValueType,
    ) -> Result<(), PlanError> {
        let rank = value_type.shape.len() as i64;
        // Whoever reads of what the node computes knows it by its name in the file.
        let name = self.fixed.graph.value(value).name.clone();
        self.fixed.graph.rename(value, &format!("{name} (channels second)"));
        let moved = self.fixed.graph.add_intermediate(&name);
        let shape = channels_last(&value_type.shape);
        self.fixed.add_type(moved, ValueType::new(value_type.element_type, shape));
        self.fixed.graph.set_output(id, slot, moved)?;
        let perm = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let transpose = Op::Transpose(Transpose { perm: Some(perm) });
        self.fixed.graph.add_node("", transpose, vec![Some(moved)], vec![Some(value)])?;
        self.moved.insert(value, moved);
        self.home.insert(value);
        Ok(())
    }
}

/// A shape with ones in front.
fn widened(value: &ValueType, rank: usize) -> Vec<usize> {
    let mut shape = vec![1; rank - value.shape.len()];
    shape.extend(&value.shape);
    shape
}

/// Whether a tensor has the same bytes with its channels last.
fn keeps_bytes(shape: &[usize]) -> bool {
    shape[1] == 1 || shape[2..].iter().all(|&length| length == 1)
}

/// How an operator that does something to axes by their numbers does the same where channels are last.
struct Settings {
    /// Axes of the tensors that move.
    rank: usize,
    op: Op,
    /// How many inputs the operator (or that of which it is the gradient) has then.
    count: usize,
    /// A slot with the list of axes.
    axes: Option<(usize, Vec<i64>)>,
}

/// The operator with its axes renumbered; `None` if it is not one that works axis by axis, or its axes are not known.
fn axis_by_axis(node: &NodeType<'_>) -> Option<Settings> {
    let (of, inputs) = match node.op {
        Op::Gradient(gradient) => (&gradient.of, gradient.inputs),
        op => (op, node.inputs.len()),
    };
    let rank = node.input(0)?.shape.len();
    let last = rank as i64 - 1;
    let renumber = |axis: i64| match if axis < 0 { axis + last + 1 } else { axis } {
        0 => 0,
        1 => last,
        axis => axis - 1,
    };
    // The axes of a list, which are those that an absent list means if it is absent.
    let listed = |slot: usize, absent: usize| {
        let axes = match node.input(slot).filter(|_| slot < inputs) {
            Some(axes) => axes.integers()?,
            None => (0..absent as i64).collect(),
        };
        Some((slot, axes.into_iter().map(renumber).collect::<Vec<_>>()))
    };
    let (of, axes) = match of {
        Op::Concat(concat) => {
            let mut concat = concat.clone();
            concat.axis = renumber(concat.axis);
            (Op::Concat(concat), None)
        }
        Op::Slice(_) => (of.clone(), Some(listed(3, node.input(1)?.len())?)),
        Op::Pad(_) => (of.clone(), Some(listed(3, rank)?)),
        Op::Reduce(_, reduce) => {
            let (slot, axes) = listed(1, if reduce.noop_with_empty_axes { 0 } else { rank })?;
            // Without the reduced axes, what is left must have the same order: images and channels.
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            (reduce.keepdims || sorted.iter().copied().eq(1..last)).then_some(())?;
            (of.clone(), Some((slot, axes)))
        }
        _ => return None,
    };
    let count = axes.as_ref().map_or(inputs, |(slot, _)| inputs.max(slot + 1));
    let op = match node.op {
        Op::Gradient(gradient) => Op::Gradient(Box::new(Gradient { of, inputs: count, outputs: gradient.outputs })),
        _ => of,
    };
    Some(Settings { rank, op, count, axes })
}
