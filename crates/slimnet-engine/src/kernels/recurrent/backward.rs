//! Gradients of recurrent layers: the walk is repeated, then gone back.

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;

use super::layer::{Cell, Inputs, Layer, Part, split, split_mut};
use crate::kernels::matrix::{Matrix, multiply, multiply_here};
use crate::kernels::parallel::sum_rows;
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

#[derive(Debug)]
struct Backward {
    layer: Layer,
    /// How many inputs the layer has.
    inputs: usize,
    /// Slots of the gradients of Y, of the last h and of the last c.
    gradients: [Option<usize>; 3],
}

/// Gradients of Y, of the last h and of the last c; empty where one is zero.
type Gradients<'a> = [&'a [f32]; 3];

/// Gradients of the inputs; empty where one is not wanted.
struct Wanted<'a> {
    x: &'a mut [f32],
    w: &'a mut [f32],
    r: &'a mut [f32],
    bias: &'a mut [f32],
    initial_h: &'a mut [f32],
    initial_c: &'a mut [f32],
    peepholes: &'a mut [f32],
}

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let layer = Layer::of(&gradient.of, node.inputs.get(..gradient.inputs)?)?;
    let gradients = [0, 1, 2].map(|output| {
        let slot = gradient.gradient_slot(output);
        (output < gradient.outputs && node.input(slot).is_some()).then_some(slot)
    });
    Some(Box::new(Backward { layer, inputs: gradient.inputs, gradients }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let layer = &self.layer;
        let inputs = layer.inputs(call)?;
        let gradients = self.gradients.map(|slot| slot.map_or(&[][..], |slot| call.input::<f32>(slot)));
        let scratch = call.scratch();
        let mut output = |slot: usize| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] };
        let [x, w, r, bias, initial_h, initial_c, peepholes] = [0, 1, 2, 3, 5, 6, 7].map(&mut output);
        let mut wanted = Wanted { x, w, r, bias, initial_h, initial_c, peepholes };
        wanted.bias.fill(0.0);
        wanted.peepholes.fill(0.0);
        for direction in 0..layer.directions {
            scratch.par_chunks_mut(layer.part_scratch(true)).enumerate().for_each(|(index, memory)| {
                let mut part = layer.part(index, memory, true);
                layer.walk(&mut part, &inputs, direction);
                layer.walk_back(&mut part, &inputs, &gradients, direction);
            });
            for (index, memory) in scratch.chunks_mut(layer.part_scratch(true)).enumerate() {
                layer.collect(&mut layer.part(index, memory, true), &inputs, &mut wanted, direction, index > 0);
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input < self.inputs || self.gradients.contains(&Some(input))
    }

    fn scratch(&self) -> usize {
        self.layer.scratch(true)
    }
}

impl Layer {
    /// Leaves gradients before activation in place of the gates, and those of the initial states in `dh` and `dc`.
    fn walk_back(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, gradients: &Gradients<'_>, direction: usize) {
        let [dy, last_h, last_c] = gradients;
        let (hidden, count, rows) = (self.hidden, part.count, self.rows());
        for (state, last) in [(&mut *part.dh, last_h), (&mut *part.dc, last_c)] {
            for (place, state) in state.chunks_exact_mut(hidden).enumerate() {
                if last.is_empty() {
                    state.fill(0.0);
                } else {
                    let row = self.state_row(direction, part.first + place);
                    state.copy_from_slice(&last[row * hidden..][..hidden]);
                }
            }
        }
        for step in (0..self.steps).rev() {
            let position = self.position(direction, step);
            for place in 0..count {
                let example = part.first + place;
                let row = step * count + place;
                if !inputs.is_active(example, position) {
                    part.gates[row * rows..][..rows].fill(0.0);
                    continue;
                }
                if !dy.is_empty() {
                    let dy = &dy[self.y_row(position, direction, example) * hidden..][..hidden];
                    part.dh[place * hidden..][..hidden].iter_mut().zip(dy).for_each(|(dh, dy)| *dh += dy);
                }
                vectorized(
                    #[inline(always)]
                    || match self.cell {
                        Cell::Rnn => self.rnn_back(part, row, place),
                        Cell::Gru { linear_before_reset } => self.gru_back(part, row, place, linear_before_reset),
                        Cell::Lstm { .. } => self.lstm_back(part, inputs, direction, row, place),
                    },
                );
            }
            let gates = &part.gates[step * count * rows..][..count * rows];
            let joint = if matches!(self.cell, Cell::Gru { .. }) { 2 } else { rows / hidden };
            match self.cell {
                Cell::Gru { linear_before_reset: true } => {
                    let extra = Matrix::new(&part.extra[step * count * hidden..], count, hidden);
                    multiply_here(part.dh, extra, self.recurrent(inputs, direction, 2, 1), 1.0, true);
                }
                Cell::Gru { linear_before_reset: false } => {
                    let candidate = Matrix::strided(&gates[2 * hidden..], count, hidden, rows, 1);
                    let product = &mut part.temporary[..count * hidden];
                    multiply_here(product, candidate, self.recurrent(inputs, direction, 2, 1), 1.0, false);
                    for place in 0..count {
                        if inputs.is_active(part.first + place, position) {
                            gru_reset_back(part, hidden, step * count + place, place);
                        }
                    }
                }
                _ => {}
            }
            let gates = Matrix::strided(&part.gates[step * count * rows..], count, joint * hidden, rows, 1);
            multiply_here(part.dh, gates, self.recurrent(inputs, direction, 0, joint), 1.0, true);
        }
    }

