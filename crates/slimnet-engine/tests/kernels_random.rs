//! Random operators of every family, with random attributes and shapes, against the reference evaluator.
//!
//! Of each case: the kernel takes what inference takes, gives what the reference evaluator gives (what it refuses, the
//! kernel refuses too), never panics, and has the same bits on one, two and three threads; its gradient agrees with the
//! derivative of the reference evaluator along random directions. `RANDOM_CASES` multiplies the number of cases, and
//! `RANDOM_SEED` changes the seed; with `RANDOM_KNOWN` forms are tried of which it is known that they fail.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use slimnet_engine::kernels::testing::run;
use slimnet_engine::kernels::{Context, KernelError, ValueType};
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::graph::Dim;
use slimnet_graph::infer::{Known, infer_op};
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};
use slimnet_graph::ops::index::{Gather, GatherElements, GatherNd, ScatterElements, ScatterNd, ScatterReduction};
use slimnet_graph::ops::layout::{
    CenterCropPad, Concat, DepthToSpace, DepthToSpaceMode, Expand, Pad, PadMode, ReverseSequence, Slice, SpaceToDepth,
    Split, Tile, Transpose, Trilu,
};
use slimnet_graph::ops::normalization::{
    BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization, LpNormalization, Lrn,
    MeanVarianceNormalization, RmsNormalization,
};
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool};
use slimnet_graph::ops::product::Einsum;
use slimnet_graph::ops::recurrent::{Direction, Gru, Lstm, Rnn};
use slimnet_graph::ops::reduction::{CumSum, TopK};
use slimnet_graph::ops::vision::{AspectRatioPolicy, CoordinateMode, NearestMode, Resize, ResizeMode};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// Whether forms are tried, too, of which it is known that they fail.
fn with_known() -> bool {
    std::env::var_os("RANDOM_KNOWN").is_some()
}

/// Random choices, one after the other.
struct Random {
    stream: Stream,
    next: u64,
}

impl Random {
    fn new(family: &str, case: u64) -> Self {
        let seed = std::env::var("RANDOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        Self { stream: Stream::new(Stream::named(seed, family).bits(0), case), next: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        self.stream.below(self.next, bound as u64) as usize
    }

    fn range(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least + 1) as usize) as i64
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn normal(&mut self) -> f64 {
        self.next += 1;
        self.stream.normal(self.next)
    }

    /// A length, often one next to the size of a vector or block; at most `most`.
    fn length(&mut self, most: usize) -> usize {
        const LENGTHS: [usize; 20] = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129];
        if self.chance(40) {
            return 0;
        }
        let fitting = LENGTHS.iter().take_while(|length| **length <= most).count().max(1);
        LENGTHS[self.below(fitting)]
    }

    /// A shape of at most `elements` elements.
    fn shape(&mut self, rank: usize, elements: usize) -> Vec<usize> {
        let mut left = elements;
        let mut shape: Vec<_> = (0..rank)
            .map(|_| {
                let length = self.length(left);
                left /= length.max(1);
                length
            })
            .collect();
        for place in 0..rank {
            let other = self.below(rank);
            shape.swap(place, other);
        }
        shape
    }

    fn floats(&mut self, shape: &[usize]) -> Option<Tensor> {
        let count = shape.iter().product();
        Some(Tensor::from_values(shape.to_vec(), (0..count).map(|_| self.normal() as f32).collect()).unwrap())
    }

    fn positive(&mut self, shape: &[usize]) -> Option<Tensor> {
        let count = shape.iter().product();
        Some(
            Tensor::from_values(shape.to_vec(), (0..count).map(|_| self.normal().abs() as f32 + 0.1).collect())
                .unwrap(),
        )
    }
}

fn integers(values: &[i64]) -> Option<Tensor> {
    Some(Tensor::vector(values.to_vec()))
}

#[derive(Debug, Clone)]
struct Case {
    op: Op,
    inputs: Vec<Option<Tensor>>,
    outputs: usize,
    /// Inputs whose data the kernel knows when it is prepared.
    constant: Vec<usize>,
    /// Inputs whose gradients are checked, and how many outputs have one.
    wanted: Vec<usize>,
    given: usize,
    tolerance: f64,
    /// Whether it is run on more threads than one even if it is small.
    threads: bool,
}

impl Case {
    fn new(op: impl Into<Op>, inputs: Vec<Option<Tensor>>) -> Self {
        Self {
            op: op.into(),
            inputs,
            outputs: 1,
            constant: vec![],
            wanted: vec![0],
            given: 1,
            tolerance: 1e-5,
            threads: false,
        }
    }

    fn describe(&self) -> String {
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|input| match input {
                None => "-".into(),
                Some(input) if input.element_type() != ElementType::F32 && input.len() <= 16 => {
                    format!("{}{:?}={:?}", input.element_type(), input.shape(), input.to_i64s().unwrap_or_default())
                }
                Some(input) if input.len() <= 4 => {
                    format!("{}{:?}={:?}", input.element_type(), input.shape(), input.to_f64s().unwrap_or_default())
                }
                Some(input) => format!("{}{:?}", input.element_type(), input.shape()),
            })
            .collect();
        format!("{:?} on {} ({} outputs, constant {:?})", self.op, inputs.join(" "), self.outputs, self.constant)
    }
}

/// What happened to a case.
#[derive(Debug, Default)]
struct Counts {
    cases: usize,
    refused: usize,
    gradients: usize,
    without: usize,
    failures: Vec<(usize, String)>,
}

static POOLS: LazyLock<Vec<rayon::ThreadPool>> = LazyLock::new(|| {
    (2..=3).map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).collect()
});

