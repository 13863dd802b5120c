//! Time of convolutions, forward and all gradients, in the shapes of real networks.

use std::hint::black_box;

use criterion::Criterion;
use slimnet_engine::kernels::arrangement::{Arrangement, Layout, channels_last, follows_layout};
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::{Call, Context, Kernel, NodeType, ValueType, Zeros, arrangement, prepare};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::tensor::ElementType;

/// A kernel with memory of its own.
struct Bench {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

impl Bench {
    /// `None` if the operator has no kernel for the layout. Shapes are plain.
    fn new(op: &Op, inputs: &[Vec<usize>], outputs: &[Option<Vec<usize>>], layout: Layout) -> Option<Self> {
        let value = |shape: &Vec<usize>| ValueType::new(ElementType::F32, shape.clone());
        let mut types: Vec<_> = inputs.iter().map(|shape| Some(value(shape))).collect();
        let mut results: Vec<_> = outputs.iter().map(|shape| shape.as_ref().map(value)).collect();
        if layout == Layout::ChannelsLast {
            let node =
                NodeType { op, inputs: &types, outputs: &results, layout: Layout::Plain, zeros: Zeros::default() };
            if arrangement(&node) != Arrangement::ChannelsLast {
                return None;
            }
            for values in [&mut types, &mut results] {
                for (slot, value) in values.iter_mut().enumerate() {
                    if let Some(value) = value.as_mut().filter(|value| follows_layout(op, value.shape.len(), slot)) {
                        value.shape = channels_last(&value.shape);
                    }
                }
            }
        }
        let kernel =
            prepare(&NodeType { op, inputs: &types, outputs: &results, layout, zeros: Zeros::default() }).unwrap();
        let filled = |value: &ValueType| (0..value.len()).map(|index| (index % 17) as f32 - 8.0).collect();
        Some(Self {
            scratch: vec![0.0; kernel.scratch()],
            kernel,
            inputs: types.iter().flatten().map(filled).collect(),
            outputs: results.iter().map(|value| value.as_ref().map_or(Vec::new(), filled)).collect(),
        })
    }

    fn run(&mut self) {
        let inputs: Vec<_> = self.inputs.iter_mut().map(|data| Some(Region::of(data.as_mut_slice()))).collect();
        let outputs: Vec<_> =
            self.outputs.iter_mut().map(|data| (!data.is_empty()).then(|| Region::of(data.as_mut_slice()))).collect();
        let scratch = Region::of(self.scratch.as_mut_slice());
        // SAFETY: every region is a vector of its own, borrowed for the whole run.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, Context::default()) };
        self.kernel.run(&mut call).unwrap();
        black_box(&self.outputs);
    }
}

/// Name, input, output channels, kernel, stride, padding, groups.
type Shape = (&'static str, [usize; 4], usize, usize, usize, usize, usize);

fn convolutions(criterion: &mut Criterion) {
    let threads = Threads::new(0).unwrap();
    let shapes: [Shape; 16] = [
        ("resnet20 first", [64, 3, 32, 32], 16, 3, 1, 1, 1),
        ("resnet20 stage 1", [64, 16, 32, 32], 16, 3, 1, 1, 1),
        ("resnet20 stage 2 begin", [64, 16, 32, 32], 32, 3, 2, 1, 1),
        ("resnet20 stage 2", [64, 32, 16, 16], 32, 3, 1, 1, 1),
        ("resnet20 stage 2 shortcut", [64, 16, 32, 32], 32, 1, 2, 0, 1),
        ("resnet20 stage 3 begin", [64, 32, 16, 16], 64, 3, 2, 1, 1),
        ("resnet20 stage 3", [64, 64, 8, 8], 64, 3, 1, 1, 1),
        ("lenet first", [64, 1, 28, 28], 20, 5, 1, 0, 1),
        ("lenet second", [64, 20, 12, 12], 50, 5, 1, 0, 1),
        ("depthwise", [64, 64, 24, 24], 64, 3, 1, 1, 64),
        ("depthwise stride 2", [64, 64, 24, 24], 64, 3, 2, 1, 64),
        ("pointwise", [64, 64, 24, 24], 64, 1, 1, 0, 1),
        ("resnet18 stage 2", [8, 128, 28, 28], 128, 3, 1, 1, 1),
        ("resnet18 stage 4", [8, 512, 7, 7], 512, 3, 1, 1, 1),
        ("resnet18 stage 2, one image", [1, 128, 28, 28], 128, 3, 1, 1, 1),
        ("one position", [64, 256, 4, 4], 128, 4, 1, 0, 1),
    ];
    for (name, x, features, kernel, stride, pad, groups) in shapes {
        let op = Op::Conv(Conv {
            auto_pad: AutoPad::NotSet,
            dilations: vec![],
            group: groups as i64,
            kernel_shape: vec![],
            pads: vec![pad as i64; 4],
            strides: vec![stride as i64; 2],
        });
        let length = |length: usize| (length + 2 * pad - kernel) / stride + 1;
        let y = vec![x[0], features, length(x[2]), length(x[3])];
        let inputs = vec![x.to_vec(), vec![features, x[1] / groups, kernel, kernel], vec![features]];
        let mut all = inputs.clone();
        all.extend([y.clone(), y.clone()]);
        let gradient = Op::Gradient(Box::new(Gradient { of: op.clone(), inputs: 3, outputs: 1 }));
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(std::time::Duration::from_millis(100));
        group.measurement_time(std::time::Duration::from_millis(400));
        for (layout, of) in [(Layout::Plain, ""), (Layout::ChannelsLast, ", channels last")] {
            let mut run = |part: &str, op: &Op, inputs: &[Vec<usize>], outputs: &[Option<Vec<usize>>]| {
                if let Some(mut bench) = Bench::new(op, inputs, outputs, layout) {
                    let name = format!("{part}{of}");
                    group.bench_function(name, |bencher| threads.run(|| bencher.iter(|| bench.run())));
                }
            };
            run("forward", &op, &inputs, &[Some(y.clone())]);
            for (part, slot) in [("gradient of input", 0), ("gradient of weights", 1)] {
                let wanted: Vec<_> = (0..3).map(|index| (index == slot).then(|| inputs[index].clone())).collect();
                run(part, &gradient, &all, &wanted);
            }
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    convolutions(&mut criterion);
    criterion.final_summary();
}
