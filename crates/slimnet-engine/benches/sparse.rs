//! Time of convolutions and matrix products with constant weights, some of which are zeros, beside the dense kernels.
//! On one thread.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use slimnet_engine::kernels::arrangement::Layout;
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::{Call, Context, Kernel, NodeType, ValueType, Zeros, prepare};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::ops::product::Gemm;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// A kernel with memory of its own.
struct Bench {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Vec<f32>>,
    output: Vec<f32>,
    scratch: Vec<f32>,
}

fn random(count: usize, stream: u64) -> Vec<f32> {
    (0..count).map(|index| Stream::new(1, stream).normal(index as u64) as f32).collect()
}

impl Bench {
    /// A kernel for inputs of these shapes, the second of which has so many zeros, or is not known before the run.
    fn new(op: &Op, shapes: &[Vec<usize>], output: &[usize], zeros: Option<f64>) -> Self {
        let mut inputs: Vec<_> = (0..).zip(shapes).map(|(slot, shape)| random(shape.iter().product(), slot)).collect();
        let mut types: Vec<_> =
            shapes.iter().map(|shape| Some(ValueType::new(ElementType::F32, shape.clone()))).collect();
        if let Some(zeros) = zeros {
            let chance = Stream::new(2, 1);
            for (index, weight) in inputs[1].iter_mut().enumerate() {
                *weight = if chance.uniform(index as u64) < zeros { 0.0 } else { *weight };
            }
            let constant = Tensor::from_values(shapes[1].clone(), inputs[1].clone()).unwrap();
            types[1].as_mut().unwrap().constant = Some(constant);
        }
        let outputs = [Some(ValueType::new(ElementType::F32, output.to_vec()))];
        let kernel = prepare(&NodeType {
            op,
            inputs: &types,
            outputs: &outputs,
            layout: Layout::Plain,
            zeros: Zeros::default(),
        })
        .unwrap();
        Self { scratch: vec![0.0; kernel.scratch()], kernel, inputs, output: vec![0.0; output.iter().product()] }
    }

    fn run(&mut self) {
        let inputs: Vec<_> = self.inputs.iter_mut().map(|data| Some(Region::of(data.as_mut_slice()))).collect();
        let outputs = [Some(Region::of(self.output.as_mut_slice()))];
        let scratch = Region::of(self.scratch.as_mut_slice());
        // SAFETY: every region is a vector of its own, borrowed for the whole run.
        #[allow(unsafe_code)]
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, Context::default()) };
        self.kernel.run(&mut call).unwrap();
        black_box(&self.output);
    }
}

/// Dense, then with more and more zeros.
fn compare(criterion: &mut Criterion, name: &str, op: &Op, shapes: &[Vec<usize>], output: &[usize]) {
    let threads = Threads::new(1).unwrap();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(150));
    for zeros in [None, Some(0.7), Some(0.8), Some(0.9), Some(0.95), Some(0.99)] {
        let mut bench = Bench::new(op, shapes, output, zeros);
        let part = zeros.map_or("dense".to_string(), |zeros| format!("{:.0} % zeros", zeros * 100.0));
        group.bench_function(part, |bencher| threads.run(|| bencher.iter(|| bench.run())));
    }
    group.finish();
}

/// Name, input, output channels, kernel, stride, padding, groups.
type Shape = (&'static str, [usize; 4], usize, usize, usize, usize, usize);

fn convolutions(criterion: &mut Criterion) {
    let shapes: [Shape; 9] = [
        ("resnet20 first", [1, 3, 32, 32], 16, 3, 1, 1, 1),
        ("resnet20 stage 1", [1, 16, 32, 32], 16, 3, 1, 1, 1),
        ("resnet20 stage 2 begin", [1, 16, 32, 32], 32, 3, 2, 1, 1),
        ("resnet20 stage 2 shortcut", [1, 16, 32, 32], 32, 1, 2, 0, 1),
        ("resnet20 stage 2", [1, 32, 16, 16], 32, 3, 1, 1, 1),
        ("resnet20 stage 3", [1, 64, 8, 8], 64, 3, 1, 1, 1),
        ("pointwise", [1, 64, 14, 14], 128, 1, 1, 0, 1),
        ("resnet18 stage 2", [1, 128, 28, 28], 128, 3, 1, 1, 1),
        ("depthwise", [1, 64, 24, 24], 64, 3, 1, 1, 64),
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
        let y = [x[0], features, length(x[2]), length(x[3])];
        let inputs = [x.to_vec(), vec![features, x[1] / groups, kernel, kernel], vec![features]];
        compare(criterion, name, &op, &inputs, &y);
    }
}

fn products(criterion: &mut Criterion) {
    let op = Op::Gemm(Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: true });
    for (rows, inner, columns) in
        [(1, 784, 300), (1, 300, 100), (1, 100, 10), (1, 512, 512), (4, 512, 512), (16, 512, 512), (64, 512, 512)]
    {
        let inputs = [vec![rows, inner], vec![columns, inner], vec![columns]];
        compare(criterion, &format!("{inner} to {columns}, batch {rows}"), &op, &inputs, &[rows, columns]);
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    convolutions(&mut criterion);
    products(&mut criterion);
    criterion.final_summary();
}
