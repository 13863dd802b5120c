//! Running single nodes on tensors, for tests of kernels and gradients.

use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::tensor::{ElementType, Tensor};

use super::arrangement::{Arrangement, Layout, channels_last, follows_layout};
use super::call::Region;
use super::{Call, Context, KernelError, NodeType, ValueType, Zeros, arrangement, prepare};

/// Bytes at the alignment of the arena.
fn buffer(bytes: usize) -> Vec<u64> {
    vec![u64::MAX; bytes.div_ceil(size_of::<u64>())]
}

/// Runs one node on tensors by its kernel. `constant` says which inputs' data is known when the kernel is prepared.
/// Memory of outputs holds NaN patterns at the start.
///
/// # Errors
/// If there is no kernel or it refuses the values.
///
/// # Panics
/// If the tensors hold strings.
pub fn run(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: &[Option<ValueType>],
    constant: impl Fn(usize) -> bool,
    context: Context,
) -> Result<Vec<Option<Tensor>>, KernelError> {
    run_laid_out(op, inputs, outputs, constant, context, Layout::Plain)
}

/// Runs as [`run`], on tensors that have the second axis last where the operator has a kernel for that; `None` where not.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_channels_last(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: &[Option<ValueType>],
    constant: impl Fn(usize) -> bool,
    context: Context,
) -> Option<Result<Vec<Option<Tensor>>, KernelError>> {
    let types: Vec<_> = inputs
        .iter()
        .map(|input| Some(ValueType::new(input.as_ref()?.element_type(), input.as_ref()?.shape().to_vec())))
        .collect();
    let node = NodeType { op, inputs: &types, outputs, layout: Layout::Plain, zeros: Zeros::default() };
    if arrangement(&node) != Arrangement::ChannelsLast {
        return None;
    }
    let moved = |tensor: &Tensor, slot| {
        let rank = tensor.shape().len() as i64;
        let moves = follows_layout(op, tensor.shape().len(), slot);
        if moves { transpose(tensor, std::iter::once(0).chain(2..rank).chain([1])) } else { tensor.clone() }
    };
    let inputs: Vec<_> = inputs.iter().enumerate().map(|(slot, input)| Some(moved(input.as_ref()?, slot))).collect();
    let outputs: Vec<_> = outputs
        .iter()
        .enumerate()
        .map(|(slot, output)| {
            let output = output.as_ref()?;
            let moves = follows_layout(op, output.shape.len(), slot);
            let shape = if moves { channels_last(&output.shape) } else { output.shape.clone() };
            Some(ValueType::new(output.element_type, shape))
        })
        .collect();
    let back = |slot: usize, tensor: Tensor| {
        let rank = tensor.shape().len() as i64;
        let moves = follows_layout(op, tensor.shape().len(), slot);
        if moves { transpose(&tensor, [0, rank - 1].into_iter().chain(1..rank - 1)) } else { tensor }
    };
    Some(
        run_laid_out(op, &inputs, &outputs, constant, context, Layout::ChannelsLast)
            .map(|found| found.into_iter().enumerate().map(|(slot, tensor)| Some(back(slot, tensor?))).collect()),
    )
}

fn transpose(tensor: &Tensor, perm: impl IntoIterator<Item = i64>) -> Tensor {
    let op = Op::Transpose(slimnet_graph::ops::layout::Transpose { perm: Some(perm.into_iter().collect()) });
    reference(&op, &[Some(tensor.clone())], 1).remove(0)
}