/// Runs here, on one thread, and perhaps on two and three; the results must have the same bits.
fn run_everywhere(
    op: &Op,
    inputs: &[Option<Tensor>],
    outputs: &[Option<ValueType>],
    constant: &(dyn Fn(usize) -> bool + Sync),
    threads: bool,
) -> Result<Result<Vec<Option<Tensor>>, KernelError>, String> {
    let here = || {
        catch_unwind(AssertUnwindSafe(|| run(op, inputs, outputs, constant, Context::default()))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("PANIC {}", text.unwrap_or_default())
        })
    };
    let first = here()?;
    // Few elements are rarely divided at all, and waking threads is slow.
    let much = inputs.iter().flatten().map(Tensor::len).sum::<usize>() > 5000;
    for pool in POOLS.iter().filter(|_| threads || much) {
        let other = pool.install(here)?;
        let same = match (&first, &other) {
            (Ok(first), Ok(other)) => {
                first.iter().zip(other).all(|(a, b)| a.as_ref().map(Tensor::bytes) == b.as_ref().map(Tensor::bytes))
            }
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            return Err("THREADS change the result".into());
        }
    }
    Ok(first)
}

/// How two tensors differ, if they do.
fn differ(found: &Tensor, expected: &Tensor, tolerance: f64) -> Option<String> {
    if found.shape() != expected.shape() || found.element_type() != expected.element_type() {
        return Some(format!("SHAPE {:?} {:?}", found.shape(), expected.shape()));
    }
    let (found, expected) = (found.to_f64s().unwrap(), expected.to_f64s().unwrap());
    let most = expected.iter().filter(|value| value.is_finite()).fold(0f64, |most, value| most.max(value.abs()));
    let allowed = tolerance * if (1e-4..1.0).contains(&most) { 1.0 } else { most };
    found.iter().zip(&expected).enumerate().find_map(|(place, (&found, &expected))| {
        let same = found == expected || (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= allowed;
        (!same).then(|| format!("VALUE at {place}: {found} instead of {expected} (largest {most})"))
    })
}

fn check_forward(case: &Case) -> Result<bool, String> {
    let shapes: Vec<Option<Vec<Dim>>> = case
        .inputs
        .iter()
        .map(|input| Some(input.as_ref()?.shape().iter().map(|&length| Dim::from(length)).collect()))
        .collect();
    let known: Vec<_> = case
        .inputs
        .iter()
        .zip(&shapes)
        .map(|(input, shape)| {
            let input = input.as_ref()?;
            Some(Known {
                element_type: Some(input.element_type()),
                shape: shape.as_deref(),
                data: Some(input),
                contents: None,
            })
        })
        .collect();
    let mut fresh = || panic!("everything is known");
    let inferred = catch_unwind(AssertUnwindSafe(|| infer_op(&case.op, &known, case.outputs, &mut fresh)));
    let Ok(Ok(inferred)) = inferred else { return Ok(false) };
    let types: Option<Vec<_>> = inferred
        .iter()
        .map(|output| {
            let shape = output.shape.as_ref()?.iter().map(Dim::known);
            Some(Some(ValueType::new(output.element_type?, shape.collect::<Option<_>>()?)))
        })
        .collect();
    let Some(types) = types else { return Ok(false) };
    let views: Vec<_> = case.inputs.iter().map(Option::as_ref).collect();
    let expected = evaluate_op(&case.op, &views, case.outputs, 1 << 30);
    let found = run_everywhere(&case.op, &case.inputs, &types, &|slot| case.constant.contains(&slot), case.threads)?;
    match (found, expected) {
        (Ok(found), Ok(expected)) => {
            for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
                if let Some(difference) = differ(found.as_ref().unwrap(), expected, case.tolerance) {
                    return Err(format!("output {output}: {difference}"));
                }
            }
            // Each output alone.
            let all = case.outputs > 1 && !matches!(case.op, Op::BatchNormalization(_));
            for wanted in 0..if all { case.outputs } else { 0 } {
                let types: Vec<_> =
                    types.iter().enumerate().map(|(at, one)| one.clone().filter(|_| at == wanted)).collect();
                let alone = run_everywhere(
                    &case.op,
                    &case.inputs,
                    &types,
                    &|slot| case.constant.contains(&slot),
                    case.threads,
                )?;
                let alone = alone.map_err(|error| format!("output {wanted} ALONE: {error}"))?;
                if let Some(difference) = differ(alone[wanted].as_ref().unwrap(), &expected[wanted], case.tolerance) {
                    return Err(format!("output {wanted} ALONE: {difference}"));
                }
            }
            Ok(true)
        }
        (Err(KernelError::Value(_)), Err(_)) => Ok(true),
        (Err(error), Err(_)) => Err(format!("UNSUPPORTED {error}")),
        (Err(error), Ok(_)) => Err(format!("REFUSED {error}")),
        (Ok(_), Err(error)) => Err(format!("ACCEPTED what the reference refuses: {error}")),
    }
}

