//! Checking cases: forward, on several threads, gradients along random directions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use slimnet_engine::kernels::testing::{run, run_channels_last};
use slimnet_engine::kernels::{Context, KernelError, ValueType};
use slimnet_graph::Op;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::graph::Dim;
use slimnet_graph::infer::{Known, infer_op};
use slimnet_graph::ops::Gradient;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// Whether forms are tried, too, of which it is known that they fail.
pub fn with_known() -> bool {
    std::env::var_os("RANDOM_KNOWN").is_some()
}

/// Random choices, one after the other.
pub struct Random {
    pub stream: Stream,
    pub next: u64,
}

impl Random {
    pub fn new(family: &str, case: u64) -> Self {
        let seed = std::env::var("RANDOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        Self { stream: Stream::new(Stream::named(seed, family).bits(0), case), next: 0 }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        self.stream.below(self.next, bound as u64) as usize
    }

    pub fn range(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least + 1) as usize) as i64
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    pub fn normal(&mut self) -> f64 {
        self.next += 1;
        self.stream.normal(self.next)
    }

    /// A length, often one next to the size of a vector or block; at most `most`.
    pub fn length(&mut self, most: usize) -> usize {
        const LENGTHS: [usize; 20] = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129];
        if self.chance(40) {
            return 0;
        }
        let fitting = LENGTHS.iter().take_while(|length| **length <= most).count().max(1);
        LENGTHS[self.below(fitting)]
    }

    /// A shape of at most `elements` elements.
    pub fn shape(&mut self, rank: usize, elements: usize) -> Vec<usize> {
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

    pub fn floats(&mut self, shape: &[usize]) -> Option<Tensor> {
        let count = shape.iter().product();
        Some(Tensor::from_values(shape.to_vec(), (0..count).map(|_| self.normal() as f32).collect()).unwrap())
    }

    pub fn positive(&mut self, shape: &[usize]) -> Option<Tensor> {
        let count = shape.iter().product();
        Some(
            Tensor::from_values(shape.to_vec(), (0..count).map(|_| self.normal().abs() as f32 + 0.1).collect())
                .unwrap(),
        )
    }
}

pub fn integers(values: &[i64]) -> Option<Tensor> {
    Some(Tensor::vector(values.to_vec()))
}

#[derive(Debug, Clone)]
pub struct Case {
    pub op: Op,
    pub inputs: Vec<Option<Tensor>>,
    pub outputs: usize,
    /// Inputs whose data the kernel knows when it is prepared.
    pub constant: Vec<usize>,
    /// Inputs whose gradients are checked, and how many outputs have one.
    pub wanted: Vec<usize>,
    pub given: usize,
    pub tolerance: f64,
    /// Whether it is run on more threads than one even if it is small.
    pub threads: bool,
}

impl Case {
    pub fn new(op: impl Into<Op>, inputs: Vec<Option<Tensor>>) -> Self {
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

    pub fn describe(&self) -> String {
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
pub struct Counts {
    pub cases: usize,
    pub refused: usize,
    pub gradients: usize,
    pub without: usize,
    pub failures: Vec<(usize, String)>,
}

static POOLS: LazyLock<Vec<rayon::ThreadPool>> = LazyLock::new(|| {
    (2..=3).map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).collect()
});

/// Runs here, on one thread, and perhaps on two and three; the results must have the same bits. Runs with channels last,
/// too, where there is a kernel for that.
pub fn run_everywhere(
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
    // Where there are kernels for channels that lie last, they agree.
    let last = catch_unwind(AssertUnwindSafe(|| run_channels_last(op, inputs, outputs, constant, Context::default())));
    let last = last.map_err(|_| "PANIC with channels last".to_owned())?;
    if let (Ok(first), Some(last)) = (&first, last) {
        let last = last.map_err(|error| format!("CHANNELS LAST refuses: {error}"))?;
        for (output, (first, last)) in first.iter().zip(&last).enumerate() {
            let (Some(first), Some(last)) = (first, last) else { continue };
            if let Some(difference) = differ(last, first, 1e-5) {
                return Err(format!("CHANNELS LAST, output {output}: {difference}"));
            }
        }
    }
    Ok(first)
}

/// How two tensors differ, if they do.
pub fn differ(found: &Tensor, expected: &Tensor, tolerance: f64) -> Option<String> {
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

pub fn check_forward(case: &Case) -> Result<bool, String> {
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
pub fn check_gradient(case: &Case, random: &mut Random) -> Result<bool, String> {
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
pub fn cases(count: u64) -> u64 {
    let factor: u64 = std::env::var("RANDOM_CASES").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    count * factor / if cfg!(debug_assertions) { 10 } else { 1 }
}

/// Runs many cases of a family and fails with the smallest failures.
pub fn check(family: &str, count: u64, make: impl Fn(&mut Random) -> Case + Send) {
    // On the only thread of a pool, so that most runs need no other thread to wake up.
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| check_here(family, count, make));
}

pub fn check_here(family: &str, count: u64, make: impl Fn(&mut Random) -> Case) {
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

/// Some axes in some order, counted from either end.
pub fn axes_of(random: &mut Random, rank: usize) -> Vec<i64> {
    let mut axes: Vec<i64> = (0..rank as i64).collect();
    for place in 0..rank {
        let other = random.below(rank);
        axes.swap(place, other);
    }
    axes.truncate(1 + random.below(rank.max(1)));
    axes.iter().map(|axis| if random.chance(2) { *axis } else { axis - rank as i64 }).collect()
}
