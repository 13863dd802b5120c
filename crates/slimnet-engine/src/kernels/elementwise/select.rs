//! `Where`, and functions of any number of numbers.

use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::Variadic;

use super::function::Same;
use crate::kernels::broadcast::Broadcast;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared, ValueType};

/// `Where(condition, x, y)` of elements of four bytes.
#[derive(Debug)]
struct Where(Broadcast<3>);

pub(super) fn prepare_where(node: &NodeType<'_>) -> Prepared {
    let (condition, x, y) = (node.input(0)?, node.input(1)?, node.input(2)?);
    if !x.is_f32() {
        return None;
    }
    Some(Box::new(Where(Broadcast::new([&condition.shape, &x.shape, &y.shape], &node.output(0)?.shape))))
}

impl Kernel for Where {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (condition, x, y) = (call.input::<u8>(0), call.input::<f32>(1), call.input::<f32>(2));
        let Broadcast { row, steps, .. } = self.0;
        for (index, result) in call.output::<f32>(0).chunks_mut(row.max(1)).enumerate() {
            let start = self.0.start(index);
            for (column, result) in result.iter_mut().enumerate() {
                let at = |input: usize| start[input] + column * steps[input];
                *result = if condition[at(0)] == 0 { y[at(2)] } else { x[at(1)] };
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct WhereGradient(Broadcast<3>);

pub(super) fn prepare_where_gradient(_gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let (condition, x, y, dy) = (node.input(0)?, node.input(1)?, node.input(2)?, node.input(4)?);
    if !x.is_f32() {
        return None;
    }
    Some(Box::new(WhereGradient(Broadcast::new([&condition.shape, &x.shape, &y.shape], &dy.shape))))
}

impl Kernel for WhereGradient {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (condition, dy) = (call.input::<u8>(0), call.input::<f32>(4));
        let Broadcast { row, steps, .. } = self.0;
        for input in [1, 2] {
            if !call.has_output(input) {
                continue;
            }
            let result = call.output::<f32>(input);
            result.fill(0.0);
            for (index, dy) in dy.chunks(row.max(1)).enumerate() {
                let start = self.0.start(index);
                for (column, dy) in dy.iter().enumerate() {
                    let at = |input: usize| start[input] + column * steps[input];
                    if (condition[at(0)] != 0) == (input == 1) {
                        result[at(input)] += dy;
                    }
                }
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 4
    }
}

/// `Sum`, `Mean`, `Max` or `Min` of inputs of any shapes that broadcast.
#[derive(Debug)]
struct Many {
    kind: Variadic,
    inputs: Vec<Broadcast<1>>,
}

fn broadcasts(inputs: &[Option<ValueType>], output: &[usize]) -> Option<Vec<Broadcast<1>>> {
    inputs.iter().map(|input| Some(Broadcast::new([&input.as_ref()?.shape], output))).collect()
}

pub(super) fn prepare_variadic(kind: Variadic, node: &NodeType<'_>) -> Prepared {
    if !node.all_f32() {
        return None;
    }
    Some(Box::new(Many { kind, inputs: broadcasts(node.inputs, &node.output(0)?.shape)? }))
}

impl Kernel for Many {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let result = call.output::<f32>(0);
        for (slot, broadcast) in self.inputs.iter().enumerate() {
            let x = call.input::<f32>(slot);
            let row = broadcast.row.max(1);
            for (index, result) in result.chunks_mut(row).enumerate() {
                let [start] = broadcast.start(index);
                for (column, result) in result.iter_mut().enumerate() {
                    let x = x[start + column * broadcast.steps[0]];
                    *result = match self.kind {
                        _ if slot == 0 => x,
                        Variadic::Sum | Variadic::Mean => *result + x,
                        Variadic::Max => {
                            if x > *result || x.is_nan() {
                                x
                            } else {
                                *result
                            }
                        }
                        Variadic::Min => {
                            if x < *result || x.is_nan() {
                                x
                            } else {
                                *result
                            }
                        }
                    };
                }
            }
        }
        if self.kind == Variadic::Mean {
            let count = self.inputs.len() as f32;
            for value in result.iter_mut() {
                *value /= count;
            }
        }
        Ok(())
    }
}

/// The gradient of [`Many`]: a share for each input; of a maximum or minimum an equal share for all that attain it.
#[derive(Debug)]
struct ManyGradient {
    kind: Variadic,
    inputs: Vec<Broadcast<1>>,
    elements: usize,
}

pub(super) fn prepare_variadic_gradient(kind: Variadic, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    if !node.all_f32() {
        return None;
    }
    let dy = node.input(gradient.gradient_slot(0))?;
    let inputs = broadcasts(&node.inputs[..gradient.inputs], &dy.shape)?;
    if gradient.inputs == 1 {
        return Some(Box::new(Same(gradient.gradient_slot(0))));
    }
    Some(Box::new(ManyGradient { kind, inputs, elements: dy.len() }))
}

impl ManyGradient {
    fn chooses(&self) -> bool {
        matches!(self.kind, Variadic::Max | Variadic::Min)
    }
}

impl Kernel for ManyGradient {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let count = self.inputs.len();
        let dy = call.input::<f32>(count + 1);
        let y = if self.chooses() { call.input::<f32>(count) } else { &[] };
        let element = |slot: usize, index: usize| {
            let broadcast = &self.inputs[slot];
            broadcast.start(index / broadcast.row)[0] + index % broadcast.row * broadcast.steps[0]
        };
        for slot in 0..count {
            if !call.has_output(slot) {
                continue;
            }
            let result = call.output::<f32>(slot);
            result.fill(0.0);
            for index in 0..self.elements {
                let own = element(slot, index);
                let share = match self.kind {
                    Variadic::Sum => 1.0,
                    Variadic::Mean => 1.0 / count as f32,
                    Variadic::Max | Variadic::Min => {
                        let attains = |slot: usize| call.input::<f32>(slot)[element(slot, index)] == y[index];
                        if !attains(slot) {
                            continue;
                        }
                        1.0 / (0..count).filter(|&slot| attains(slot)).count() as f32
                    }
                };
                result[own] += share * dy[index];
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.inputs.len() + 1 || self.chooses()
    }
}