/// `Ok(false)` if there is no gradient to be compared.
fn check_gradient(case: &Case, random: &mut Random) -> Result<bool, String> {
    let views: Vec<_> = case.inputs.iter().map(Option::as_ref).collect();
    let Ok(forward) = evaluate_op(&case.op, &views, case.outputs, 1 << 30) else { return Ok(false) };
    // Nothing, which an image was resized or cropped to, has no gradient yet.
    if matches!(case.op, Op::Resize(_) | Op::Pad(_)) && forward[0].is_empty() && !with_known() {
        return Ok(false);
    }
    let gradients: Vec<_> = forward
        .iter()
        .enumerate()
        .map(|(at, output)| {
            let given = at < case.given && output.element_type() == ElementType::F32;
            given.then(|| random.floats(output.shape()).unwrap())
        })
        .collect();
    let of = Gradient { of: case.op.clone(), inputs: case.inputs.len(), outputs: case.outputs };
    let op = Op::Gradient(Box::new(of));
    let mut all = case.inputs.clone();
    all.extend(forward.iter().cloned().map(Some));
    all.extend(gradients.iter().cloned());
    let inputs = case.inputs.len();
    let one = |wanted: &[usize]| {
        let types: Vec<_> = case
            .inputs
            .iter()
            .enumerate()
            .map(|(slot, input)| {
                let input = input.as_ref().filter(|_| wanted.contains(&slot))?;
                Some(ValueType::new(input.element_type(), input.shape().to_vec()))
            })
            .collect();
        run_everywhere(&op, &all, &types, &|slot| slot < inputs && case.constant.contains(&slot), case.threads)
    };
    let found = match one(&case.wanted)? {
        Ok(found) => found,
        Err(error) => return Err(format!("GRADIENT {error}")),
    };
    // Every gradient alone is the same.
    if case.wanted.len() > 1 {
        for &slot in &case.wanted {
            let alone = one(&[slot])?.map_err(|error| format!("GRADIENT of {slot} alone: {error}"))?;
            let (alone, together) = (alone[slot].as_ref().unwrap(), found[slot].as_ref().unwrap());
            if let Some(difference) = differ(alone, together, 1e-5) {
                return Err(format!("GRADIENT of {slot} alone: {difference}"));
            }
        }
    }
    let double = |slot: usize, tensor: &Tensor, steps: &[f64]| {
        let keep = matches!(case.op, Op::Resize(_)) && slot > 0;
        if tensor.element_type() != ElementType::F32 || keep {
            return tensor.clone();
        }
        let values = tensor.to_f64s().unwrap();
        let moved = values.iter().enumerate().map(|(at, value)| value + steps.get(at).copied().unwrap_or(0.0));
        Tensor::from_values(tensor.shape().to_vec(), moved.collect()).unwrap()
    };
    for _ in 0..2 {
        let directions: Vec<Vec<f64>> = (0..inputs)
            .map(|slot| {
                let count = case.inputs[slot].as_ref().map_or(0, Tensor::len);
                let wanted = case.wanted.contains(&slot);
                (0..if wanted { count } else { 0 }).map(|_| random.normal()).collect()
            })
            .collect();
        let at = |step: f64| {
            let inputs: Vec<_> = case
                .inputs
                .iter()
                .enumerate()
                .map(|(slot, input)| {
                    let steps: Vec<_> = directions[slot].iter().map(|direction| step * direction).collect();
                    Some(double(slot, input.as_ref()?, &steps))
                })
                .collect();
            let views: Vec<_> = inputs.iter().map(Option::as_ref).collect();
            let outputs = evaluate_op(&case.op, &views, case.outputs, 1 << 30).ok()?;
            let mut sum = 0.0;
            for (output, gradient) in outputs.iter().zip(&gradients) {
                let Some(gradient) = gradient else { continue };
                let pairs = output.to_f64s().unwrap().into_iter().zip(gradient.to_f64s().unwrap());
                sum += pairs.map(|(output, gradient)| output * gradient).sum::<f64>();
            }
            Some(sum)
        };
        let (mut sum, mut size) = (0.0, 0.0);
        for &slot in &case.wanted {
            let gradient = found[slot].as_ref().unwrap().to_f64s().unwrap();
            for (gradient, direction) in gradient.iter().zip(&directions[slot]) {
                sum += gradient * direction;
                size += (gradient * direction).abs();
            }
        }
        // A shorter step where a kink is too near.
        let mut last = 0.0;
        let agrees = [1e-6, 1e-8].into_iter().any(|step| {
            let (Some(ahead), Some(behind)) = (at(step), at(-step)) else { return true };
            last = (ahead - behind) / (2.0 * step);
            let allowed = 2e-4 * size + 1e-4 + 1e-14 / step * ahead.abs();
            !last.is_finite() || (sum - last).abs() <= allowed
        });
        if !agrees {
            return Err(format!("GRADIENT {sum} instead of {last} (size {size})"));
        }
    }
    Ok(true)
}

/// How many cases; fewer where no optimiser has been at work.
fn cases(count: u64) -> u64 {
    let factor: u64 = std::env::var("RANDOM_CASES").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    count * factor / if cfg!(debug_assertions) { 10 } else { 1 }
}

/// Runs many cases of a family and fails with the smallest failures.
fn check(family: &str, count: u64, make: impl Fn(&mut Random) -> Case + Send) {
    // On the only thread of a pool, so that most runs need no other thread to wake up.
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| check_here(family, count, make));
}

fn check_here(family: &str, count: u64, make: impl Fn(&mut Random) -> Case) {
    let mut counts = Counts::default();
    for index in 0..cases(count) {
        let mut random = Random::new(family, index);
        let case = Case { threads: index % 8 == 0, ..make(&mut random) };
        counts.cases += 1;
        let size = case.inputs.iter().flatten().map(Tensor::len).sum();
        match check_forward(&case) {
            Ok(true) => {}
            Ok(false) => {
                counts.refused += 1;
                continue;
            }
            Err(text) => counts.failures.push((size, format!("{family} {index}: {text}\n    {}", case.describe()))),
        }
        if case.wanted.is_empty() {
            continue;
        }
        match check_gradient(&case, &mut random) {
            Ok(true) => counts.gradients += 1,
            Ok(false) => counts.without += 1,
            Err(text) => counts.failures.push((size, format!("{family} {index}: {text}\n    {}", case.describe()))),
        }
    }
    let Counts { cases, refused, gradients, without, mut failures } = counts;
    println!("{family}: {cases} cases, {refused} not allowed, {gradients} gradients, {without} without");
    failures.sort();
    let shown: Vec<_> = failures.iter().take(12).map(|(_, text)| text.as_str()).collect();
    assert!(failures.is_empty(), "{} failures, the smallest:\n{}", failures.len(), shown.join("\n"));
}

fn entries(random: &mut Random, count: usize, least: i64, most: i64) -> Vec<i64> {
    if random.chance(4) { vec![] } else { (0..count).map(|_| random.range(least, most)).collect() }
}

const AUTO_PADS: [AutoPad; 6] =
    [AutoPad::NotSet, AutoPad::NotSet, AutoPad::NotSet, AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid];