    #[inline(always)]
    fn rnn_back(&self, part: &mut Part<'_>, row: usize, place: usize) {
        let hidden = self.hidden;
        let gates = &mut part.gates[row * hidden..][..hidden];
        let slopes = &part.slopes[row * hidden..][..hidden];
        for ((gate, slope), dh) in gates.iter_mut().zip(slopes).zip(&mut part.dh[place * hidden..]) {
            *gate = std::mem::take(dh) * slope;
        }
    }

    #[inline(always)]
    fn gru_back(&self, part: &mut Part<'_>, row: usize, place: usize, linear_before_reset: bool) {
        let (hidden, rows) = (self.hidden, self.rows());
        let [update, reset, candidate] = split_mut(&mut part.gates[row * rows..][..rows], hidden);
        let [of_update, of_reset, of_candidate] = split(&part.slopes[row * rows..][..rows], hidden);
        let h = &part.h[row * hidden..][..hidden];
        let dh = &mut part.dh[place * hidden..][..hidden];
        let extra = &mut part.extra[row * hidden..][..hidden];
        for index in 0..hidden {
            let (z, gradient) = (update[index], dh[index]);
            update[index] = gradient * (h[index] - candidate[index]) * of_update[index];
            candidate[index] = gradient * (1.0 - z) * of_candidate[index];
            dh[index] = gradient * z;
            if linear_before_reset {
                let product = extra[index];
                extra[index] = candidate[index] * reset[index];
                reset[index] = candidate[index] * product * of_reset[index];
            }
        }
    }

    #[inline(always)]
    fn lstm_back(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize, row: usize, place: usize) {
        let (hidden, rows) = (self.hidden, self.rows());
        let [input, output, forget, candidate] = split_mut(&mut part.gates[row * rows..][..rows], hidden);
        let [of_input, of_output, of_forget, of_candidate] = split(&part.slopes[row * rows..][..rows], hidden);
        let (c, next_c) = (&part.c[row * hidden..][..hidden], &part.c[(row + part.count) * hidden..][..hidden]);
        let dh = &mut part.dh[place * hidden..][..hidden];
        let dc = &mut part.dc[place * hidden..][..hidden];
        let [values, slopes] = split_mut(&mut part.temporary[place * 2 * hidden..][..2 * hidden], hidden);
        values.copy_from_slice(next_c);
        self.functions(direction)[2].apply(f32::INFINITY, values, slopes);
        let peepholes = self.peepholes(inputs, direction);
        let input_forget = self.cell == (Cell::Lstm { input_forget: true });
        for index in 0..hidden {
            let gradient = std::mem::take(&mut dh[index]);
            let (i, o, f, new) = (input[index], output[index], forget[index], candidate[index]);
            output[index] = gradient * values[index] * of_output[index];
            let mut of_c = dc[index] + gradient * o * slopes[index];
            if let Some([_, peephole, _]) = peepholes {
                of_c += output[index] * peephole[index];
            }
            let of_f = of_c * c[index];
            let of_i = of_c * new - if input_forget { of_f } else { 0.0 };
            input[index] = of_i * of_input[index];
            forget[index] = if input_forget { 0.0 } else { of_f * of_forget[index] };
            candidate[index] = of_c * i * of_candidate[index];
            dc[index] = of_c * f;
            if let Some([of_input, _, of_forget]) = peepholes {
                dc[index] += input[index] * of_input[index] + forget[index] * of_forget[index];
            }
        }
    }

