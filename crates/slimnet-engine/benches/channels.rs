//! Time of kernels that compute each channel by itself, with channels second and last, in the shapes of real networks.
//! A line each: microseconds of the forward and of the gradient, in both layouts, and their ratios.

use std::hint::black_box;
use std::time::Instant;

use slimnet_engine::kernels::arrangement::{Layout, channels_last, follows_layout};
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::{Call, Context, Kernel, NodeType, ValueType, Zeros, prepare};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::ops::normalization::BatchNormalization;
use slimnet_graph::ops::pooling::{AveragePool, GlobalAveragePool, MaxPool};
use slimnet_graph::tensor::ElementType;

/// Elements of a line of the cache.
const LINE: usize = 16;

/// A kernel with memory of its own.
struct Bench {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Option<Vec<f32>>>,
    outputs: Vec<Option<Vec<f32>>>,
    scratch: Vec<f32>,
    times: Vec<f64>,
}

type Shapes = [Option<Vec<usize>>];

impl Bench {
    fn new(op: &Op, inputs: &Shapes, outputs: &Shapes, layout: Layout) -> Self {
        let value = |(slot, shape): (usize, &Option<Vec<usize>>)| {
            let shape = shape.as_ref()?;
            let last = layout == Layout::ChannelsLast && follows_layout(op, shape.len(), slot);
            Some(ValueType::new(ElementType::F32, if last { channels_last(shape) } else { shape.clone() }))
        };
        let [inputs, outputs] =
            [inputs, outputs].map(|shapes| shapes.iter().enumerate().map(value).collect::<Vec<_>>());
        let kernel =
            prepare(&NodeType { op, inputs: &inputs, outputs: &outputs, layout, zeros: Zeros::default() }).unwrap();
        let filled = |value: &ValueType| (0..value.len() + LINE).map(|place| (place * 7 % 17) as f32 / 8.0).collect();
        Self {
            scratch: vec![0.0; kernel.scratch()],
            kernel,
            inputs: inputs.iter().map(|value| value.as_ref().map(filled)).collect(),
            outputs: outputs.iter().map(|value| value.as_ref().map(filled)).collect(),
            times: Vec::new(),
        }
    }

    fn run(&mut self) {
        // As in the arena of a plan, everything begins at a line of the cache.
        let region = |data: &mut Option<Vec<f32>>| {
            let data = data.as_mut()?.as_mut_slice();
            let length = data.len() - LINE;
            let start = data.as_ptr().align_offset(LINE * size_of::<f32>());
            Some(Region::of(&mut data[start..start + length]))
        };
        let inputs: Vec<_> = self.inputs.iter_mut().map(region).collect();
        let outputs: Vec<_> = self.outputs.iter_mut().map(region).collect();
        let scratch = Region::of(self.scratch.as_mut_slice());
        // SAFETY: every region is a vector of its own, borrowed for the whole run.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, Context::default()) };
        let start = Instant::now();
        self.kernel.run(&mut call).unwrap();
        self.times.push(start.elapsed().as_secs_f64() * 1e6);
        black_box(&self.outputs);
    }

    fn median(&mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        self.times[self.times.len() / 2]
    }
}

/// Medians of both layouts, which take turns.
fn medians(op: &Op, inputs: &Shapes, outputs: &Shapes) -> [f64; 2] {
    let mut benches = [Layout::Plain, Layout::ChannelsLast].map(|layout| Bench::new(op, inputs, outputs, layout));
    let start = Instant::now();
    while benches[0].times.len() < 20 || start.elapsed().as_secs_f64() < 0.15 {
        benches.iter_mut().for_each(Bench::run);
    }
    benches.each_mut().map(Bench::median)
}