/// Lengths of spatial axes.
fn spatial(random: &mut Random, rank: usize) -> Vec<usize> {
    let most = [1, 65, 17, 7, 4][rank];
    let mut lengths: Vec<_> = (0..rank).map(|_| random.length(most)).collect();
    if random.chance(3) {
        for length in &mut lengths {
            *length = 1 + *length % 8;
        }
    }
    lengths
}

#[test]
fn convolutions() {
    check("convolution", 600, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let group = random.pick(&[1, 1, 2, 3, 5]);
        let depthwise = random.chance(5);
        let (of_group, filters) =
            if depthwise { (1, random.pick(&[1, 2])) } else { (1 + random.below(5), random.length(17)) };
        let mut shape = vec![random.pick(&[1, 1, 2, 3, 9]), group * of_group];
        let on_axes = spatial(random, rank);
        shape.extend(&on_axes);
        let mut weights = vec![group * filters, of_group];
        let mut kernel: Vec<usize> = (0..rank).map(|_| random.pick(&[1, 1, 2, 3, 3, 5])).collect();
        if random.chance(6) {
            kernel = on_axes.iter().map(|length| (*length).min(6)).collect();
        }
        weights.extend(&kernel);
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 4) } else { vec![] };
        let op = Conv {
            auto_pad,
            dilations: entries(random, rank, 1, 3),
            group: group as i64,
            kernel_shape: vec![],
            pads,
            strides: entries(random, rank, 1, 4),
        };
        let bias = if random.chance(2) { random.floats(&[group * filters]) } else { None };
        let mut inputs = vec![random.floats(&shape), random.floats(&weights)];
        let mut wanted = if rank > 3 { vec![] } else { vec![0, 1] };
        if bias.is_some() {
            inputs.push(bias);
            if rank < 4 {
                wanted.push(2);
            }
        }
        Case { wanted, ..Case::new(op, inputs) }
    });
}

#[test]
fn transposed_convolutions() {
    check("transposed", 600, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let group = random.pick(&[1, 1, 2, 3]);
        let (of_group, filters) = (1 + random.below(5), random.length(9));
        let mut shape = vec![random.pick(&[1, 1, 2, 3, 9]), group * of_group];
        let on_windows: Vec<_> = spatial(random, rank).into_iter().map(|length| length.min(9)).collect();
        shape.extend(&on_windows);
        let mut weights = vec![group * of_group, filters];
        let kernel: Vec<usize> = (0..rank).map(|_| random.pick(&[1, 1, 2, 3, 3, 5])).collect();
        weights.extend(&kernel);
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 2) } else { vec![] };
        let strides = entries(random, rank, 1, 4);
        let output_padding = if random.chance(3) { entries(random, rank, 0, 2) } else { vec![] };
        let output_shape = if random.chance(6) {
            (0..rank)
                .map(|axis| {
                    let stride = strides.get(axis).copied().unwrap_or(1);
                    (on_windows[axis] as i64 * stride + random.range(-1, 3)).max(1)
                })
                .collect()
        } else {
            vec![]
        };
        let op = ConvTranspose {
            auto_pad,
            dilations: entries(random, rank, 1, 3),
            group: group as i64,
            kernel_shape: vec![],
            output_padding,
            output_shape,
            pads,
            strides,
        };
        let bias = if random.chance(2) { random.floats(&[group * filters]) } else { None };
        let mut inputs = vec![random.floats(&shape), random.floats(&weights)];
        let mut wanted = if rank > 3 { vec![] } else { vec![0, 1] };
        if bias.is_some() {
            inputs.push(bias);
            if rank < 4 {
                wanted.push(2);
            }
        }
        Case { wanted, ..Case::new(op, inputs) }
    });
}

#[test]
fn poolings() {
    check("pooling", 3000, |random| {
        let rank = random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let mut shape = vec![random.pick(&[1, 1, 2, 3]), random.pick(&[1, 2, 3, 5])];
        shape.extend(spatial(random, rank));
        let x = random.floats(&shape);
        let kernel_shape: Vec<i64> = (0..rank).map(|_| random.pick(&[1, 2, 2, 3, 3, 4])).collect();
        let auto_pad = random.pick(&AUTO_PADS);
        let pads = if auto_pad == AutoPad::NotSet { entries(random, 2 * rank, 0, 3) } else { vec![] };
        let (dilations, strides) = (entries(random, rank, 1, 3), entries(random, rank, 1, 4));
        let ceil_mode = random.chance(2);
        let mut outputs = 1;
        let op: Op = match random.below(6) {
            0 | 1 => {
                outputs += random.below(2);
                let storage_order = random.chance(2);
                MaxPool { auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order, strides }.into()
            }
            2 => {
                let count_include_pad = random.chance(2);
                AveragePool { auto_pad, ceil_mode, count_include_pad, dilations, kernel_shape, pads, strides }.into()
            }
            3 => {
                let p = random.range(1, 4);
                LpPool { auto_pad, ceil_mode, dilations, kernel_shape, p, pads, strides }.into()
            }
            4 if random.chance(2) => GlobalAveragePool {}.into(),
            4 => GlobalMaxPool {}.into(),
            _ => GlobalLpPool { p: random.range(1, 2) }.into(),
        };
        let wanted = if rank > 3 || shape.contains(&0) { vec![] } else { vec![0] };
        Case { outputs, wanted, ..Case::new(op, vec![x]) }
    });
}

/// Some axes in some order, counted from either end.
fn axes_of(random: &mut Random, rank: usize) -> Vec<i64> {
    let mut axes: Vec<i64> = (0..rank as i64).collect();
    for place in 0..rank {
        let other = random.below(rank);
        axes.swap(place, other);
    }
    axes.truncate(1 + random.below(rank.max(1)));
    axes.iter().map(|axis| if random.chance(2) { *axis } else { axis - rank as i64 }).collect()
}

