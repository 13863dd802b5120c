//! What recurrent layers have in common: sizes, places of rows, inputs, and scratch memory.

use slimnet_graph::Op;
use slimnet_graph::ops::recurrent::Direction;
use slimnet_graph::tensor::ElementType;

use super::activation::{Activation, activations};
use crate::kernels::{Call, KernelError, ValueType};

/// What is computed in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Rnn,
    Gru { linear_before_reset: bool },
    Lstm { input_forget: bool },
}

impl Cell {
    /// Activation functions of one direction.
    fn default_activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru { .. } => &["Sigmoid", "Tanh"],
            Self::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
        }
    }

    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

/// A layer of fixed sizes.
///
/// Examples are independent until gradients of parameters are summed. So the batch is divided into *parts*, each of which
/// walks through all steps by itself. In scratch memory rows lie part by part, step by step in the order of the walk, then
/// example by example.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub cell: Cell,
    pub steps: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
    pub directions: usize,
    pub activations: Vec<Activation>,
    pub clip: f32,
    /// Whether the first direction goes backwards; the second always does.
    reverse: bool,
    batch_first: bool,
    /// Which inputs are present.
    present: [bool; 8],
    /// Examples of a part; the last part may have fewer.
    part: usize,
}

/// The data of the inputs; empty where one is absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub r: &'a [f32],
    pub bias: &'a [f32],
    pub lengths: &'a [i32],
    pub initial_h: &'a [f32],
    pub initial_c: &'a [f32],
    pub peepholes: &'a [f32],
}

/// The scratch memory of a part.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Number of its first example, and how many there are.
    pub first: usize,
    pub count: usize,
    /// Rows of the input.
    pub x: &'a mut [f32],
    /// Gates after activation; behind them their gradients before activation.
    pub gates: &'a mut [f32],
    /// Slopes of the activations, for the gradient only.
    pub slopes: &'a mut [f32],
    /// States before each step, and after the last.
    pub h: &'a mut [f32],
    pub c: &'a mut [f32],
    /// Of a GRU, r ⊙ h; if the product comes before the reset, that product, and behind it its gradient.
    pub extra: &'a mut [f32],
    /// Recurrent products of one step.
    pub product: &'a mut [f32],
    /// Two rows of hidden size for each example, and gradients of the states, for the gradient only.
    pub temporary: &'a mut [f32],
    pub dh: &'a mut [f32],
    pub dc: &'a mut [f32],
}

impl Layer {
    /// The layer of an operator with these inputs; `None` for what is left to the reference evaluator.
    pub fn of(op: &Op, inputs: &[Option<ValueType>]) -> Option<Self> {
        macro_rules! attributes {
            ($op:expr, $cell:expr) => {
                (
                    $cell,
                    (&$op.activations, &$op.activation_alpha, &$op.activation_beta),
                    $op.clip,
                    $op.direction,
                    $op.hidden_size,
                    $op.layout,
                )
            };
        }
        let (cell, (names, alphas, betas), clip, direction, hidden_size, batch_first) = match op {
            Op::Rnn(op) => attributes!(op, Cell::Rnn),
            Op::Gru(op) => attributes!(op, Cell::Gru { linear_before_reset: op.linear_before_reset }),
            Op::Lstm(op) => attributes!(op, Cell::Lstm { input_forget: op.input_forget }),
            _ => return None,
        };
        let input = |slot: usize| inputs.get(slot).and_then(Option::as_ref);
        let (&[first, second, size], &[.., hidden]) = (&*input(0)?.shape, &*input(2)?.shape) else { return None };
        let (steps, batch) = if batch_first { (second, first) } else { (first, second) };
        let directions = if direction == Direction::Bidirectional { 2 } else { 1 };
        let state = if batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let rows = cell.gates() * hidden;
        let expected: [&[usize]; 8] = [
            &[first, second, size],
            &[directions, rows, size],
            &[directions, rows, hidden],
            &[directions, 2 * rows],
            &[batch],
            &state,
            &state,
            &[directions, 3 * hidden],
        ];
        let mut present = [false; 8];
        for (slot, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            let element_type = if slot == 4 { ElementType::I32 } else { ElementType::F32 };
            if input.element_type != element_type || input.shape != *expected.get(slot)? {
                return None;
            }
            present[slot] = true;
        }
        let clip = clip.unwrap_or(f32::INFINITY);
        let sized = present[1] && ![steps, batch, size, hidden].contains(&0);
        if !sized || clip.is_nan() || clip < 0.0 || hidden_size.is_some_and(|size| usize::try_from(size) != Ok(hidden))
        {
            return None;
        }
        let default = cell.default_activations().repeat(directions);
        let names = if names.is_empty() { default.clone() } else { names.iter().map(String::as_str).collect() };
        if names.len() != default.len() {
            return None;
        }
        let activations = activations(&names, alphas, betas)?;
        let reverse = direction == Direction::Reverse;
        let part = batch.div_ceil((batch / 8).clamp(1, 16));
        let input = size;
        Some(Self {
            cell,
            steps,
            batch,
            input,
            hidden,
            directions,
            activations,
            clip,
            reverse,
            batch_first,
            present,
            part,
        })
    }

