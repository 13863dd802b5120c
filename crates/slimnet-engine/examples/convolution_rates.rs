//! Rates of convolutions, in 10⁹ multiplications a second, with tensors in plain layout and with channels last:
//! `cargo run --release -p slimnet-engine --example convolution_rates [word of a name] [threads]`.

use std::hint::black_box;
use std::time::Instant;

use slimnet_engine::kernels::arrangement::{Arrangement, Layout, channels_last, follows_layout};
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::{Call, Context, NodeType, ValueType, Zeros, arrangement, prepare};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::tensor::{ElementType, Tensor};

/// Memory that begins at the start of a line of the cache, as in a plan.
fn memory(length: usize) -> (Vec<f32>, usize) {
    let data: Vec<_> = (0..length + 16).map(|index| (index % 17) as f32 - 8.0).collect();
    let start = data.as_ptr().align_offset(64).min(16);
    (data, start)
}

/// Shortest time of a run in seconds; `None` if there is no kernel for the layout. Weights are constant if `inference`.
fn time(
    op: &Op,
    inputs: &[Vec<usize>],
    outputs: &[Option<Vec<usize>>],
    layout: Layout,
    inference: bool,
) -> Option<f64> {
    let value = |shape: &Vec<usize>| ValueType::new(ElementType::F32, shape.clone());
    let mut types: Vec<_> = inputs.iter().map(|shape| Some(value(shape))).collect();
    let mut results: Vec<_> = outputs.iter().map(|shape| shape.as_ref().map(value)).collect();
    if layout == Layout::ChannelsLast {
        let node = NodeType { op, inputs: &types, outputs: &results, layout: Layout::Plain, zeros: Zeros::default() };
        if arrangement(&node) != Arrangement::ChannelsLast {
            return None;
        }
        let turn = |(slot, value): (usize, &mut Option<ValueType>)| {
            if let Some(value) = value.as_mut().filter(|value| follows_layout(op, value.shape.len(), slot)) {
                value.shape = channels_last(&value.shape);
            }
        };
        types.iter_mut().enumerate().for_each(turn);
        results.iter_mut().enumerate().for_each(turn);
    }
    if inference {
        for weights in types.iter_mut().skip(1).flatten() {
            weights.constant = Tensor::from_values(weights.shape.clone(), vec![0.5f32; weights.len()]).ok();
        }
    }
    let kernel = prepare(&NodeType { op, inputs: &types, outputs: &results, layout, zeros: Zeros::default() }).ok()?;
    let mut scratch = memory(kernel.scratch());
    let memories = |values: &[Option<ValueType>]| -> Vec<_> {
        values.iter().map(|value| value.as_ref().map(|value| (memory(value.len()), value.len()))).collect()
    };
    let (mut types, mut results) = (memories(&types), memories(&results));
    let mut once = || {
        let region = |memory: &mut Option<((Vec<f32>, usize), usize)>| {
            memory.as_mut().map(|((data, start), length)| Region::of(&mut data[*start..][..*length]))
        };
        let inputs: Vec<_> = types.iter_mut().map(region).collect();
        let outputs: Vec<_> = results.iter_mut().map(region).collect();
        let scratch = Region::of(&mut scratch.0[scratch.1..][..kernel.scratch()]);
        let start = Instant::now();
        // SAFETY: every region is a vector of its own, borrowed for the whole run.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, Context::default()) };
        let done = kernel.run(&mut call);
        let time = start.elapsed().as_secs_f64();
        assert!(done.is_ok(), "{done:?}");
        black_box(&outputs);
        time
    };
    once();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed().as_millis() < 100 {
        best = best.min(once());
    }
    Some(best)
}

/// Name, operator, shapes of inputs and outputs, and whether weights are constant.
type Run<'a> = (&'a str, &'a Op, &'a [Vec<usize>], Vec<Option<Vec<usize>>>, bool);

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    let threads = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(1);
    // Name, input channels and length, features, length of the kernel, stride, padding.
    let shapes: [(&str, [usize; 6]); 15] = [
        ("resnet20 first", [3, 32, 16, 3, 1, 1]),
        ("resnet20 stage 1", [16, 32, 16, 3, 1, 1]),
        ("resnet20 to stage 2", [16, 32, 32, 3, 2, 1]),
        ("resnet20 shortcut", [16, 32, 32, 1, 2, 0]),
        ("resnet20 stage 2", [32, 16, 32, 3, 1, 1]),
        ("resnet20 to stage 3", [32, 16, 64, 3, 2, 1]),
        ("resnet20 stage 3", [64, 8, 64, 3, 1, 1]),
        ("lenet first", [1, 28, 20, 5, 1, 0]),
        ("lenet second", [20, 12, 50, 5, 1, 0]),
        ("mobile 16", [16, 16, 32, 1, 1, 0]),
        ("mobile 64", [64, 8, 128, 1, 1, 0]),
        ("mobile 256", [256, 2, 256, 1, 1, 0]),
        ("mobile 512", [512, 1, 512, 1, 1, 0]),
        ("resnet18 stage 2", [128, 28, 128, 3, 1, 1]),
        ("resnet18 stage 4", [512, 7, 512, 3, 1, 1]),
    ];
    let threads = Threads::new(threads).expect("threads");
    println!("{:22} {:>5} {:18} {:>8} {:>8} {:>8}", "", "batch", "", "plain", "last", "ms");
    for (name, [channels, length, features, kernel, stride, pad]) in shapes {
        if !name.contains(&word) {
            continue;
        }
        for batch in [64, 1] {
            let op = Op::Conv(Conv {
                auto_pad: AutoPad::NotSet,
                dilations: vec![],
                group: 1,
                kernel_shape: vec![],
                pads: vec![pad as i64; 4],
                strides: vec![stride as i64; 2],
            });
            let result = (length + 2 * pad - kernel) / stride + 1;
            let y = vec![batch, features, result, result];
            let inputs =
                vec![vec![batch, channels, length, length], vec![features, channels, kernel, kernel], vec![features]];
            let mut all = inputs.clone();
            all.extend([y.clone(), y.clone()]);
            let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 3, outputs: 1 }));
            let wanted = |slot: usize| (0..3).map(|index| (index == slot).then(|| inputs[index].clone())).collect();
            let runs: [Run<'_>; 4] = [
                ("forward", &op, &inputs, vec![Some(y.clone())], false),
                ("inference", &op, &inputs, vec![Some(y)], true),
                ("gradient of input", &gradient, &all, wanted(0), false),
                ("gradient of weights", &gradient, &all, wanted(1), false),
            ];
            let work = (batch * result * result * features * channels * kernel * kernel) as f64 / 1e9;
            for (what, op, inputs, outputs, inference) in runs {
                let times = [Layout::Plain, Layout::ChannelsLast]
                    .map(|layout| threads.run(|| time(op, inputs, &outputs, layout, inference)).unwrap_or(f64::NAN));
                let [plain, last] = times.map(|time| work / time);
                println!("{name:22} {batch:5} {what:20} {plain:8.1} {last:8.1} {:9.4}", times[1] * 1e3);
            }
        }
    }
}
