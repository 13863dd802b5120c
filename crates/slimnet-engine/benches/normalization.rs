//! Time of normalisations, dropout and small products with their gradients: `cargo bench --bench normalization`.
//!
//! Each shape is run forward and backward, on all processors.
#![allow(unsafe_code, missing_docs)] // memory of kernels; a function that a macro makes

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slimnet_engine::kernels::arrangement::Layout;
use slimnet_engine::kernels::call::Region;
use slimnet_engine::kernels::{Call, Context, Kernel, NodeType, ValueType, Zeros, prepare};
use slimnet_engine::threads::Threads;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::{BatchNormalization, Dropout, LayerNormalization};
use slimnet_graph::ops::product::Gemm;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// A kernel and the memory that it runs on.
struct Prepared {
    kernel: Box<dyn Kernel>,
    memory: Vec<Vec<u64>>,
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
    scratch: Vec<f32>,
}

/// Numbers of a value: positive, so that variances are such.
fn data(value: &ValueType, stream: u64) -> Vec<u64> {
    let bytes = value.element_type.byte_count(value.len()).unwrap();
    let mut memory = vec![0u64; bytes.div_ceil(8)];
    if value.is_f32() {
        let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut memory);
        floats.iter_mut().enumerate().for_each(|(i, x)| *x = Stream::new(3, stream).uniform(i as u64) as f32 + 0.5);
    } else {
        memory.fill(0x0101_0001_0001_0101);
    }
    memory
}

impl Prepared {
    fn new(op: &Op, inputs: &[Option<ValueType>], outputs: &[Option<ValueType>]) -> Self {
        let kernel =
            prepare(&NodeType { op, inputs, outputs, layout: Layout::Plain, zeros: Zeros::default() }).unwrap();
        let mut memory = Vec::new();
        let mut place = |value: &Option<ValueType>| {
            value.as_ref().map(|value| {
                memory.push(data(value, memory.len() as u64));
                memory.len() - 1
            })
        };
        let [inputs, outputs] = [inputs, outputs].map(|values| values.iter().map(&mut place).collect());
        let scratch = vec![0.0; kernel.scratch()];
        Self { kernel, memory, inputs, outputs, scratch }
    }

    fn run(&mut self) {
        let regions: Vec<_> = self.memory.iter_mut().map(|memory| Region::of(memory.as_mut_slice())).collect();
        let of = |places: &[Option<usize>]| places.iter().map(|place| place.map(|place| regions[place])).collect();
        let (inputs, outputs): (Vec<_>, Vec<_>) = (of(&self.inputs), of(&self.outputs));
        let scratch = Region::of(self.scratch.as_mut_slice());
        let context = Context { seed: 1, step: 2, node: 3 };
        // SAFETY: every region is a vector of its own.
        let mut call = unsafe { Call::new(&inputs, &outputs, scratch, context) };
        self.kernel.run(&mut call).unwrap();
        black_box(&self.memory);
    }
}

/// Measures an operator and its gradient; `wanted` inputs have one, and outputs beside the first do not.
fn measure(c: &mut Criterion, name: &str, op: &Op, inputs: &[ValueType], outputs: &[ValueType], wanted: &[usize]) {
    let some = |values: &[ValueType]| values.iter().cloned().map(Some).collect::<Vec<_>>();
    // As in training, kernels are called on a thread of the pool.
    let pool = Threads::new(0).unwrap();
    let label = format!("{:?}", inputs[0].shape);
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(inputs[0].len() as u64));
    let mut forward = Prepared::new(op, &some(inputs), &some(outputs));
    group.bench_function(BenchmarkId::new("forward", &label), |bencher| pool.run(|| bencher.iter(|| forward.run())));
    let mut all = [some(inputs), some(outputs), some(&outputs[..1])].concat();
    all.resize(inputs.len() + 2 * outputs.len(), None);
    let gradients: Vec<_> =
        inputs.iter().enumerate().map(|(slot, input)| wanted.contains(&slot).then(|| input.clone())).collect();
    let gradient = Gradient { of: op.clone(), inputs: inputs.len(), outputs: outputs.len() };
    let mut backward = Prepared::new(&Op::Gradient(Box::new(gradient)), &all, &gradients);
    group.bench_function(BenchmarkId::new("gradient", &label), |bencher| pool.run(|| bencher.iter(|| backward.run())));
    group.finish();
}

fn single(shape: &[usize]) -> ValueType {
    ValueType::new(ElementType::F32, shape.to_vec())
}

fn constant(data: Tensor) -> ValueType {
    ValueType { element_type: data.element_type(), shape: data.shape().to_vec(), constant: Some(data) }
}

fn normalizations(c: &mut Criterion) {
    for shape in [[64, 16, 32, 32], [64, 64, 8, 8], [64, 256, 2, 2], [64, 128, 1, 1]] {
        let op = Op::from(BatchNormalization { epsilon: 1e-5, momentum: 0.9, training_mode: true });
        let (x, channel) = (single(&shape), single(&shape[1..2]));
        let [mut inputs, mut outputs] = [vec![x.clone()], vec![x]];
        inputs.resize(5, channel.clone());
        outputs.resize(5, channel);
        measure(c, "batch normalization", &op, &inputs, &outputs, &[0, 1, 2]);
    }
    for shape in [[64 * 16, 128], [8 * 128, 768]] {
        let op = Op::from(LayerNormalization { axis: -1, epsilon: 1e-5, stash_type: 1 });
        let inputs = [single(&shape), single(&shape[1..]), single(&shape[1..])];
        measure(c, "layer normalization", &op, &inputs, &[single(&shape)], &[0, 1, 2]);
    }
    let shape = [64, 128, 64];
    let yes = Tensor::from_f64s(ElementType::Bool, vec![], vec![1.0]).unwrap();
    let inputs = [single(&shape), constant(Tensor::scalar(0.3f32)), constant(yes)];
    let outputs = [single(&shape), ValueType::new(ElementType::Bool, shape.to_vec())];
    measure(c, "dropout", &Op::from(Dropout { seed: None }), &inputs, &outputs, &[0]);
}

fn products(c: &mut Criterion) {
    for (inner, columns) in [(784, 300), (300, 100), (100, 10)] {
        let op = Op::Gemm(Gemm { alpha: 1.0, beta: 1.0, transA: false, transB: true });
        let inputs = [single(&[64, inner]), single(&[columns, inner]), single(&[columns])];
        measure(c, "gemm", &op, &inputs, &[single(&[64, columns])], &[0, 1, 2]);
    }
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700));
    targets = normalizations, products
}
criterion_main!(all);