    /// Elements of all gates of an example.
    pub fn rows(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// The activations of a direction.
    pub fn functions(&self, direction: usize) -> &[Activation] {
        let count = self.activations.len() / self.directions;
        &self.activations[direction * count..][..count]
    }

    /// Where in the sequence a step of the walk is.
    pub fn position(&self, direction: usize, step: usize) -> usize {
        if self.reverse || direction == 1 { self.steps - 1 - step } else { step }
    }

    /// The row of X of a position.
    pub fn x_row(&self, position: usize, example: usize) -> usize {
        if self.batch_first { example * self.steps + position } else { position * self.batch + example }
    }

    /// The row of Y of a position.
    pub fn y_row(&self, position: usize, direction: usize, example: usize) -> usize {
        if self.batch_first {
            (example * self.steps + position) * self.directions + direction
        } else {
            (position * self.directions + direction) * self.batch + example
        }
    }

    /// The row of a state.
    pub fn state_row(&self, direction: usize, example: usize) -> usize {
        if self.batch_first { example * self.directions + direction } else { direction * self.batch + example }
    }

    /// The inputs of a run.
    ///
    /// # Errors
    /// If a sequence is longer than there are steps.
    pub fn inputs<'a>(&self, call: &Call<'a>) -> Result<Inputs<'a>, KernelError> {
        let optional = |slot: usize| if self.present[slot] { call.input::<f32>(slot) } else { &[] };
        let lengths = if self.present[4] { call.input::<i32>(4) } else { &[] };
        if let Some(length) = lengths.iter().find(|length| usize::try_from(**length).map_or(true, |it| it > self.steps))
        {
            return Err(KernelError::Value(format!("a sequence of length {length} in {} steps", self.steps)));
        }
        Ok(Inputs {
            x: optional(0),
            w: optional(1),
            r: optional(2),
            bias: optional(3),
            lengths,
            initial_h: optional(5),
            initial_c: optional(6),
            peepholes: optional(7),
        })
    }

    /// Lengths of the buffers of one example, in the order of the fields of [`Part`].
    fn buffers(&self, gradient: bool) -> [usize; 10] {
        let Self { steps, hidden, .. } = *self;
        let if_so = |yes: bool, length: usize| if yes { length } else { 0 };
        let lstm = matches!(self.cell, Cell::Lstm { .. });
        [
            steps * self.input,
            steps * self.rows(),
            if_so(gradient, steps * self.rows()),
            (steps + 1) * hidden,
            if_so(lstm, (steps + 1) * hidden),
            if_so(matches!(self.cell, Cell::Gru { .. }), steps * hidden),
            self.rows(),
            if_so(gradient, 2 * hidden),
            if_so(gradient, hidden),
            if_so(gradient, hidden),
        ]
    }

    /// Scratch memory of all parts.
    pub fn scratch(&self, gradient: bool) -> usize {
        self.batch * self.buffers(gradient).iter().sum::<usize>()
    }

    /// Scratch memory of a part, except perhaps the last.
    pub fn part_scratch(&self, gradient: bool) -> usize {
        self.part * self.buffers(gradient).iter().sum::<usize>()
    }

    /// The buffers of part number `index`.
    pub fn part<'a>(&self, index: usize, memory: &'a mut [f32], gradient: bool) -> Part<'a> {
        let first = index * self.part;
        let count = self.part.min(self.batch - first);
        let mut rest = memory;
        let [x, gates, slopes, h, c, extra, product, temporary, dh, dc] = self.buffers(gradient).map(|length| {
            let (buffer, behind) = std::mem::take(&mut rest).split_at_mut(length * count);
            rest = behind;
            buffer
        });
        Part { first, count, x, gates, slopes, h, c, extra, product, temporary, dh, dc }
    }
}

impl Inputs<'_> {
    /// Whether an example has an element at a position.
    pub fn is_active(&self, example: usize, position: usize) -> bool {
        self.lengths.get(example).is_none_or(|&length| position < length as usize)
    }
}

/// A row of gates, gate by gate.
#[inline(always)]
pub(super) fn split<const N: usize>(row: &[f32], hidden: usize) -> [&[f32]; N] {
    std::array::from_fn(|gate| &row[gate * hidden..][..hidden])
}

/// A row of gates, gate by gate.
#[inline(always)]
pub(super) fn split_mut<const N: usize>(row: &mut [f32], hidden: usize) -> [&mut [f32]; N] {
    let mut gates = row.chunks_exact_mut(hidden);
    std::array::from_fn(|_| gates.next().expect("a row has all gates"))
}
