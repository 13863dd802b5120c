//! Operators that put every element of their inputs somewhere, or nowhere, as their shapes alone decide.
//!
//! What such an operator does is found by applying its definition, the reference evaluator, to the numbers of the elements
//! when the kernel is prepared: the result says which element stands where. Elements that stay neighbours are copied
//! together.

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::layout::PadMode;
use slimnet_graph::tensor::Tensor;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared, ValueType};

/// Elements that stand side by side before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The input, or [`FILL`].
    input: u32,
    /// First element there.
    source: u32,
    /// First element in the output.
    target: u32,
    /// How many.
    length: u32,
}

/// Elements that come from no input.
const FILL: u32 = u32::MAX;

/// Output elements of a part of the work.
const PART: usize = 32 * 1024;

/// Which elements of the inputs make up each output.
#[derive(Debug)]
struct Moves {
    /// For each output its runs, in order.
    outputs: Vec<Vec<Run>>,
    /// How many of the first inputs hold data.
    data: usize,
}

/// Number of inputs that hold data rather than say what to do with it; `None` if the operator does not only move.
fn data_inputs(op: &Op, node: &NodeType<'_>, inputs: usize) -> Option<usize> {
    let settings =
        |from: usize| (from..inputs).all(|slot| node.input(slot).is_none_or(|input| input.constant.is_some()));
    match op {
        Op::Concat(_) => Some(inputs),
        Op::Transpose(_) | Op::DepthToSpace(_) | Op::SpaceToDepth(_) => Some(1),
        Op::Split(_) | Op::Slice(_) | Op::Tile(_) | Op::Expand(_) | Op::Trilu(_) | Op::CenterCropPad(_) => {
            settings(1).then_some(1)
        }
        Op::Pad(_) => settings(1).then_some(1),
        _ => None,
    }
}

impl Moves {
    fn of(op: &Op, node: &NodeType<'_>, inputs: usize, outputs: usize) -> Option<Self> {
        let data = data_inputs(op, node, inputs)?;
        let mut next = 1i64;
        let mut starts = Vec::new();
        let mut numbered: Vec<Option<Tensor>> = Vec::new();
        for slot in 0..inputs {
            let Some(input) = node.input(slot) else {
                numbered.push(None);
                continue;
            };
            if slot >= data {
                // The padding is told apart by being no element's number.
                let is_value = matches!(op, Op::Pad(_)) && slot == 2;
                numbered.push(if is_value { Some(Tensor::scalar(0i64)) } else { input.constant.clone() });
                continue;
            }
            starts.push(next);
            let end = next + input.len() as i64;
            numbered.push(Some(Tensor::from_values(input.shape.clone(), (next..end).collect()).ok()?));
            next = end;
        }
        u32::try_from(next).ok()?;
        let views: Vec<_> = numbered.iter().map(Option::as_ref).collect();
        let results = evaluate_op(op, &views, outputs, usize::MAX).ok()?;
        let runs = |tensor: &Tensor| Some(runs(&tensor.values::<i64>().ok()?, &starts));
        Some(Self { outputs: results.iter().map(runs).collect::<Option<_>>()?, data })
    }

    /// Whether no element stands in two places.
    fn is_injective(&self, inputs: &[usize]) -> bool {
        let mut seen: Vec<Vec<bool>> = inputs.iter().map(|&length| vec![false; length]).collect();
        self.outputs.iter().flatten().filter(|run| run.input != FILL).all(|run| {
            let range = run.source as usize..(run.source + run.length) as usize;
            seen[run.input as usize][range].iter_mut().all(|seen| !std::mem::replace(seen, true))
        })
    }
}

