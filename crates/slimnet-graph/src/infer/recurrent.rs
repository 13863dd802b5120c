//! Recurrent layers.

use super::Inferred;
use super::call::{Call, FLOATS, INT32, Result, ensure, mismatch, output};
use super::shapes::agree;
use crate::graph::Dim;
use crate::ops::recurrent::{Direction, Gru, Lstm, Rnn};

/// What the three layers have in common.
struct Layer<'a> {
    direction: Direction,
    hidden_size: Option<i64>,
    layout: bool,
    activations: &'a [String],
    activations_each: usize,
    gates: i64,
}

impl Layer<'_> {
    fn infer(&self, call: &Call<'_>) -> Result<[Option<Vec<Dim>>; 2]> {
        call.class(4, INT32)?;
        let directions = if self.direction == Direction::Bidirectional { 2usize } else { 1 };
        let count = self.activations.len();
        let activations = directions * self.activations_each;
        ensure(count == 0 || count == activations, "activations", format!("{activations} names"), count)?;
        let data = call.rank(0, 3)?;
        let recurrence = call.rank(2, 3)?;
        let directions = Dim::from(directions);
        let hidden = match (self.hidden_size, recurrence.map(|recurrence| &recurrence[2])) {
            (Some(size), own) => {
                ensure(size >= 1, "hidden_size", "at least 1", size)?;
                let size = Dim::from(size);
                if let Some(own) = own {
                    agree(own, &size, || "axis 2 of input 2 (hidden size)".into())?;
                }
                Some(size)
            }
            (None, own) => own.cloned(),
        };
        let scaled = |factor: i64| match &hidden {
            Some(hidden) => hidden
                .scale(factor)
                .map(Some)
                .ok_or_else(|| mismatch("hidden_size", "a length that fits into memory", hidden)),
            None => Ok(None),
        };
        let gates = scaled(self.gates)?;
        let biases = scaled(2 * self.gates)?;
        let features = data.map(|data| &data[2]);
        call.has_shape(1, &[Some(&directions), gates.as_ref(), features])?;
        call.has_shape(2, &[Some(&directions), gates.as_ref(), hidden.as_ref()])?;
        call.has_shape(3, &[Some(&directions), biases.as_ref()])?;
        let (batch, steps) = match data {
            Some(data) if self.layout => (Some(&data[0]), Some(&data[1])),
            Some(data) => (Some(&data[1]), Some(&data[0])),
            None => (None, None),
        };
        call.has_shape(4, &[batch])?;
        for slot in [5, 6] {
            if self.layout {
                call.has_shape(slot, &[batch, Some(&directions), hidden.as_ref()])?;
            } else {
                call.has_shape(slot, &[Some(&directions), batch, hidden.as_ref()])?;
            }
        }
        let (Some(batch), Some(steps), Some(hidden)) = (batch.cloned(), steps.cloned(), hidden) else {
            return Ok([None, None]);
        };
        Ok(if self.layout {
            let all = vec![batch.clone(), steps, directions.clone(), hidden.clone()];
            [Some(all), Some(vec![batch, directions, hidden])]
        } else {
            let all = vec![steps, directions.clone(), batch.clone(), hidden.clone()];
            [Some(all), Some(vec![directions, batch, hidden])]
        })
    }
}

pub(super) fn lstm(op: &Lstm, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 8, 3)?;
    let element_type = call.same([0, 1, 2, 3, 5, 6, 7], FLOATS)?;
    let layer = Layer {
        direction: op.direction,
        hidden_size: op.hidden_size,
        layout: op.layout,
        activations: &op.activations,
        activations_each: 3,
        gates: 4,
    };
    let [all, last] = layer.infer(call)?;
    let hidden = last.as_ref().and_then(|last| last.last()?.scale(3));
    call.has_shape(7, &[None, hidden.as_ref()])?;
    Ok(vec![output(element_type, all), output(element_type, last.clone()), output(element_type, last)])
}

pub(super) fn gru(op: &Gru, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 6, 2)?;
    let element_type = call.same([0, 1, 2, 3, 5], FLOATS)?;
    let layer = Layer {
        direction: op.direction,
        hidden_size: op.hidden_size,
        layout: op.layout,
        activations: &op.activations,
        activations_each: 2,
        gates: 3,
    };
    let [all, last] = layer.infer(call)?;
    Ok(vec![output(element_type, all), output(element_type, last)])
}

pub(super) fn rnn(op: &Rnn, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(3, 6, 2)?;
    let element_type = call.same([0, 1, 2, 3, 5], FLOATS)?;
    let layer = Layer {
        direction: op.direction,
        hidden_size: op.hidden_size,
        layout: op.layout,
        activations: &op.activations,
        activations_each: 1,
        gates: 1,
    };
    let [all, last] = layer.infer(call)?;
    Ok(vec![output(element_type, all), output(element_type, last)])
}
