//! `Einsum` of one or two operands: sums of products over named axes.
//!
//! The letters of two operands are of five kinds: those of both operands and the result (a batch of products), of one
//! operand and the result (rows or columns), of both operands (contracted), and of one operand alone (summed over
//! before). So a product is: pack the operands as `[batch, rows, contracted]` and `[batch, columns, contracted]` where
//! their axes do not lie so that a matrix is seen in them, multiply, and unpack the result. Gradients are products of
//! the same kind.

use rayon::prelude::*;
use slimnet_graph::infer::{EinsumTerm, Equation};
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::product::Einsum;

use super::view::{Axis, View, count, matrix, offset, single};
use crate::kernels::matrix::{Matrix, multiply, multiply_here};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// A letter, or an axis of those that `...` stands for, counted from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Letter(char),
    Ellipsis(usize),
}

/// The label of each axis of a tensor of `rank`, of which `hidden` axes are under `...`.
fn labels(term: &EinsumTerm, hidden: usize) -> Vec<Label> {
    let mut labels: Vec<_> = term.letters.iter().copied().map(Label::Letter).collect();
    if let Some(place) = term.ellipsis {
        labels.splice(place..place, (0..hidden).rev().map(Label::Ellipsis));
    }
    labels
}

/// A tensor's labels with lengths and steps. Axes of length 1 are left out: they are repeated, or say nothing.
#[derive(Debug, Clone)]
struct Operand {
    axes: Vec<(Label, Axis)>,
    elements: usize,
}

impl Operand {
    fn new(labels: &[Label], shape: &[usize]) -> Option<Self> {
        if labels.len() != shape.len() {
            return None;
        }
        let mut axes: Vec<(Label, Axis)> = Vec::new();
        let mut step = 1;
        for (&label, &length) in labels.iter().zip(shape).rev() {
            if length != 1 {
                match axes.iter_mut().find(|(known, _)| *known == label) {
                    // A label that is there twice is its diagonal.
                    Some((_, (known, distance))) if *known == length => *distance += step,
                    Some(_) => return None,
                    None => axes.push((label, (length, step))),
                }
            }
            step *= length;
        }
        axes.reverse();
        Some(Self { axes, elements: shape.iter().product() })
    }

    fn get(&self, label: Label) -> Option<Axis> {
        self.axes.iter().find(|(known, _)| *known == label).map(|(_, axis)| *axis)
    }

    fn has(&self, label: Label) -> bool {
        self.get(label).is_some()
    }

    /// The labels that fulfil a condition, in order.
    fn labels(&self, condition: impl Fn(Label) -> bool) -> Vec<Label> {
        self.axes.iter().map(|(label, _)| *label).filter(|label| condition(*label)).collect()
    }

    /// The axes of labels that it has.
    fn axes(&self, labels: &[Label]) -> Vec<Axis> {
        labels.iter().filter_map(|&label| self.get(label)).collect()
    }

    /// It as a tensor with these axes; the others are summed over.
    fn view(&self, labels: &[Label]) -> View {
        let summed = self.labels(|label| !labels.contains(&label));
        View::new(&self.axes(labels), &self.axes(&summed), self.elements)
    }
}

/// The operands and the result of an equation, for given shapes; `None` if they do not fit.
fn operands(equation: &str, inputs: &[&[usize]], output: &[usize]) -> Option<(Vec<Operand>, Operand)> {
    let equation = Equation::parse(equation)?;
    if equation.inputs.len() != inputs.len() {
        return None;
    }
    let mut hidden = 0;
    let mut found = Vec::new();
    let mut all = Vec::new();
    for (term, shape) in equation.inputs.iter().zip(inputs) {
        let own = shape.len().checked_sub(term.letters.len())?;
        hidden = hidden.max(if term.ellipsis.is_some() { own } else { 0 });
        let labels = labels(term, own);
        found.push(Operand::new(&labels, shape)?);
        all.extend(labels);
    }
    let labels = labels(&equation.output, hidden);
    let result = Operand::new(&labels, output)?;
    // Where several tensors have a label, with a length other than 1, it is the same, the result's too.
    let agree = all.iter().chain(&labels).all(|&label| {
        let lengths: Vec<_> = found.iter().filter_map(|operand| operand.get(label)).map(|(length, _)| length).collect();
        let same = lengths.windows(2).all(|pair| pair[0] == pair[1]);
        same && (!labels.contains(&label) || result.get(label).map(|(length, _)| length) == lengths.first().copied())
    });
    (agree && labels.iter().all(|label| all.contains(label))).then_some((found, result))
}