    /// Adds what a part contributes to the gradients of the inputs, after those before it.
    fn collect(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, wanted: &mut Wanted<'_>, direction: usize, add: bool) {
        let (hidden, rows, count) = (self.hidden, self.rows(), part.count);
        let all = self.steps * count;
        let gates = Matrix::new(part.gates, all, rows);
        if !wanted.w.is_empty() {
            let w = &mut wanted.w[direction * rows * self.input..][..rows * self.input];
            multiply(w, gates.transposed(), Matrix::new(part.x, all, self.input), 1.0, add);
        }
        if !wanted.r.is_empty() {
            let r = &mut wanted.r[direction * rows * hidden..][..rows * hidden];
            let h = Matrix::new(part.h, all, hidden);
            match self.cell {
                Cell::Gru { linear_before_reset } => {
                    let (joint, of_candidate) = r.split_at_mut(2 * hidden * hidden);
                    let first = Matrix::strided(part.gates, all, 2 * hidden, rows, 1);
                    multiply(joint, first.transposed(), h, 1.0, add);
                    let extra = Matrix::new(part.extra, all, hidden);
                    if linear_before_reset {
                        multiply(of_candidate, extra.transposed(), h, 1.0, add);
                    } else {
                        let candidate = Matrix::strided(&part.gates[2 * hidden..], all, hidden, rows, 1);
                        multiply(of_candidate, candidate.transposed(), extra, 1.0, add);
                    }
                }
                _ => multiply(r, gates.transposed(), h, 1.0, add),
            }
        }
        if !wanted.bias.is_empty() {
            let (of_input, of_state) = wanted.bias[direction * 2 * rows..][..2 * rows].split_at_mut(rows);
            let sums = &mut part.product[..rows];
            sum_rows(sums, part.gates);
            of_input.iter_mut().zip(&*sums).for_each(|(bias, sum)| *bias += sum);
            if self.cell == (Cell::Gru { linear_before_reset: true }) {
                sum_rows(&mut sums[2 * hidden..], part.extra);
            }
            of_state.iter_mut().zip(&*sums).for_each(|(bias, sum)| *bias += sum);
        }
        if !wanted.peepholes.is_empty() {
            let peepholes = &mut wanted.peepholes[direction * 3 * hidden..][..3 * hidden];
            let [input, output, forget] = split_mut(peepholes, hidden);
            for (row, gates) in part.gates.chunks_exact(rows).enumerate() {
                let [of_input, of_output, of_forget, _] = split(gates, hidden);
                let (c, next_c) = (&part.c[row * hidden..][..hidden], &part.c[(row + count) * hidden..][..hidden]);
                for index in 0..hidden {
                    input[index] += of_input[index] * c[index];
                    output[index] += of_output[index] * next_c[index];
                    forget[index] += of_forget[index] * c[index];
                }
            }
        }
        for (initial, state) in [(&mut *wanted.initial_h, &*part.dh), (&mut *wanted.initial_c, &*part.dc)] {
            if initial.is_empty() {
                continue;
            }
            for (place, state) in state.chunks_exact(hidden).enumerate() {
                let row = self.state_row(direction, part.first + place);
                initial[row * hidden..][..hidden].copy_from_slice(state);
            }
        }
        if !wanted.x.is_empty() {
            let w = Matrix::new(&inputs.w[direction * rows * self.input..][..rows * self.input], rows, self.input);
            multiply(part.x, gates, w, 1.0, false);
            for (row, dx) in part.x.chunks_exact(self.input).enumerate() {
                let position = self.position(direction, row / count);
                let target = self.x_row(position, part.first + row % count) * self.input;
                let target = &mut wanted.x[target..][..self.input];
                if direction == 0 {
                    target.copy_from_slice(dx);
                } else {
                    target.iter_mut().zip(dx).for_each(|(target, dx)| *target += dx);
                }
            }
        }
    }
}

/// The gradient of a reset gate that scales the state before the product, whose gradient is in `temporary`.
fn gru_reset_back(part: &mut Part<'_>, hidden: usize, row: usize, place: usize) {
    let reset = &mut part.gates[row * 3 * hidden + hidden..][..hidden];
    let slopes = &part.slopes[row * 3 * hidden + hidden..][..hidden];
    let h = &part.h[row * hidden..][..hidden];
    let dh = &mut part.dh[place * hidden..][..hidden];
    let product = &part.temporary[place * hidden..][..hidden];
    for index in 0..hidden {
        dh[index] += product[index] * reset[index];
        reset[index] = product[index] * h[index] * slopes[index];
    }
}