fn report(name: &str, op: &Op, inputs: &Shapes, outputs: &Shapes, wanted: usize) {
    let [plain, last] = medians(op, inputs, outputs);
    print!("{name:<42} forward {plain:9.1} {last:9.1} {:6.2}", last / plain);
    let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: inputs.len(), outputs: outputs.len() }));
    let mut all = inputs.to_vec();
    all.extend_from_slice(outputs);
    all.extend(outputs.iter().take(1).cloned());
    all.extend(outputs.iter().skip(1).map(|_| None));
    let results: Vec<_> =
        inputs.iter().enumerate().map(|(slot, shape)| shape.clone().filter(|_| slot < wanted)).collect();
    let [plain, last] = medians(&gradient, &all, &results);
    println!("   gradient {plain:9.1} {last:9.1} {:6.2}", last / plain);
}

fn depthwise(name: &str, shape: [usize; 4], stride: usize) {
    let [images, channels, height, width] = shape;
    let conv = Conv {
        group: channels as i64,
        pads: vec![1; 4],
        strides: vec![stride as i64; 2],
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        kernel_shape: vec![],
    };
    let y = vec![images, channels, height.div_ceil(stride), width.div_ceil(stride)];
    let inputs = [Some(shape.to_vec()), Some(vec![channels, 1, 3, 3])];
    report(&format!("{name} stride {stride} {shape:?}"), &Op::Conv(conv), &inputs, &[Some(y)], 2);
}

fn main() {
    let shapes = [
        [64, 16, 32, 32],
        [64, 32, 16, 16],
        [64, 64, 8, 8],
        [64, 128, 4, 4],
        [64, 256, 2, 2],
        [1, 8, 48, 48],
        [1, 64, 25, 5],
        [1, 256, 3, 3],
    ];
    let (one, two) = (Threads::new(1).unwrap(), Threads::new(2).unwrap());
    let run = |work: &(dyn Fn([usize; 4]) + Sync)| {
        for shape in shapes {
            if shape[0] == 1 { one.run(|| work(shape)) } else { two.run(|| work(shape)) }
        }
    };
    run(&|shape| depthwise("depthwise", shape, 1));
    run(&|shape| depthwise("depthwise", shape, 2));
    for training_mode in [true, false] {
        let op = Op::BatchNormalization(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode });
        run(&|shape| {
            let channels = Some(vec![shape[1]]);
            let inputs: Vec<_> =
                std::iter::once(Some(shape.to_vec())).chain(std::iter::repeat_n(channels.clone(), 4)).collect();
            let others = std::iter::repeat_n(channels, if training_mode { 4 } else { 0 });
            let outputs: Vec<_> = std::iter::once(Some(shape.to_vec())).chain(others).collect();
            report(&format!("normalization {training_mode} {shape:?}"), &op, &inputs, &outputs, 3);
        });
    }
    let halved = |shape: [usize; 4]| Some(vec![shape[0], shape[1], shape[2] / 2, shape[3] / 2]);
    let (kernel_shape, strides) = (vec![2, 2], vec![2, 2]);
    let (pads, dilations) = (vec![], vec![]);
    let (auto_pad, ceil_mode) = (AutoPad::NotSet, false);
    let maximum = MaxPool {
        auto_pad,
        ceil_mode,
        dilations: vec![],
        pads: vec![],
        kernel_shape: kernel_shape.clone(),
        strides: strides.clone(),
        storage_order: false,
    };
    let average = AveragePool { auto_pad, ceil_mode, dilations, pads, kernel_shape, strides, count_include_pad: false };
    for (name, op) in [("maximum", Op::MaxPool(maximum)), ("average", Op::AveragePool(average))] {
        run(&|shape| report(&format!("{name} {shape:?}"), &op, &[Some(shape.to_vec())], &[halved(shape)], 1));
    }
    let global = Op::GlobalAveragePool(GlobalAveragePool {});
    run(&|shape| {
        let y = Some(vec![shape[0], shape[1], 1, 1]);
        report(&format!("global average {shape:?}"), &global, &[Some(shape.to_vec())], &[y], 1);
    });
}