/// A tensor as a batch of matrices: as it lies, or packed.
#[derive(Debug, Clone)]
struct Side {
    view: View,
    /// Axes of the batch, rows and columns, in the packed tensor or in the tensor itself.
    batch: Vec<Axis>,
    rows: Axis,
    columns: Axis,
    packed: bool,
}

impl Side {
    fn new(operand: &Operand, batch: &[Label], rows: &[Label], columns: &[Label]) -> Self {
        let view = operand.view(&[batch, rows, columns].concat());
        let [batch, rows, columns] = [batch, rows, columns].map(|labels| operand.axes(labels));
        match (single(&rows), single(&columns)) {
            (Some(rows), Some(columns)) if !view.sums => Self { view, batch, rows, columns, packed: false },
            _ => {
                let (rows, columns) = (count(&rows), count(&columns));
                let batch = vec![(count(&batch), rows * columns)];
                Self { view, batch, rows: (rows, columns), columns: (columns, 1), packed: true }
            }
        }
    }

    /// Scratch memory for the packed tensor.
    fn scratch(&self) -> usize {
        if self.packed { self.view.count } else { 0 }
    }

    /// The data to take matrices from, packed into `scratch` if it has to be.
    fn data<'a>(&self, data: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
        if self.packed {
            self.view.pack(data, scratch);
            scratch
        } else {
            data
        }
    }

    fn matrix<'a>(&self, data: &'a [f32], index: usize) -> Matrix<'a> {
        matrix(data, offset(&self.batch, index), self.rows, self.columns)
    }
}

/// A product of two operands. The matrices are A `[rows, inner]`, B `[columns, inner]` and the result `[rows,
/// columns]`.
#[derive(Debug, Clone)]
struct Product {
    a: Side,
    b: Side,
    result: Side,
    /// The result with its elements in the order of products, as it is multiplied into.
    target: View,
    batch: usize,
    sizes: [usize; 3],
    /// Whether A is the second operand: so that the last axis of the result is one of the columns.
    swapped: bool,
}

impl Product {
    fn new(operands: &[Operand], result: &Operand) -> Option<Self> {
        let [first, second] = operands else { return None };
        let last_of_first = result.axes.last().is_some_and(|(label, _)| first.has(*label) && !second.has(*label));
        let (a, b) = if last_of_first { (second, first) } else { (first, second) };
        let batch = result.labels(|label| a.has(label) && b.has(label));
        let rows = result.labels(|label| a.has(label) && !b.has(label));
        let columns = result.labels(|label| !a.has(label) && b.has(label));
        let inner = b.labels(|label| a.has(label) && !result.has(label));
        let sizes = [result.axes(&rows), result.axes(&columns), b.axes(&inner)].map(|axes| count(&axes));
        Some(Self {
            a: Side::new(a, &batch, &rows, &inner),
            b: Side::new(b, &batch, &columns, &inner),
            result: Side::new(result, &batch, &rows, &columns),
            target: result.view(&[batch.as_slice(), &rows, &columns].concat()),
            batch: count(&result.axes(&batch)),
            sizes,
            swapped: last_of_first,
        })
    }

    /// Slots of A and B.
    fn slots(&self) -> [usize; 2] {
        if self.swapped { [1, 0] } else { [0, 1] }
    }

    /// Computes a batch of products into matrices that lie side by side.
    fn batch<'a>(&self, output: &mut [f32], factors: impl Fn(usize) -> (Matrix<'a>, Matrix<'a>) + Sync) {
        if output.is_empty() {
            return;
        }
        let length = output.len() / self.batch;
        let work = self.sizes.iter().product::<usize>();
        if self.batch < FEW || work > LARGE {
            for (index, output) in output.chunks_exact_mut(length).enumerate() {
                let (a, b) = factors(index);
                multiply(output, a, b, 1.0, false);
            }
        } else {
            let least = (WORTH_A_PART / work.max(1)).max(1);
            output.par_chunks_exact_mut(length).with_min_len(least).enumerate().for_each(|(index, output)| {
                let (a, b) = factors(index);
                multiply_here(output, a, b, 1.0, false);
            });
        }
    }
}

/// Products of which there are so few are divided each among threads, as are those of so many multiplications.
const FEW: usize = 4;
const LARGE: usize = 1 << 24;