fn run_laid_out(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: &[Option<ValueType>],
    constant: impl Fn(usize) -> bool,
    context: Context,
    layout: Layout,
) -> Result<Vec<Option<Tensor>>, KernelError> {
    let types: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(slot, input)| {
            input.as_ref().map(|data| ValueType {
                element_type: data.element_type(),
                shape: data.shape().to_vec(),
                constant: constant(slot).then(|| data.clone()),
            })
        })
        .collect();
    let kernel = prepare(&NodeType { op, inputs: &types, outputs, layout, zeros: Zeros::default() })?;
    let mut memory: Vec<Option<Vec<u64>>> = inputs
        .iter()
        .enumerate()
        .map(|(slot, input)| {
            let bytes = input.as_ref()?.bytes().expect("no strings");
            let mut memory = buffer(bytes.len());
            // What a kernel says it does not read is not there.
            if kernel.reads(slot) {
                bytemuck::cast_slice_mut(&mut memory)[..bytes.len()].copy_from_slice(bytes);
            }
            Some(memory)
        })
        .collect();
    let size = |value: &ValueType| value.element_type.byte_count(value.len()).expect("no strings");
    let mut results: Vec<Option<Vec<u64>>> =
        outputs.iter().map(|output| output.as_ref().map(|output| buffer(size(output)))).collect();
    let mut scratch = vec![f32::NAN; kernel.scratch()];
    let input_regions: Vec<_> = memory
        .iter_mut()
        .zip(inputs)
        .map(|(memory, input)| {
            let bytes = input.as_ref()?.byte_len();
            Some(Region::of(memory.as_mut()?.as_mut_slice()).part(0, bytes))
        })
        .collect();
    // As in a plan, the kernel has no memory for an output that is an alias.
    let aliases: Vec<_> = (0..outputs.len()).map(|output| kernel.alias(output)).collect();
    let output_regions: Vec<_> = results
        .iter_mut()
        .zip(outputs)
        .zip(&aliases)
        .map(|((memory, output), alias)| match alias {
            Some(_) => None,
            None => Some(Region::of(memory.as_mut()?.as_mut_slice()).part(0, size(output.as_ref()?))),
        })
        .collect();
    let scratch = Region::of(scratch.as_mut_slice());
    if outputs.iter().zip(&aliases).any(|(output, alias)| output.is_some() && alias.is_none()) {
        // SAFETY: every region is a vector of its own, which lives to the end of this function.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&input_regions, &output_regions, scratch, context) };
        kernel.run(&mut call)?;
    }
    let tensor = |slot: usize, value: &ValueType, memory: &[u64]| {
        let bytes = match aliases[slot] {
            Some(input) => inputs[input].as_ref().and_then(Tensor::bytes).expect("an alias of an input").clone(),
            None => bytemuck::cast_slice::<u64, u8>(memory)[..size(value)].to_vec().into(),
        };
        Tensor::from_bytes(value.element_type, value.shape.clone(), bytes).expect("bytes of this type")
    };
    Ok(results
        .iter()
        .zip(outputs)
        .enumerate()
        .map(|(slot, (memory, output))| Some(tensor(slot, output.as_ref()?, memory.as_ref()?)))
        .collect())
}

/// Largest difference of two tensors, relative to the larger of 1 and the largest value of the second; infinite if NaN.
///
/// # Panics
/// If they are not numbers of one shape.
pub fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let (found, expected) = (found.to_f64s().expect("numbers"), expected.to_f64s().expect("numbers"));
    let scale =
        expected.iter().fold(1f64, |scale, value| if value.is_finite() { scale.max(value.abs()) } else { scale });
    let differ = |(found, expected): (&f64, &f64)| {
        if found == expected || (found.is_nan() && expected.is_nan()) { 0.0 } else { (found - expected).abs() / scale }
    };
    found
        .iter()
        .zip(&expected)
        .map(differ)
        .fold(0.0, |most, value| if value.is_nan() { f64::INFINITY } else { f64::max(most, value) })
}

/// Runs a node by its kernel, in each layout that it has kernels for, and by the reference evaluator, and returns the
/// largest difference over the outputs.
///
/// # Errors
/// If there is no kernel.
///
/// # Panics
/// If the reference evaluator refuses the node.
pub fn compare_forward(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: usize,
    constant: impl Fn(usize) -> bool,
) -> Result<f64, KernelError> {
    let expected = reference(op, inputs, outputs);
    let types: Vec<_> =
        expected.iter().map(|tensor| Some(ValueType::new(tensor.element_type(), tensor.shape().to_vec()))).collect();
    let most = |found: Vec<Option<Tensor>>| {
        let differences = found.iter().zip(&expected);
        let differences = differences.map(|(found, expected)| difference(found.as_ref().expect("wanted"), expected));
        differences.fold(0.0, f64::max)
    };
    let plain = run(op, inputs, &types, &constant, Context::default()).map(most)?;
    match run_channels_last(op, inputs, &types, constant, Context::default()) {
        Some(found) => Ok(found.map(most)?.max(plain)),
        None => Ok(plain),
    }
}