/// The numbers of elements as runs.
fn runs(numbers: &[i64], starts: &[i64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (target, &number) in numbers.iter().enumerate() {
        let (input, source) = match starts.partition_point(|&start| start <= number).checked_sub(1) {
            Some(input) if number > 0 => (input as u32, (number - starts[input]) as u32),
            _ => (FILL, 0),
        };
        match runs.last_mut() {
            Some(last)
                if last.input == input
                    && (input == FILL || last.source + last.length == source)
                    && (last.length as usize) < PART =>
            {
                last.length += 1;
            }
            _ => runs.push(Run { input, source, target: target as u32, length: 1 }),
        }
    }
    runs
}

/// Copies runs into an output; elements that come from nowhere become `fill`.
fn copy<T: bytemuck::Pod + Send + Sync>(runs: &[Run], inputs: &[&[T]], output: &mut [T], fill: T) {
    let piece = |first: usize, output: &mut [T]| {
        let end = first + output.len();
        let begin = runs.partition_point(|run| (run.target + run.length) as usize <= first);
        for run in runs[begin..].iter().take_while(|run| (run.target as usize) < end) {
            let skipped = first.saturating_sub(run.target as usize);
            let start = run.target as usize + skipped;
            let stop = ((run.target + run.length) as usize).min(end);
            let output = &mut output[start - first..stop - first];
            match inputs.get(run.input as usize) {
                None => output.fill(fill),
                Some(input) => {
                    let source = run.source as usize + skipped;
                    if let [single] = output {
                        *single = input[source];
                    } else {
                        output.copy_from_slice(&input[source..source + stop - start]);
                    }
                }
            }
        }
    };
    if output.len() <= PART {
        return piece(0, output);
    }
    output.par_chunks_mut(PART).enumerate().for_each(|(index, output)| piece(index * PART, output));
}

#[derive(Debug)]
struct Forward {
    moves: Moves,
    bytes: usize,
    fill: [u8; 8],
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    let first = node.input(0)?;
    let bytes = first.element_type.bits().filter(|bits| [8, 16, 32, 64].contains(bits))? / 8;
    let same = |value: &ValueType| value.element_type == first.element_type;
    let moves = Moves::of(op, node, node.inputs.len(), node.outputs.len())?;
    if !node.inputs[..moves.data].iter().flatten().all(same) || moves.data > MOST_INPUTS {
        return None;
    }
    let mut fill = [0; 8];
    if let (Op::Pad(pad), Some(value)) = (op, node.input(2))
        && pad.mode == PadMode::Constant
    {
        fill[..bytes].copy_from_slice(value.constant.as_ref()?.bytes()?.get(..bytes)?);
    }
    Some(Box::new(Forward { moves, bytes, fill }))
}

/// Most inputs that are joined.
const MOST_INPUTS: usize = 64;

impl Forward {
    fn copy<T: bytemuck::Pod + Send + Sync>(&self, call: &mut Call<'_>) {
        let mut inputs: [&[T]; MOST_INPUTS] = [&[]; MOST_INPUTS];
        for (slot, input) in inputs.iter_mut().enumerate().take(self.moves.data) {
            *input = call.input(slot);
        }
        let fill: T = bytemuck::pod_read_unaligned(&self.fill[..size_of::<T>()]);
        for (slot, runs) in self.moves.outputs.iter().enumerate() {
            if call.has_output(slot) {
                copy(runs, &inputs[..self.moves.data], call.output(slot), fill);
            }
        }
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.copy::<u8>(call),
            2 => self.copy::<u16>(call),
            4 => self.copy::<u32>(call),
            _ => self.copy::<u64>(call),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input < self.moves.data
    }
}

/// How the gradient of an input is put together.
#[derive(Debug)]
enum Back {
    /// Nobody wants it.
    Unwanted,
    /// Each element stands in one place at most: copied back.
    Copy(Vec<Run>),
    /// Elements stand in several places: added up.
    Add,
}

#[derive(Debug)]
struct Backward {
    moves: Moves,
    back: Vec<Back>,
    /// Slot of the gradient of each output; `None` where there is none.
    gradients: Vec<Option<usize>>,
}

pub(super) fn prepare_gradient(op: &Op, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let moves = Moves::of(op, node, gradient.inputs, gradient.outputs)?;
    let data = moves.data;
    let wanted = |slot: usize| node.output(slot).is_some();
    if !node.inputs[..data].iter().flatten().all(ValueType::is_f32) || (data..gradient.inputs).any(wanted) {
        return None;
    }
    let gradients: Vec<_> = (0..gradient.outputs)
        .map(|output| gradient.gradient_slot(output))
        .map(|slot| node.input(slot).map(|_| slot))
        .collect();
    let lengths: Vec<_> = node.inputs[..data].iter().map(|input| input.as_ref().map_or(0, ValueType::len)).collect();
    let injective = moves.is_injective(&lengths) && gradients.len() <= MOST_INPUTS;
    let back = (0..data)
        .map(|slot| match (wanted(slot), injective) {
            (false, _) => Back::Unwanted,
            (true, false) => Back::Add,
            (true, true) => Back::Copy(inverse(&moves, slot, lengths[slot], &gradients)),
        })
        .collect();
    Some(Box::new(Backward { moves, back, gradients }))
}

/// Runs that bring the elements of an input back from the outputs.
fn inverse(moves: &Moves, input: usize, length: usize, gradients: &[Option<usize>]) -> Vec<Run> {
    let outputs = moves.outputs.iter().enumerate().filter(|(output, _)| gradients[*output].is_some());
    let mut back: Vec<Run> = outputs
        .flat_map(|(output, runs)| runs.iter().map(move |run| (output, run)))
        .filter(|(_, run)| run.input as usize == input)
        .map(|(output, run)| Run { input: output as u32, source: run.target, target: run.source, length: run.length })
        .collect();
    back.sort_unstable_by_key(|run| run.target);
    let mut filled = Vec::with_capacity(back.len());
    let mut next = 0;
    for run in back {
        if run.target > next {
            filled.push(Run { input: FILL, source: 0, target: next, length: run.target - next });
        }
        next = run.target + run.length;
        filled.push(run);
    }
    if (next as usize) < length {
        filled.push(Run { input: FILL, source: 0, target: next, length: length as u32 - next });
    }
    filled
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let mut gradients: [&[f32]; MOST_INPUTS] = [&[]; MOST_INPUTS];
        for (gradient, slot) in gradients.iter_mut().zip(&self.gradients) {
            if let Some(slot) = slot {
                *gradient = call.input(*slot);
            }
        }
        for (slot, back) in self.back.iter().enumerate() {
            match back {
                Back::Unwanted => {}
                Back::Copy(runs) => copy(runs, &gradients[..self.gradients.len()], call.output(slot), 0.0),
                Back::Add => {
                    let dx = call.output::<f32>(slot);
                    dx.fill(0.0);
                    for (runs, dy) in self.moves.outputs.iter().zip(gradients).filter(|(_, dy)| !dy.is_empty()) {
                        for run in runs.iter().filter(|run| run.input as usize == slot) {
                            let dx = &mut dx[run.source as usize..][..run.length as usize];
                            let dy = &dy[run.target as usize..][..run.length as usize];
                            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        self.gradients.contains(&Some(input))
    }
}