#[test]
fn movements() {
    check("movement", 2000, |random| {
        let rank = 1 + random.below(5);
        let elements = if random.chance(25) { 70_000 } else { 2000 };
        let shape = random.shape(rank, elements);
        let x = random.floats(&shape);
        let constant: Vec<usize> = if random.chance(10) { vec![] } else { (1..5).collect() };
        let case = |op: Op, inputs: Vec<Option<Tensor>>, constant: &[usize]| {
            // Without settings there is the reference evaluator only, and no gradient.
            let known = constant.len() > 1 || inputs.len() == 1;
            let wanted = if known { vec![0] } else { vec![] };
            Case { constant: constant.to_vec(), wanted, ..Case::new(op, inputs) }
        };
        match random.below(12) {
            0 | 1 => {
                let mut perm: Vec<i64> = (0..rank as i64).collect();
                for place in 0..rank {
                    let other = random.below(rank);
                    perm.swap(place, other);
                }
                case(Transpose { perm: (!random.chance(5)).then_some(perm) }.into(), vec![x], &constant)
            }
            2 | 3 => {
                let axes = axes_of(random, rank);
                let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
                for &axis in &axes {
                    let length = shape[(if axis < 0 { axis + rank as i64 } else { axis }) as usize] as i64;
                    let any = |random: &mut Random| match random.below(8) {
                        0 => i64::MIN,
                        1 => i64::MAX,
                        2 => i64::from(i32::MIN),
                        _ => random.range(-length - 2, length + 2),
                    };
                    starts.push(any(random));
                    ends.push(any(random));
                    steps.push(random.pick(&[1, 1, 2, 3, -1, -1, -2, -7, i64::MAX, i64::MIN + 1]));
                }
                let steps = if random.chance(3) { None } else { integers(&steps) };
                let inputs = vec![x, integers(&starts), integers(&ends), integers(&axes), steps];
                case(Slice {}.into(), inputs, &constant)
            }
            4..=6 => {
                let mode = random.pick(&[
                    PadMode::Constant,
                    PadMode::Constant,
                    PadMode::Reflect,
                    PadMode::Edge,
                    PadMode::Wrap,
                ]);
                let axes = random.chance(2).then(|| axes_of(random, rank));
                let count = axes.as_ref().map_or(rank, Vec::len);
                let least = random.pick(&[0, -1, -3]);
                let pads: Vec<i64> = (0..2 * count).map(|_| random.range(least, 4)).collect();
                let filled = mode == PadMode::Constant && random.chance(2);
                let value = filled.then(|| Tensor::scalar(0.75f32));
                let mut inputs = vec![x, integers(&pads), value, axes.and_then(|axes| integers(&axes))];
                while inputs.last().is_some_and(Option::is_none) {
                    inputs.pop();
                }
                let mut case = case(Pad { mode }.into(), inputs, &constant);
                if filled && !case.wanted.is_empty() && random.chance(2) {
                    case.wanted.push(2);
                }
                case
            }
            7 => {
                let repeats: Vec<i64> = (0..rank).map(|_| random.pick(&[0, 1, 1, 1, 2, 3])).collect();
                case(Tile {}.into(), vec![x, integers(&repeats)], &constant)
            }
            8 => {
                let shape: Vec<_> = shape.iter().map(|length| if random.chance(2) { 1 } else { *length }).collect();
                let x = random.floats(&shape);
                let mut target: Vec<i64> =
                    shape
                        .iter()
                        .map(|&length| {
                            if length == 1 {
                                random.pick(&[1, 1, 0, 2, 3, 9])
                            } else {
                                random.pick(&[1, length as i64])
                            }
                        })
                        .collect();
                match random.range(0, 3) {
                    0 => drop(target.splice(0..0, [random.range(1, 3)])),
                    1 => drop(target.remove(0)),
                    _ => {}
                }
                case(Expand {}.into(), vec![x, integers(&target)], &constant)
            }
            9 => {
                let block = random.range(1, 3);
                let square = (block * block) as usize;
                let four = random.shape(4, 600);
                if random.chance(2) {
                    let mode = random.pick(&[DepthToSpaceMode::DepthColumnRow, DepthToSpaceMode::ColumnRowDepth]);
                    let x = random.floats(&[four[0], four[1] * square, four[2], four[3]]);
                    case(DepthToSpace { blocksize: block, mode }.into(), vec![x], &constant)
                } else {
                    let block_length = block as usize;
                    let x = random.floats(&[four[0], four[1], four[2] * block_length, four[3] * block_length]);
                    case(SpaceToDepth { blocksize: block }.into(), vec![x], &constant)
                }
            }
            10 => {
                let diagonal = random.pick(&[0, 1, -1, 5, -5, i64::MAX, i64::MIN]);
                let given = random.chance(2).then(|| Tensor::scalar(diagonal));
                let inputs = if given.is_some() { vec![x, given] } else { vec![x] };
                case(Trilu { upper: random.chance(2) }.into(), inputs, &constant)
            }
            _ => {
                let lengths: Vec<i64> =
                    shape.iter().map(|&length| (length as i64 + random.range(-3, 3)).max(0)).collect();
                case(CenterCropPad { axes: None }.into(), vec![x, integers(&lengths)], &constant)
            }
        }
    });
}

#[test]
fn pieces() {
    check("pieces", 800, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(20) { 40_000 } else { 900 };
        let mut shape = random.shape(rank, elements);
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        if random.chance(2) {
            let count = 1 + random.below(6);
            let inputs: Vec<_> = (0..count)
                .map(|_| {
                    shape[at] = random.length(9);
                    random.floats(&shape)
                })
                .collect();
            return Case { wanted: (0..count).collect(), ..Case::new(Concat { axis }, inputs) };
        }
        let count = 1 + random.below(5);
        if random.chance(2) {
            let lengths: Vec<_> = (0..count).map(|_| random.below(4) as i64).collect();
            shape[at] = lengths.iter().sum::<i64>() as usize;
            let inputs = vec![random.floats(&shape), integers(&lengths)];
            let op = Split { axis, num_outputs: None };
            return Case { outputs: count, given: count, constant: vec![1], ..Case::new(op, inputs) };
        }
        let num_outputs = random.chance(2).then_some(count as i64);
        Case { outputs: count, given: count, ..Case::new(Split { axis, num_outputs }, vec![random.floats(&shape)]) }
    });
}