/// Multiplications that are worth handing to another thread.
const WORTH_A_PART: usize = 1 << 15;

#[derive(Debug)]
struct One {
    view: View,
}

#[derive(Debug)]
struct Two(Product);

fn shapes<'a>(node: &NodeType<'a>, inputs: usize) -> Option<Vec<&'a [usize]>> {
    (0..inputs).map(|slot| node.input(slot).map(|input| input.shape.as_slice())).collect()
}

/// The view of a single operand that, packed, is the result.
fn one(operand: &Operand, result: &Operand) -> View {
    operand.view(&result.labels(|_| true))
}

pub(super) fn prepare(op: &Einsum, node: &NodeType<'_>) -> Prepared {
    let shapes = shapes(node, node.inputs.len())?;
    let (operands, result) = operands(&op.equation, &shapes, &node.output(0)?.shape)?;
    if let [operand] = operands.as_slice() {
        return Some(Box::new(One { view: one(operand, &result) }));
    }
    Some(Box::new(Two(Product::new(&operands, &result)?)))
}

impl Kernel for One {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        self.view.pack(call.input(0), call.output(0));
        Ok(())
    }
}

impl Kernel for Two {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let product = &self.0;
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut [] };
        let [a, b] = product.slots().map(|slot| call.input::<f32>(slot));
        let y = call.output::<f32>(0);
        let (for_a, scratch) = scratch.split_at_mut(product.a.scratch());
        let (for_b, result) = scratch.split_at_mut(product.b.scratch());
        let (a, b) = (product.a.data(a, for_a), product.b.data(b, for_b));
        let factors = |index: usize| (product.a.matrix(a, index), product.b.matrix(b, index).transposed());
        if product.target.is_packed {
            product.batch(y, factors);
        } else {
            product.batch(result, factors);
            product.target.unpack(result, y);
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        let product = &self.0;
        let result = if product.target.is_packed { 0 } else { product.target.count };
        product.a.scratch() + product.b.scratch() + result
    }
}

#[derive(Debug)]
struct OneBackward {
    view: View,
    gradient: usize,
}

#[derive(Debug)]
struct TwoBackward {
    product: Product,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Einsum, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let shapes = shapes(node, gradient.inputs)?;
    let gradient = gradient.gradient_slot(0);
    let (operands, result) = operands(&op.equation, &shapes, &node.input(gradient)?.shape)?;
    if let [operand] = operands.as_slice() {
        return Some(Box::new(OneBackward { view: one(operand, &result), gradient }));
    }
    Some(Box::new(TwoBackward { product: Product::new(&operands, &result)?, gradient }))
}

impl Kernel for OneBackward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        self.view.unpack(call.input(self.gradient), call.output(0));
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.gradient
    }
}

impl TwoBackward {
    /// Scratch memory for what is multiplied into: the gradient of an operand, packed.
    fn target(view: &View) -> usize {
        if view.is_packed { 0 } else { view.count }
    }
}

impl Kernel for TwoBackward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let product = &self.product;
        let scratch: &mut [f32] = if self.scratch() > 0 { call.scratch() } else { &mut [] };
        let (for_dy, scratch) = scratch.split_at_mut(product.result.scratch());
        let dy = product.result.data(call.input(self.gradient), for_dy);
        let sides = [&product.a, &product.b];
        for (side, slot) in product.slots().into_iter().enumerate() {
            if !call.has_output(slot) {
                continue;
            }
            let (own, other) = (sides[side], sides[1 - side]);
            let data = call.input::<f32>(product.slots()[1 - side]);
            let output = call.output::<f32>(slot);
            let (for_other, scratch) = scratch.split_at_mut(other.scratch());
            let other_data = other.data(data, for_other);
            // dA = dY · B, dB = dYᵀ · A.
            let factors = |index: usize| {
                (product.result.matrix(dy, index).transposed_if(side == 1), other.matrix(other_data, index))
            };
            if own.view.is_packed {
                product.batch(output, factors);
            } else {
                let target = &mut scratch[..own.view.count];
                product.batch(target, factors);
                own.view.unpack(target, output);
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input < 2 || input == self.gradient
    }

    fn scratch(&self) -> usize {
        let Product { a, b, result, .. } = &self.product;
        result.scratch() + (b.scratch() + Self::target(&a.view)).max(a.scratch() + Self::target(&b.view))
    }
}