/// The reference evaluator's outputs.
///
/// # Panics
/// If it refuses the node.
pub fn reference(op: &Op, inputs: &[Option<Tensor>], outputs: usize) -> Vec<Tensor> {
    let views: Vec<_> = inputs.iter().map(Option::as_ref).collect();
    evaluate_op(op, &views, outputs, 1 << 30).expect("the reference evaluator knows the node")
}

/// Compares the gradients of the inputs `wanted` of a node, as its gradient kernel computes them in `float32`, with central
/// differences of the reference evaluator in `float64`, in each layout, and returns the largest difference. Gradients of the outputs are
/// drawn at random; only outputs of `float32` have one.
///
/// Inputs must be away from kinks (0 of Relu, ties of `MaxPool`) by more than 1e-4.
///
/// # Errors
/// If there is no gradient kernel.
///
/// # Panics
/// If the reference evaluator refuses the node.
pub fn compare_gradient(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: usize,
    wanted: &[usize],
    constant: impl Fn(usize) -> bool,
) -> Result<f64, KernelError> {
    const STEP: f64 = 1e-4;
    let forward = reference(op, inputs, outputs);
    let random = |index: usize, shape: &[usize]| {
        let stream = slimnet_graph::zoo::random::Stream::new(7, index as u64);
        let count: usize = shape.iter().product();
        (0..count).map(|element| (stream.normal(element as u64) * 16.0).round() / 16.0).collect::<Vec<f64>>()
    };
    let gradients: Vec<_> = forward
        .iter()
        .enumerate()
        .map(|(index, tensor)| (tensor.element_type() == ElementType::F32).then(|| random(index, tensor.shape())))
        .collect();
    let single = |shape: &[usize], values: &[f64]| {
        Tensor::from_values(shape.to_vec(), values.iter().map(|&value| value as f32).collect()).expect("as many")
    };
    let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: inputs.len(), outputs }));
    let mut all: Vec<Option<Tensor>> = inputs.to_vec();
    all.extend(forward.iter().cloned().map(Some));
    all.extend(forward.iter().zip(&gradients).map(|(tensor, values)| Some(single(tensor.shape(), values.as_ref()?))));
    let types: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(slot, input)| {
            let input = input.as_ref().filter(|_| wanted.contains(&slot))?;
            Some(ValueType::new(input.element_type(), input.shape().to_vec()))
        })
        .collect();
    let known = |slot| slot < inputs.len() && constant(slot);
    let mut found = vec![run(&gradient, &all, &types, known, Context::default())?];
    found.extend(run_channels_last(&gradient, &all, &types, known, Context::default()).transpose()?);

    // The same inputs in double precision, and the scalar whose gradient is asked for.
    let double = |tensor: &Tensor| match tensor.element_type() {
        ElementType::F32 => {
            Tensor::from_values(tensor.shape().to_vec(), tensor.to_f64s().expect("numbers")).expect("as many")
        }
        _ => tensor.clone(),
    };
    let doubles: Vec<_> = inputs.iter().map(|input| input.as_ref().map(double)).collect();
    let scalar = |inputs: &[Option<Tensor>]| {
        reference(op, inputs, outputs)
            .iter()
            .zip(&gradients)
            .filter_map(|(output, gradient)| Some((output, gradient.as_ref()?)))
            .map(|(output, gradient)| {
                output
                    .to_f64s()
                    .expect("numbers")
                    .iter()
                    .zip(gradient)
                    .map(|(value, weight)| value * weight)
                    .sum::<f64>()
            })
            .sum::<f64>()
    };
    let mut most = 0f64;
    for &slot in wanted {
        let input = doubles[slot].as_ref().expect("wanted inputs are present");
        let values = input.to_f64s().expect("numbers");
        let mut expected = vec![0f64; values.len()];
        for (element, expected) in expected.iter_mut().enumerate() {
            let moved = |step: f64| {
                let mut values = values.clone();
                values[element] += step;
                let mut inputs = doubles.clone();
                inputs[slot] = Some(Tensor::from_values(input.shape().to_vec(), values).expect("as many"));
                scalar(&inputs)
            };
            *expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        }
        for found in &found {
            let found = found[slot].as_ref().expect("wanted");
            most = most.max(difference(found, &single(input.shape(), &expected)));
        }
    }
    Ok(most)
}