/// Indices on axes of these lengths in turn; now and then one that lies outside.
fn indices(random: &mut Random, shape: &[usize], lengths: &[usize]) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let outside = random.chance(12);
    let one = |random: &mut Random, place: usize| {
        let length = lengths[place % lengths.len().max(1)].max(1) as i64;
        random.range(-length, length - 1)
    };
    let mut values: Vec<_> = (0..count).map(|place| one(random, place)).collect();
    if outside && count > 0 {
        let place = random.below(count);
        let length = lengths[place % lengths.len()] as i64;
        values[place] = random.pick(&[length, -length - 1, i64::from(i32::MAX), i64::from(i32::MIN)]);
    }
    if random.chance(4) {
        let values = values.into_iter().map(|value| value as i32).collect();
        return Some(Tensor::from_values(shape.to_vec(), values).unwrap());
    }
    Some(Tensor::from_values(shape.to_vec(), values).unwrap())
}

#[test]
fn indexing() {
    check("indexing", 3000, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(25) { 40_000 } else { 700 };
        let shape = random.shape(rank, elements);
        let x = random.floats(&shape);
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let reduction = random.pick(&[
            ScatterReduction::None,
            ScatterReduction::None,
            ScatterReduction::Add,
            ScatterReduction::Mul,
            ScatterReduction::Max,
            ScatterReduction::Min,
        ]);
        let smooth = matches!(reduction, ScatterReduction::None | ScatterReduction::Add);
        match random.below(6) {
            0 => {
                let rank = random.below(3);
                let of = random.shape(rank, 40);
                let indices = indices(random, &of, &[shape[at]]);
                Case::new(Gather { axis }, vec![x, indices])
            }
            kind @ (1 | 2) => {
                let mut of = shape.clone();
                of[at] = random.length(17);
                if random.chance(2) {
                    for length in &mut of {
                        *length = 1.max(*length / 2).min(*length);
                    }
                }
                let indices = indices(random, &of, &[shape[at]]);
                if kind == 1 {
                    return Case::new(GatherElements { axis }, vec![x, indices]);
                }
                let updates = random.floats(&of);
                let wanted = if smooth { vec![0, 2] } else { vec![] };
                Case { wanted, ..Case::new(ScatterElements { axis, reduction }, vec![x, indices, updates]) }
            }
            3 => {
                let batch = random.below(rank);
                let arity = random.below(rank - batch + 1);
                let mut of = shape[..batch].to_vec();
                for _ in 0..random.below(3) {
                    of.push(random.length(9));
                }
                of.push(arity);
                let indices = indices(random, &of, &shape[batch..batch + arity]);
                Case::new(GatherNd { batch_dims: batch as i64 }, vec![x, indices])
            }
            4 => {
                let arity = random.below(rank + 1);
                let mut of: Vec<_> = (0..random.below(3)).map(|_| random.length(9)).collect();
                let mut updates = of.clone();
                of.push(arity);
                updates.extend(&shape[arity..]);
                let indices = indices(random, &of, &shape[..arity]);
                let updates = random.floats(&updates);
                let wanted = if smooth { vec![0, 2] } else { vec![] };
                Case { wanted, ..Case::new(ScatterNd { reduction }, vec![x, indices, updates]) }
            }
            _ => {
                let rank = 2 + random.below(3);
                let shape = random.shape(rank, 600);
                let (batch, time) = if random.chance(2) { (0, 1) } else { (1, 0) };
                let least = if random.chance(10) { -1 } else { 0 };
                let most = shape[time] as i64 + i64::from(random.chance(10));
                let lengths: Vec<_> = (0..shape[batch]).map(|_| random.range(least, most)).collect();
                let op = ReverseSequence { batch_axis: batch as i64, time_axis: time as i64 };
                Case::new(op, vec![random.floats(&shape), integers(&lengths)])
            }
        }
    });
}

#[test]
fn resizing() {
    check("resizing", 400, |random| {
        let rank = random.pick(&[1, 2, 3, 4, 4, 5]);
        let most = [0, 33, 17, 8, 5, 3][rank];
        let shape: Vec<usize> = (0..rank).map(|_| random.length(most).max(1)).collect();
        let axes = random.chance(3).then(|| axes_of(random, rank));
        let count = axes.as_ref().map_or(rank, Vec::len);
        let mode = random.pick(&[ResizeMode::Nearest, ResizeMode::Linear, ResizeMode::Cubic]);
        let coordinate_transformation_mode = random.pick(&[
            CoordinateMode::HalfPixel,
            CoordinateMode::HalfPixelSymmetric,
            CoordinateMode::PytorchHalfPixel,
            CoordinateMode::AlignCorners,
            CoordinateMode::Asymmetric,
            CoordinateMode::TfCropAndResize,
        ]);
        let roi = (coordinate_transformation_mode == CoordinateMode::TfCropAndResize).then(|| {
            let ends =
                (0..2 * count).map(|at| random.pick(&[0.0, 0.1, -0.25, 0.5]) + if at < count { 0.0 } else { 0.75 });
            Tensor::vector(ends.collect::<Vec<f32>>())
        });
        let changed = |random: &mut Random| !random.chance(3);
        let by_scales = random.chance(2);
        let (scales, sizes) = if by_scales {
            let scales: Vec<f32> = (0..count)
                .map(|_| if changed(random) { random.pick(&[0.5, 2.0, 1.7, 0.6, 0.26, 1.1]) } else { 1.0 })
                .collect();
            (Some(Tensor::vector(scales)), None)
        } else {
            let sizes: Vec<i64> =
                shape.iter().cycle().take(count).map(|&length| random.range(1, 2 * length as i64)).collect();
            (None, integers(&sizes))
        };
        // Inference and the evaluator differ in what size is left of what is cropped.
        let crops = coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
        let (scales, sizes) = match scales {
            Some(_) if crops && !with_known() => (None, integers(&vec![3; count])),
            scales => (scales, sizes),
        };
        let policy = if by_scales {
            AspectRatioPolicy::Stretch
        } else {
            random.pick(&[
                AspectRatioPolicy::Stretch,
                AspectRatioPolicy::Stretch,
                AspectRatioPolicy::NotLarger,
                AspectRatioPolicy::NotSmaller,
            ])
        };
        let op = Resize {
            antialias: mode != ResizeMode::Nearest && random.chance(4),
            axes,
            coordinate_transformation_mode,
            cubic_coeff_a: random.pick(&[-0.75, -0.5]),
            exclude_outside: random.chance(4),
            extrapolation_value: random.pick(&[0.0, 2.5]),
            keep_aspect_ratio_policy: policy,
            mode,
            nearest_mode: random.pick(&[
                NearestMode::RoundPreferFloor,
                NearestMode::RoundPreferCeil,
                NearestMode::Floor,
                NearestMode::Ceil,
            ]),
        };
        let mut inputs = vec![random.floats(&shape), roi, scales, sizes];
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        Case { constant: vec![1, 2, 3], ..Case::new(op, inputs) }
    });
}

