//! Recurrent layers, step by step.

use rayon::prelude::*;

use super::activation::Activation;
use super::layer::{Cell, Inputs, Layer, Part, split, split_mut};
use crate::kernels::matrix::{Matrix, multiply_here};
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

#[derive(Debug)]
struct Forward(Layer);

pub(super) fn prepare(node: &NodeType<'_>) -> Prepared {
    Some(Box::new(Forward(Layer::of(node.op, node.inputs)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let layer = &self.0;
        let Layer { steps, hidden, .. } = *layer;
        let inputs = layer.inputs(call)?;
        let scratch = call.scratch();
        let mut output = |slot: usize| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] };
        let [y, last_h, last_c] = [0, 1, 2].map(&mut output);
        for direction in 0..layer.directions {
            let parts = scratch.par_chunks_mut(layer.part_scratch(false)).enumerate();
            parts.for_each(|(index, memory)| layer.walk(&mut layer.part(index, memory, false), &inputs, direction));
            for (index, memory) in scratch.chunks_mut(layer.part_scratch(false)).enumerate() {
                let part = layer.part(index, memory, false);
                for place in 0..part.count {
                    let example = part.first + place;
                    let row = |step: usize| (step * part.count + place) * hidden;
                    if !y.is_empty() {
                        for step in 0..steps {
                            let position = layer.position(direction, step);
                            let y = &mut y[layer.y_row(position, direction, example) * hidden..][..hidden];
                            if inputs.is_active(example, position) {
                                y.copy_from_slice(&part.h[row(step + 1)..][..hidden]);
                            } else {
                                y.fill(0.0);
                            }
                        }
                    }
                    let target = layer.state_row(direction, example) * hidden;
                    for (last, state) in [(&mut *last_h, &*part.h), (&mut *last_c, &*part.c)] {
                        if !last.is_empty() {
                            last[target..][..hidden].copy_from_slice(&state[row(steps)..][..hidden]);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        self.0.scratch(false)
    }
}

impl Layer {
    /// Walks a part through all steps and leaves the states; gates and, where there is room for them, slopes too.
    pub(super) fn walk(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize) {
        self.load(part, inputs, direction);
        for step in 0..self.steps {
            match self.cell {
                Cell::Rnn => self.step_rnn(part, inputs, direction, step),
                Cell::Gru { linear_before_reset: true } => self.step_gru_linear(part, inputs, direction, step),
                Cell::Gru { linear_before_reset: false } => self.step_gru(part, inputs, direction, step),
                Cell::Lstm { .. } => self.step_lstm(part, inputs, direction, step),
            }
        }
    }

    /// W x and the biases as gates, and the initial states.
    fn load(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize) {
        let (rows, hidden, count) = (self.rows(), self.hidden, part.count);
        for step in 0..self.steps {
            let position = self.position(direction, step);
            for place in 0..count {
                let x = &mut part.x[(step * count + place) * self.input..][..self.input];
                let example = part.first + place;
                // What is behind the end of a sequence must not count, not even as no number times zero.
                if inputs.is_active(example, position) {
                    x.copy_from_slice(&inputs.x[self.x_row(position, example) * self.input..][..self.input]);
                } else {
                    x.fill(0.0);
                }
            }
        }
        if inputs.bias.is_empty() {
            part.gates.fill(0.0);
        } else {
            let (of_input, of_state) = inputs.bias[direction * 2 * rows..][..2 * rows].split_at(rows);
            // A bias of the state that the reset gate scales is added in the step.
            let common = if self.cell == (Cell::Gru { linear_before_reset: true }) { 2 * hidden } else { rows };
            for gates in part.gates.chunks_exact_mut(rows) {
                gates.copy_from_slice(of_input);
                gates.iter_mut().zip(&of_state[..common]).for_each(|(gate, bias)| *gate += bias);
            }
        }
        let w = Matrix::new(&inputs.w[direction * rows * self.input..][..rows * self.input], rows, self.input);
        let x = Matrix::new(part.x, self.steps * count, self.input);
        multiply_here(part.gates, x, w.transposed(), 1.0, true);
        for (state, initial) in [(&mut *part.h, inputs.initial_h), (&mut *part.c, inputs.initial_c)] {
            if state.is_empty() {
                continue;
            }
            for (place, state) in state[..count * hidden].chunks_exact_mut(hidden).enumerate() {
                if initial.is_empty() {
                    state.fill(0.0);
                } else {
                    let row = self.state_row(direction, part.first + place);
                    state.copy_from_slice(&initial[row * hidden..][..hidden]);
                }
            }
        }
    }

    /// Recurrent weights of some gates of a direction.
    pub(super) fn recurrent<'a>(
        &self,
        inputs: &Inputs<'a>,
        direction: usize,
        first: usize,
        gates: usize,
    ) -> Matrix<'a> {
        let hidden = self.hidden;
        let start = (direction * self.rows() + first * hidden) * hidden;
        Matrix::new(&inputs.r[start..][..gates * hidden * hidden], gates * hidden, hidden)
    }

    /// Calls `work` on every example that has an element in this step, with its number in the part; the states of the
    /// others stay.
    fn each_active(
        &self,
        part: &mut Part<'_>,
        inputs: &Inputs<'_>,
        (direction, step): (usize, usize),
        work: impl Fn(usize, Row<'_>),
    ) {
        let (hidden, rows, count) = (self.hidden, self.rows(), part.count);
        let position = self.position(direction, step);
        vectorized(
            #[inline(always)]
            || {
                for place in 0..count {
                    let at = (step * count + place) * hidden;
                    let (h, next_h) = part.h.split_at_mut((step + 1) * count * hidden);
                    let (h, next_h) = (&h[at..][..hidden], &mut next_h[place * hidden..][..hidden]);
                    let mut states = (&[][..], &mut [][..]);
                    if !part.c.is_empty() {
                        let (c, next_c) = part.c.split_at_mut((step + 1) * count * hidden);
                        states = (&c[at..][..hidden], &mut next_c[place * hidden..][..hidden]);
                    }
                    let (c, next_c) = states;
                    if !inputs.is_active(part.first + place, position) {
                        next_h.copy_from_slice(h);
                        next_c.copy_from_slice(c);
                        if !part.extra.is_empty() {
                            part.extra[at..][..hidden].fill(0.0);
                        }
                        continue;
                    }
                    let of_gates = (step * count + place) * rows;
                    let gates = &mut part.gates[of_gates..][..rows];
                    let slopes =
                        if part.slopes.is_empty() { &mut [][..] } else { &mut part.slopes[of_gates..][..rows] };
                    let extra = if part.extra.is_empty() { &mut [][..] } else { &mut part.extra[at..][..hidden] };
                    work(place, Row { gates, slopes, h, next_h, c, next_c, extra, product: part.product });
                }
            },
        );
    }

    fn step_rnn(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize, step: usize) {
        let hidden = self.hidden;
        let h = Matrix::new(&part.h[step * part.count * hidden..], part.count, hidden);
        multiply_here(part.product, h, self.recurrent(inputs, direction, 0, 1).transposed(), 1.0, false);
        let function = self.functions(direction)[0];
        self.each_active(
            part,
            inputs,
            (direction, step),
            #[inline(always)]
            |place, row| {
                add(row.gates, &row.product[place * hidden..][..hidden]);
                function.apply(self.clip, row.gates, row.slopes);
                row.next_h.copy_from_slice(row.gates);
            },
        );
    }

    fn step_gru_linear(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize, step: usize) {
        let (hidden, rows) = (self.hidden, self.rows());
        let h = Matrix::new(&part.h[step * part.count * hidden..], part.count, hidden);
        multiply_here(part.product, h, self.recurrent(inputs, direction, 0, 3).transposed(), 1.0, false);
        let functions = self.functions(direction);
        self.each_active(
            part,
            inputs,
            (direction, step),
            #[inline(always)]
            |place, mut row| {
                let product = &row.product[place * rows..][..rows];
                add(&mut row.gates[..2 * hidden], &product[..2 * hidden]);
                row.activate(functions[0], self.clip, 0..2 * hidden);
                row.extra.copy_from_slice(&product[2 * hidden..]);
                if !inputs.bias.is_empty() {
                    add(row.extra, &inputs.bias[direction * 2 * rows + 5 * hidden..][..hidden]);
                }
                let [_, reset, candidate] = split_mut(row.gates, hidden);
                for ((candidate, reset), extra) in candidate.iter_mut().zip(&*reset).zip(&*row.extra) {
                    *candidate += reset * extra;
                }
                row.activate(functions[1], self.clip, 2 * hidden..rows);
                row.join(hidden);
            },
        );
    }

    fn step_gru(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize, step: usize) {
        let (hidden, rows, count) = (self.hidden, self.rows(), part.count);
        let h = Matrix::new(&part.h[step * count * hidden..], count, hidden);
        let product = &mut part.product[..count * 2 * hidden];
        multiply_here(product, h, self.recurrent(inputs, direction, 0, 2).transposed(), 1.0, false);
        let functions = self.functions(direction);
        self.each_active(
            part,
            inputs,
            (direction, step),
            #[inline(always)]
            |place, mut row| {
                add(&mut row.gates[..2 * hidden], &row.product[place * 2 * hidden..][..2 * hidden]);
                row.activate(functions[0], self.clip, 0..2 * hidden);
                let [_, reset, _] = split(row.gates, hidden);
                for ((scaled, reset), h) in row.extra.iter_mut().zip(reset).zip(row.h) {
                    *scaled = reset * h;
                }
            },
        );
        let scaled = Matrix::new(&part.extra[step * count * hidden..], count, hidden);
        let product = &mut part.product[..count * hidden];
        multiply_here(product, scaled, self.recurrent(inputs, direction, 2, 1).transposed(), 1.0, false);
        self.each_active(
            part,
            inputs,
            (direction, step),
            #[inline(always)]
            |place, mut row| {
                add(&mut row.gates[2 * hidden..], &row.product[place * hidden..][..hidden]);
                row.activate(functions[1], self.clip, 2 * hidden..rows);
                row.join(hidden);
            },
        );
    }

    fn step_lstm(&self, part: &mut Part<'_>, inputs: &Inputs<'_>, direction: usize, step: usize) {
        let (hidden, rows) = (self.hidden, self.rows());
        let h = Matrix::new(&part.h[step * part.count * hidden..], part.count, hidden);
        multiply_here(part.product, h, self.recurrent(inputs, direction, 0, 4).transposed(), 1.0, false);
        let functions = self.functions(direction);
        let peepholes = self.peepholes(inputs, direction);
        let input_forget = self.cell == (Cell::Lstm { input_forget: true });
        self.each_active(
            part,
            inputs,
            (direction, step),
            #[inline(always)]
            |place, mut row| {
                add(row.gates, &row.product[place * rows..][..rows]);
                if let Some([of_input, _, of_forget]) = peepholes {
                    let [input, _, forget, _] = split_mut(row.gates, hidden);
                    add_product(input, of_input, row.c);
                    add_product(forget, of_forget, row.c);
                }
                row.activate(functions[0], self.clip, 0..hidden);
                if input_forget {
                    let [input, _, forget, _] = split_mut(row.gates, hidden);
                    forget.iter_mut().zip(&*input).for_each(|(forget, input)| *forget = 1.0 - input);
                } else {
                    row.activate(functions[0], self.clip, 2 * hidden..3 * hidden);
                }
                row.activate(functions[1], self.clip, 3 * hidden..rows);
                let [input, output, forget, candidate] = split_mut(row.gates, hidden);
                for (index, next) in row.next_c.iter_mut().enumerate() {
                    *next = forget[index] * row.c[index] + input[index] * candidate[index];
                }
                if let Some([_, of_output, _]) = peepholes {
                    add_product(output, of_output, row.next_c);
                }
                row.activate(functions[0], self.clip, hidden..2 * hidden);
                row.next_h.copy_from_slice(row.next_c);
                // Only sums of gates are clipped.
                functions[2].apply(f32::INFINITY, row.next_h, &mut []);
                row.next_h.iter_mut().zip(&row.gates[hidden..]).for_each(|(h, output)| *h *= output);
            },
        );
    }

    /// Peepholes of the input, output and forget gate.
    pub(super) fn peepholes<'a>(&self, inputs: &Inputs<'a>, direction: usize) -> Option<[&'a [f32]; 3]> {
        let row = inputs.peepholes.get(direction * 3 * self.hidden..)?;
        (!row.is_empty()).then(|| split(row, self.hidden))
    }
}

/// What one step of one example works on.
struct Row<'a> {
    gates: &'a mut [f32],
    slopes: &'a mut [f32],
    h: &'a [f32],
    next_h: &'a mut [f32],
    c: &'a [f32],
    next_c: &'a mut [f32],
    extra: &'a mut [f32],
    /// Of the whole part.
    product: &'a [f32],
}

impl Row<'_> {
    /// Applies an activation to some of the gates.
    #[inline(always)]
    fn activate(&mut self, function: Activation, clip: f32, range: std::ops::Range<usize>) {
        let slopes = if self.slopes.is_empty() { &mut [][..] } else { &mut self.slopes[range.clone()] };
        function.apply(clip, &mut self.gates[range], slopes);
    }

    /// The next state of a GRU.
    #[inline(always)]
    fn join(&mut self, hidden: usize) {
        let [update, _, candidate] = split(self.gates, hidden);
        let (next, h) = (&mut self.next_h[..hidden], &self.h[..hidden]);
        for index in 0..hidden {
            next[index] = (1.0 - update[index]) * candidate[index] + update[index] * h[index];
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

#[inline(always)]
fn add_product(sums: &mut [f32], a: &[f32], b: &[f32]) {
    sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
}
