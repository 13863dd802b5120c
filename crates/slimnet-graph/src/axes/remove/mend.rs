//! Attributes and constants that speak of lengths and positions.

use super::RemoveError;
use super::kept::Kept;
use crate::axes::rules::{axis_of, slice_range};
use crate::graph::{Graph, NodeId, ValueId};
use crate::infer::Inference;
use crate::ops::Op;
use crate::tensor::Tensor;

/// Mends every node of `graph` that reads or computes something that lost positions. `before` is the graph before.
pub(super) fn mend(graph: &mut Graph, before: &Graph, types: &Inference, kept: &Kept) -> Result<(), RemoveError> {
    let mut nodes: Vec<NodeId> = kept
        .values()
        .flat_map(|value| {
            let value = before.value(value);
            value.readers().map(|reader| reader.node).chain(value.producer()).collect::<Vec<_>>()
        })
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        Mend { graph, before, types, kept, node }.mend()?;
    }
    Ok(())
}

struct Mend<'a> {
    graph: &'a mut Graph,
    before: &'a Graph,
    types: &'a Inference,
    kept: &'a Kept,
    node: NodeId,
}

impl Mend<'_> {
    fn mend(&mut self) -> Result<(), RemoveError> {
        let mut op = self.before.node(self.node).op.clone();
        match &mut op {
            Op::Conv(conv) => conv.group = self.group(conv.group, 0, 1, false)?,
            Op::ConvInteger(conv) => conv.group = self.group(conv.group, 0, 1, false)?,
            Op::QLinearConv(conv) => conv.group = self.group(conv.group, 0, 3, false)?,
            Op::ConvTranspose(conv) => conv.group = self.group(conv.group, 0, 1, true)?,
            Op::GroupNormalization(normalization) => {
                normalization.num_groups = self.num_groups(normalization.num_groups)?;
            }
            Op::Lstm(lstm) => lstm.hidden_size = self.hidden_size(lstm.hidden_size),
            Op::Gru(gru) => gru.hidden_size = self.hidden_size(gru.hidden_size),
            Op::Rnn(rnn) => rnn.hidden_size = self.hidden_size(rnn.hidden_size),
            Op::Reshape(_) | Op::Expand(_) => self.target(1, None)?,
            Op::Resize(resize) => {
                let axes = resize.axes.clone();
                self.target(3, axes.as_deref())?;
            }
            Op::Split(split) => {
                if self.split(split.axis)? {
                    split.num_outputs = None;
                }
            }
            Op::Slice(_) => self.slice()?,
            Op::Pad(_) => self.pad()?,
            Op::Gather(gather) => self.gather(gather.axis)?,
            _ => return Ok(()),
        }
        self.graph.node_mut(self.node).op = op;
        Ok(())
    }

    fn stuck(&self, what: &str) -> RemoveError {
        RemoveError::Stuck { node: self.before.describe_node(self.node), what: what.into() }
    }

    fn input(&self, slot: usize) -> Option<ValueId> {
        self.before.node(self.node).input(slot)
    }

    fn length(&self, value: ValueId, axis: usize) -> Option<usize> {
        let own = self.before.value(value).shape.as_ref()?.get(axis)?.known();
        self.kept.length(value, axis).or(own)
    }

    /// The integers of a constant input, or of one that follows from constants alone, if there is one.
    fn integers(&self, slot: usize) -> Option<Vec<i64>> {
        self.types.data(self.before, self.input(slot)?)?.to_i64s().ok()
    }

    /// Gives a constant input other integers; other readers keep the old ones.
    fn set_integers(&mut self, slot: usize, values: &[i64], shape: Vec<usize>) -> Result<(), RemoveError> {
        let old = self.input(slot);
        let data = old.and_then(|old| self.types.data(self.before, old));
        let element_type = data.map_or(crate::ElementType::I64, |data| data.element_type());
        let wide = values.iter().map(|&value| i128::from(value)).collect();
        let tensor = Tensor::from_i128s(element_type, shape, wide)?;
        match old {
            Some(old) if self.graph.value(old).data.is_some() && self.before.value(old).readers().len() == 1 => {
                self.graph.set_data(old, tensor);
            }
            _ => {
                let wish = old.map_or_else(
                    || format!("{}_sizes", self.before.node(self.node).name),
                    |old| self.before.value(old).name.clone(),
                );
                let fresh = self.graph.add_constant(&wish, tensor);
                self.graph.set_input(self.node, slot, Some(fresh));
            }
        }
        Ok(())
    }

    /// The group count of a convolution.
    fn group(&self, old: i64, x: usize, weight: usize, transposed: bool) -> Result<i64, RemoveError> {
        if old <= 1 {
            return Ok(old);
        }
        let channels = if transposed { self.before.node(self.node).output(0) } else { self.input(x) };
        let channels = channels.and_then(|value| self.length(value, 1));
        let each = self.input(weight).and_then(|weight| self.length(weight, 1));
        match (channels, each) {
            (Some(channels), Some(each)) if each > 0 && channels % each == 0 => Ok((channels / each) as i64),
            _ => Err(self.stuck("its channels are not a multiple of a group's")),
        }
    }

    fn num_groups(&self, old: i64) -> Result<i64, RemoveError> {
        let (Some(x), Ok(groups)) = (self.input(0), usize::try_from(old)) else { return Ok(old) };
        let before = self.before.value(x).known_shape().and_then(|shape| shape.get(1).copied());
        let before = before.or_else(|| self.before.value(x).shape.as_ref()?.get(1)?.known());
        let (Some(rows), Some(before)) = (self.kept.rows(x, 1), before) else { return Ok(old) };
        let [row] = &rows[..] else { return Err(self.stuck("its channels lie in a block")) };
        let each = (before / groups.max(1)).max(1);
        let mut stay: Vec<usize> = row.iter().map(|position| position / each).collect();
        stay.dedup();
        Ok(stay.len() as i64)
    }

    fn hidden_size(&self, old: Option<i64>) -> Option<i64> {
        old?;
        self.input(2).and_then(|recurrent| self.length(recurrent, 2)).map(|length| length as i64)
    }

    /// A shape that the input at `slot` says, for the axes of the output that `axes` lists (absent: all).
    fn target(&mut self, slot: usize, axes: Option<&[i64]>) -> Result<(), RemoveError> {
        let (Some(output), Some(mut target)) = (self.before.node(self.node).output(0), self.integers(slot)) else {
            return Ok(());
        };
        let rank = self.before.value(output).shape.as_ref().map_or(0, Vec::len);
        let old = target.clone();
        let offset = rank.saturating_sub(target.len());
        for (index, entry) in target.iter_mut().enumerate() {
            let axis = match axes {
                Some(axes) => axes.get(index).and_then(|&axis| axis_of(axis, rank)),
                None => Some(index + offset),
            };
            if let Some(length) = axis.and_then(|axis| self.kept.length(output, axis))
                && *entry > 1
            {
                *entry = length as i64;
            }
        }
        if target == old { Ok(()) } else { self.set_integers(slot, &target, vec![target.len()]) }
    }

    /// Sizes of a Split's parts; whether they now stand in an input.
    fn split(&mut self, axis: i64) -> Result<bool, RemoveError> {
        let Some(x) = self.input(0).filter(|&x| self.kept.has(x)) else { return Ok(false) };
        let Some(axis) = axis_of(axis, self.before.value(x).shape.as_ref().map_or(0, Vec::len)) else {
            return Ok(false);
        };
        if self.kept.length(x, axis).is_none() {
            return Ok(false);
        }
        let outputs: Vec<Option<ValueId>> = self.before.node(self.node).outputs().to_vec();
        let sizes: Option<Vec<i64>> =
            outputs.iter().map(|output| Some(self.length((*output)?, axis)? as i64)).collect();
        let Some(sizes) = sizes else { return Err(self.stuck("one of its parts is left out")) };
        let total: i64 = sizes.iter().sum();
        if self.length(x, axis) != usize::try_from(total).ok() {
            return Err(self.stuck("nothing would be left of one of its parts"));
        }
        self.set_integers(1, &sizes, vec![sizes.len()])?;
        Ok(true)
    }

    fn slice(&mut self) -> Result<(), RemoveError> {
        let (Some(x), Some(mut starts), Some(mut ends)) = (self.input(0), self.integers(1), self.integers(2)) else {
            return Ok(());
        };
        let rank = self.before.value(x).shape.as_ref().map_or(0, Vec::len);
        let axes = self.integers(3).unwrap_or_else(|| (0..starts.len() as i64).collect());
        let mut changed = false;
        for (index, &axis) in axes.iter().enumerate() {
            let Some(axis) = axis_of(axis, rank).filter(|&axis| self.kept.length(x, axis).is_some()) else { continue };
            let old = self.before.value(x).shape.as_ref().and_then(|shape| shape.get(axis)?.known());
            let (Some(&start), Some(&end), Some(old)) = (starts.get(index), ends.get(index), old) else { continue };
            let range = slice_range(start, end, old);
            let places = self.kept.before(x, axis, range.start).zip(self.kept.before(x, axis, range.end));
            let Some((start, end)) = places else {
                return Err(self.stuck("rows keep different numbers of positions before the slice"));
            };
            (starts[index], ends[index], changed) = (start as i64, end as i64, true);
        }
        if changed {
            self.set_integers(1, &starts, vec![starts.len()])?;
            self.set_integers(2, &ends, vec![ends.len()])?;
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<(), RemoveError> {
        let (Some(x), Some(y)) = (self.input(0), self.before.node(self.node).output(0)) else { return Ok(()) };
        let Some(mut pads) = self.integers(1) else { return Ok(()) };
        let rank = self.before.value(x).shape.as_ref().map_or(0, Vec::len);
        let axes = self.integers(3).unwrap_or_else(|| (0..rank as i64).collect());
        let old = pads.clone();
        for (index, &axis) in axes.iter().enumerate() {
            let Some(axis) = axis_of(axis, rank).filter(|&axis| self.kept.length(y, axis).is_some()) else { continue };
            let (Some(&begin), Some(new_total)) = (pads.get(index), self.length(y, axis)) else { continue };
            if (Some(&0), Some(&0)) == (pads.get(index), pads.get(index + axes.len())) {
                continue;
            }
            let begin = usize::try_from(begin).ok().and_then(|begin| self.kept.before(y, axis, begin));
            let (Some(begin), Some(length)) = (begin, self.length(x, axis)) else {
                return Err(self.stuck("rows keep different numbers of padded positions"));
            };
            let Some(end) = new_total.checked_sub(begin).and_then(|rest| rest.checked_sub(length)) else {
                return Err(self.stuck("padded and inner positions do not add up"));
            };
            pads[index] = begin as i64;
            if let Some(place) = pads.get_mut(index + axes.len()) {
                *place = end as i64;
            }
        }
        if pads == old { Ok(()) } else { self.set_integers(1, &pads, vec![pads.len()]) }
    }

    fn gather(&mut self, axis: i64) -> Result<(), RemoveError> {
        let (Some(x), Some(y)) = (self.input(0), self.before.node(self.node).output(0)) else { return Ok(()) };
        let shape = self.before.value(x).shape.as_ref();
        let Some(axis) = axis_of(axis, shape.map_or(0, Vec::len)) else { return Ok(()) };
        let (Some(rows), Some(indices)) = (self.kept.rows(x, axis), self.integers(1)) else { return Ok(()) };
        let length = shape.and_then(|shape| shape.get(axis)?.known()).unwrap_or(0);
        let indices: Option<Vec<usize>> = indices.iter().map(|&index| axis_of(index, length)).collect();
        let indices = indices.ok_or_else(|| self.stuck("its indices are outside of the axis"))?;
        let scalar = self.input(1).is_some_and(|input| self.before.value(input).known_shape() == Some(Vec::new()));
        let chosen = if scalar { None } else { self.kept.rows(y, axis) };
        let mut result: Option<Vec<i64>> = None;
        for (row, positions) in rows.iter().enumerate() {
            let all: Vec<usize> = (0..indices.len()).collect();
            // An output that is no block any more keeps the same of every row.
            let own = chosen.as_ref().map_or(Some(&all), |chosen| match &chosen[..] {
                [same] => Some(same),
                rows => rows.get(row),
            });
            let mapped: Option<Vec<i64>> = own.and_then(|own| {
                own.iter().map(|&place| positions.binary_search(&indices[place]).ok().map(|at| at as i64)).collect()
            });
            match (mapped, &result) {
                (Some(mapped), None) => result = Some(mapped),
                (Some(mapped), Some(known)) if mapped == *known => {}
                _ => return Err(self.stuck("rows keep different positions of those that it chooses")),
            }
        }
        let result = result.unwrap_or_default();
        let shape = if scalar { Vec::new() } else { vec![result.len()] };
        self.set_integers(1, &result, shape)
    }
}