#[test]
fn recurrent_layers() {
    check("recurrent", 700, |random| {
        let (steps, batch) = (1 + random.below(6), random.pick(&[1, 2, 3, 7, 17, 33]));
        let (input, hidden) = (random.pick(&[1, 2, 3, 8, 9]), random.pick(&[1, 2, 3, 7, 8, 9, 17]));
        let direction = random.pick(&[Direction::Forward, Direction::Reverse, Direction::Bidirectional]);
        let directions = if direction == Direction::Bidirectional { 2 } else { 1 };
        let layout = random.chance(3);
        let kind = random.below(3);
        let (gates, functions) = ([1, 3, 4][kind], [1, 2, 3][kind]);
        let names = [
            "Tanh",
            "Sigmoid",
            "Softsign",
            "Softplus",
            "Affine",
            "ScaledTanh",
            "Elu",
            "LeakyRelu",
            "HardSigmoid",
            "Relu",
            "ThresholdedRelu",
            "tanh",
        ];
        let activations: Vec<String> = if random.chance(3) {
            (0..functions * directions).map(|_| random.pick(&names).to_owned()).collect()
        } else {
            vec![]
        };
        let (activation_alpha, activation_beta) =
            if random.chance(2) { (vec![0.3, 0.7], vec![0.4]) } else { (vec![], vec![]) };
        let clip = random.chance(5).then_some(0.7);
        let rows = gates * hidden;
        let small = |random: &mut Random, shape: &[usize]| {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|_| random.normal() as f32 * 0.3).collect();
            Some(Tensor::from_values(shape.to_vec(), values).unwrap())
        };
        let x = if layout { [batch, steps, input] } else { [steps, batch, input] };
        let state = if layout { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let mut inputs = vec![
            small(random, &x),
            small(random, &[directions, rows, input]),
            small(random, &[directions, rows, hidden]),
        ];
        let optional =
            |random: &mut Random, shape: &[usize]| if random.chance(2) { small(random, shape) } else { None };
        inputs.push(optional(random, &[directions, 2 * rows]));
        inputs.push(random.chance(2).then(|| {
            let over = usize::from(random.chance(20));
            Tensor::vector((0..batch).map(|_| random.below(steps + 1 + over) as i32).collect())
        }));
        inputs.push(optional(random, &state));
        if kind == 2 {
            inputs.push(optional(random, &state));
            inputs.push(optional(random, &[directions, 3 * hidden]));
        }
        let wanted = (0..inputs.len()).filter(|&slot| slot != 4 && inputs[slot].is_some()).collect();
        let hidden_size = random.chance(2).then_some(hidden as i64);
        let op: Op = match kind {
            0 => Rnn { activation_alpha, activation_beta, activations, clip, direction, hidden_size, layout }.into(),
            1 => {
                let linear_before_reset = random.chance(2);
                Gru {
                    activation_alpha,
                    activation_beta,
                    activations,
                    clip,
                    direction,
                    hidden_size,
                    layout,
                    linear_before_reset,
                }
                .into()
            }
            _ => {
                let input_forget = random.chance(3);
                Lstm {
                    activation_alpha,
                    activation_beta,
                    activations,
                    clip,
                    direction,
                    hidden_size,
                    input_forget,
                    layout,
                }
                .into()
            }
        };
        let outputs = if kind == 2 { 3 } else { 2 };
        Case { outputs, given: 1 + random.below(outputs), wanted, tolerance: 2e-5, ..Case::new(op, inputs) }
    });
}

#[test]
fn sums_of_products() {
    check("einsum", 2500, |random| {
        let count = 1 + random.below(2);
        let letters = ['a', 'b', 'c', 'd', 'e'];
        let lengths: Vec<usize> = letters.iter().map(|_| random.length(9)).collect();
        let dots = random.chance(4);
        let under = 1 + random.below(2);
        let hidden = if dots { random.shape(under, 6) } else { vec![] };
        let (mut terms, mut inputs, mut all) = (vec![], vec![], vec![]);
        for _ in 0..count {
            let (mut term, mut shape) = (String::new(), vec![]);
            let with_dots = dots && random.chance(2);
            let place = random.below(3);
            for at in 0..=random.below(4) {
                if with_dots && at == place.min(1) {
                    term.push_str("...");
                    shape.extend(hidden.iter().map(|length| if random.chance(4) { 1 } else { *length }));
                }
                let letter = random.below(letters.len());
                if term.contains(letters[letter]) && !random.chance(6) {
                    continue;
                }
                term.push(letters[letter]);
                shape.push(if random.chance(8) && !term.contains(letters[letter]) { 1 } else { lengths[letter] });
                if !all.contains(&letters[letter]) {
                    all.push(letters[letter]);
                }
            }
            terms.push(term);
            inputs.push(random.floats(&shape));
        }
        let mut output: Vec<char> = all.into_iter().filter(|_| random.chance(2)).collect();
        for place in 0..output.len() {
            let other = random.below(output.len());
            output.swap(place, other);
        }
        let mut equation = terms.join(",");
        if !random.chance(6) {
            equation.push_str("->");
            if equation.contains("...") {
                equation.push_str("...");
            }
            equation.extend(output);
        }
        Case { wanted: (0..count).collect(), ..Case::new(Einsum { equation }, inputs) }
    });
}

#[test]
fn normalizations() {
    check("normalization", 2500, |random| {
        let rank = 2 + random.below(3);
        let elements = if random.chance(20) { 30_000 } else { 900 };
        let shape = random.shape(rank, elements);
        let mut x = random.floats(&shape);
        if random.chance(3) {
            // Far from zero.
            let moved = x.unwrap().to_f64s().unwrap().into_iter().map(|value| (value + 5.0) as f32);
            x = Some(Tensor::from_values(shape.clone(), moved.collect()).unwrap());
        }
        let epsilon = random.pick(&[1e-5, 1e-3]);
        let channels = shape[1];
        let (scale, bias) = (random.floats(&[channels]), random.floats(&[channels]));
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let empty = shape.contains(&0);
        let case = match random.below(9) {
            0 => {
                let inputs = vec![x, scale, bias, random.floats(&[channels]), random.positive(&[channels])];
                let op = BatchNormalization { epsilon, momentum: 0.9, training_mode: false };
                Case { wanted: vec![0, 1, 2], ..Case::new(op, inputs) }
            }
            1 => {
                let inputs = vec![x, scale, bias, random.floats(&[channels]), random.positive(&[channels])];
                let op = BatchNormalization { epsilon, momentum: 0.7, training_mode: true };
                Case { outputs: 5, wanted: vec![0, 1, 2], ..Case::new(op, inputs) }
            }
            // The evaluator refuses no channels, the kernel does not.
            2 if channels > 0 || with_known() => {
                Case { wanted: vec![0, 1, 2], ..Case::new(InstanceNormalization { epsilon }, vec![x, scale, bias]) }
            }
            2 | 3 => {
                let groups: Vec<_> = (1..=channels.max(1)).filter(|&groups| channels % groups == 0).collect();
                let op = GroupNormalization { epsilon, num_groups: random.pick(&groups) as i64, stash_type: 1 };
                Case { wanted: vec![0, 1, 2], ..Case::new(op, vec![x, scale, bias]) }
            }
            4 => {
                let scale = random.floats(&shape[at..]);
                let bias = if random.chance(2) { random.floats(&shape[at..]) } else { None };
                let mut wanted = vec![0, 1];
                let mut inputs = vec![x, scale];
                if bias.is_some() {
                    inputs.push(bias);
                    wanted.push(2);
                }
                Case { wanted, ..Case::new(LayerNormalization { axis, epsilon, stash_type: 1 }, inputs) }
            }
            5 => {
                let scale = random.floats(&shape[at..]);
                let op = RmsNormalization { axis, epsilon, stash_type: 1 };
                Case { wanted: vec![0, 1], ..Case::new(op, vec![x, scale]) }
            }
            6 => {
                let op = Lrn {
                    alpha: random.pick(&[1e-4, 0.5]),
                    beta: random.pick(&[0.75, 0.5, 1.0, 0.3]),
                    bias: random.pick(&[1.0, 2.0]),
                    size: random.range(1, 6),
                };
                Case::new(op, vec![x])
            }
            7 => Case::new(LpNormalization { axis, p: random.range(1, 2) }, vec![x]),
            _ => {
                let axes = axes_of(random, rank);
                let group: usize = axes.iter().map(|axis| shape[axis.rem_euclid(rank as i64) as usize]).product();
                // Of two numbers the results are ±1, with a kink where they are equal.
                let wanted = if group > 3 { vec![0] } else { vec![] };
                Case { wanted, ..Case::new(MeanVarianceNormalization { axes }, vec![x]) }
            }
        };
        // Statistics of little cancel, and errors grow with how far from zero it all is: two numbers of about 20 that are
        // near each other leave few digits.
        let wanted = if empty { vec![] } else { case.wanted.clone() };
        Case { tolerance: 1e-3, wanted, ..case }
    });
}

#[test]
fn choices_and_running_sums() {
    check("choices", 2000, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(20) { 40_000 } else { 900 };
        let shape = random.shape(rank, elements);
        let count: usize = shape.iter().product();
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let kind = random.below(3);
        let values = (0..count)
            .map(|_| match kind {
                0 => random.normal() as f32,
                1 => random.range(-2, 2) as f32,
                _ => {
                    random.pick(&[f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, f32::MIN_POSITIVE])
                }
            })
            .collect();
        let x = Some(Tensor::from_values(shape.clone(), values).unwrap());
        let wanted = if kind == 0 { vec![0] } else { vec![] };
        if random.chance(2) {
            let axis = if random.chance(2) { Some(Tensor::scalar(axis)) } else { Some(Tensor::scalar(axis as i32)) };
            let op = CumSum { exclusive: random.chance(2), reverse: random.chance(2) };
            return Case { constant: vec![1], wanted, ..Case::new(op, vec![x, axis]) };
        }
        let k = random.below(shape[at] + 1) as i64;
        let op = TopK { axis, largest: random.chance(2), sorted: !random.chance(4) };
        Case { outputs: 2, constant: vec![1], wanted, ..Case::new(op, vec![x, integers(&[k])]) }
    });
}
