//! Sparse kernels against the reference evaluator, whatever share of the weights is zero.

use proptest::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv};
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

use super::lookup::Kind;
use super::windows::Windows;
use super::{convolution, matrix_product, values};
use crate::kernels::arrangement::Layout;
use crate::kernels::call::{Context, Region};
use crate::kernels::convolution::geometry::Geometry;
use crate::kernels::testing::{difference, reference};
use crate::kernels::{Call, Epilogue, NodeType, ValueType, Zeros};

fn random(shape: &[usize], stream: u64) -> Tensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|index| Stream::new(3, stream).normal(index as u64) as f32).collect();
    Tensor::from_values(shape.to_vec(), values).unwrap()
}

/// How zeros lie among the weights `[rows, inner]`.
#[derive(Debug, Clone, Copy)]
enum Pattern {
    /// Each weight by itself.
    Random(f64),
    /// Whole rows.
    Rows,
    /// Two of four in a row.
    TwoOfFour,
    /// Blocks of so many rows by so many columns.
    Blocks(usize, usize),
}

fn sparse(shape: &[usize], pattern: Pattern, stream: u64) -> Tensor {
    let mut weights = values(&random(shape, stream)).unwrap();
    let inner = shape[1..].iter().product::<usize>().max(1);
    let chance = |index: usize| Stream::new(4, stream).uniform(index as u64);
    for (index, weight) in weights.iter_mut().enumerate() {
        let (row, column) = (index / inner, index % inner);
        let drop = match pattern {
            Pattern::Random(zeros) => chance(index) < zeros,
            Pattern::Rows => chance(row) < 0.5,
            Pattern::TwoOfFour => column % 4 == row % 4 || (column + 1) % 4 == row % 4,
            Pattern::Blocks(rows, columns) => chance(row / rows * inner + column / columns) < 0.8,
        };
        if drop {
            // Some are zeros that training has not quite made so.
            *weight = if index % 3 == 0 { 1e-40 } else { 0.0 };
        }
    }
    Tensor::from_values(shape.to_vec(), weights).unwrap()
}

fn patterns() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        prop_oneof![Just(0.0), Just(0.5), Just(0.9), Just(1.1)].prop_map(Pattern::Random),
        Just(Pattern::Rows),
        Just(Pattern::TwoOfFour),
        prop_oneof![Just((1, 4)), Just((4, 1)), Just((16, 1))]
            .prop_map(|(rows, columns)| Pattern::Blocks(rows, columns)),
    ]
}

/// What the sparse kernel makes of a node whose second input is constant, with steps taken into it. If something is
/// added, it is the last input.
fn run(op: &Op, inputs: &[Tensor], shape: &[usize], steps: &[Epilogue]) -> Option<Tensor> {
    let inputs_of_op = inputs.len() - usize::from(steps.iter().any(|step| matches!(step, Epilogue::Add { .. })));
    let mut types: Vec<_> = inputs[..inputs_of_op]
        .iter()
        .map(|input| Some(ValueType::new(ElementType::F32, input.shape().to_vec())))
        .collect();
    types[1].as_mut().unwrap().constant = Some(inputs[1].clone());
    let outputs = [Some(ValueType::new(ElementType::F32, shape.to_vec()))];
    let node = NodeType { op, inputs: &types, outputs: &outputs, layout: Layout::Plain, zeros: Zeros::default() };
    let weights = values(&inputs[1]).unwrap();
    let mut kernel = match op {
        Op::Conv(op) => {
            let geometry = Geometry::of_conv(op, inputs[0].shape(), inputs[1].shape(), shape)?;
            if geometry.is_empty() {
                return None;
            }
            convolution(&node, &geometry, &weights)?
        }
        _ => matrix_product(&node, &weights)?,
    };
    assert!(steps.iter().all(|step| kernel.absorb(step)));
    assert!(steps.is_empty() || !kernel.absorb(&Epilogue::Add { slot: 1 }), "a second addition");
    let mut data: Vec<_> = inputs.iter().map(|input| values(input).unwrap()).collect();
    assert!(!kernel.reads(1));
    data[1].fill(f32::NAN);
    let mut scratch = vec![f32::NAN; kernel.scratch()];
    let mut result = vec![f32::NAN; shape.iter().product()];
    let inputs: Vec<_> = data.iter_mut().map(|data| Some(Region::of(data.as_mut_slice()))).collect();
    let outputs = [Some(Region::of(result.as_mut_slice()))];
    // SAFETY: every region is a vector of its own.
    #[allow(unsafe_code)]
    let mut call = unsafe { Call::new(&inputs, &outputs, Region::of(scratch.as_mut_slice()), Context::default()) };
    kernel.run(&mut call).unwrap();
    Some(Tensor::from_values(shape.to_vec(), result).unwrap())
}

/// Compares a sparse kernel with the reference, alone and with steps taken into it.
fn check(op: &Op, inputs: &[Tensor]) {
    let optional: Vec<_> = inputs.iter().cloned().map(Some).collect();
    let expected = reference(op, &optional, 1).remove(0);
    let shape = expected.shape().to_vec();
    let Some(found) = run(op, inputs, &shape, &[]) else { return };
    let most = difference(&found, &expected);
    assert!(most < 1e-4, "{op:?} {:?} {:?}: {most}", inputs[0].shape(), inputs[1].shape());
    let addend = random(&shape, 9);
    let steps = [Epilogue::Add { slot: inputs.len() }, Epilogue::Clamp { low: 0.0, high: 0.75 }];
    let plus = values(&expected).unwrap().into_iter().zip(values(&addend).unwrap()).map(|(a, b)| a + b);
    let expected = Tensor::from_values(shape.clone(), plus.map(|sum| sum.clamp(0.0, 0.75)).collect()).unwrap();
    let mut inputs = inputs.to_vec();
    inputs.push(addend);
    let found = run(op, &inputs, &shape, &steps).unwrap();
    let most = difference(&found, &expected);
    assert!(most < 1e-4, "{op:?} with steps: {most}");
}

fn conv(group: usize, strides: &[i64], pads: &[i64], dilations: &[i64]) -> Op {
    Op::Conv(Conv {
        auto_pad: AutoPad::NotSet,
        dilations: dilations.to_vec(),
        group: group as i64,
        kernel_shape: vec![],
        pads: pads.to_vec(),
        strides: strides.to_vec(),
    })
}

/// One spatial axis: length, taps, stride, dilation, padding before and after.
fn axis() -> impl Strategy<Value = [usize; 6]> {
    (1usize..=20, 1usize..=4, 1usize..=3, 1usize..=2, 0usize..=3, 0usize..=3)
        .prop_map(|(length, taps, stride, dilation, begin, end)| [length, taps, stride, dilation, begin, end])
        .prop_filter("a window", |[length, taps, _, dilation, begin, end]| length + begin + end > (taps - 1) * dilation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn convolutions(
        axes in prop::collection::vec(axis(), 1..=3),
        (images, groups, features, spread) in (1usize..=3, 1usize..=3, 1usize..=9, 1usize..=5),
        pattern in patterns(),
        bias in any::<bool>(),
    ) {
        let pick = |index: usize| axes.iter().map(|axis| axis[index]).collect::<Vec<_>>();
        let signed = |index: usize| axes.iter().map(|axis| axis[index] as i64).collect::<Vec<_>>();
        let op = conv(groups, &signed(2), &[signed(4), signed(5)].concat(), &signed(3));
        let x = random(&[vec![images, groups * spread], pick(0)].concat(), 1);
        let weights = sparse(&[vec![groups * features, spread], pick(1)].concat(), pattern, 2);
        let mut inputs = vec![x, weights];
        if bias {
            inputs.push(random(&[groups * features], 3));
        }
        check(&op, &inputs);
    }

    #[test]
    fn products(
        (rows, inner, columns) in (prop_oneof![1usize..=3, 1usize..=40, 60usize..=140], 1usize..=90, 1usize..=40),
        pattern in patterns(),
        trans_b in any::<bool>(),
        bias in 0..4,
    ) {
        let weights = sparse(&[columns, inner], pattern, 2);
        let turned = |weights: &Tensor| {
            let op = Op::Transpose(slimnet_graph::ops::layout::Transpose { perm: Some(vec![1, 0]) });
            reference(&op, &[Some(weights.clone())], 1).remove(0)
        };
        let x = random(&[rows, inner], 1);
        check(&Op::MatMul(MatMul {}), &[x.clone(), turned(&weights)]);
        let op = Op::Gemm(Gemm { alpha: 0.5, beta: 1.5, transA: false, transB: trans_b });
        let mut inputs = vec![x, if trans_b { weights } else { turned(&weights) }];
        match bias {
            0 => (),
            1 => inputs.push(random(&[columns], 3)),
            2 => inputs.push(random(&[1, columns], 3)),
            _ => inputs.push(random(&[], 3)),
        }
        check(&op, &inputs);
    }
}

#[test]
fn shapes_of_networks() {
    let shapes: [([usize; 4], usize, usize, i64, i64, usize); 8] = [
        ([1, 16, 32, 32], 16, 3, 1, 1, 1),
        ([5, 16, 32, 32], 32, 3, 2, 1, 1),
        ([1, 64, 8, 8], 64, 3, 1, 1, 1),
        ([1, 16, 32, 32], 32, 1, 2, 0, 1),
        ([2, 32, 14, 14], 64, 1, 1, 0, 1),
        ([1, 256, 7, 7], 256, 3, 1, 1, 1),
        ([2, 8, 64, 120], 6, 5, 1, 2, 2),
        ([3, 20, 4, 4], 50, 4, 1, 0, 1),
    ];
    for (x, features, taps, stride, pad, groups) in shapes {
        let op = conv(groups, &[stride; 2], &[pad; 4], &[]);
        for pattern in [Pattern::Random(0.9), Pattern::Blocks(4, 1), Pattern::TwoOfFour] {
            let weights = sparse(&[features, x[1] / groups, taps, taps], pattern, 2);
            check(&op, &[random(&x, 1), weights, random(&[features], 3)]);
        }
    }
    for (rows, inner, columns) in [(1, 784, 300), (2, 300, 100), (64, 512, 512), (1, 4096, 1500), (300, 1, 1)] {
        let op = Op::MatMul(MatMul {});
        for pattern in [Pattern::Random(0.9), Pattern::Blocks(1, 4)] {
            check(&op, &[random(&[rows, inner], 1), sparse(&[inner, columns], pattern, 2)]);
        }
    }
}

/// Vectors of other kinds than the widest are right too, and windows waste little.
#[test]
fn windows_of_all_kinds() {
    for (rows, inner) in [(300, 784), (7, 20), (1, 1), (40, 33), (100, 300)] {
        for zeros in [0.0, 0.5, 0.9, 0.99, 1.1] {
            let weights = values(&sparse(&[rows, inner], Pattern::Random(zeros), 1)).unwrap();
            let x = values(&random(&[inner], 2)).unwrap();
            for kind in [Kind::Widest, Kind::Half, Kind::Elements] {
                let windows = Windows::new(kind, &weights, rows, inner);
                let mut sums = vec![f32::NAN; windows.padded()];
                windows.run(&x, &mut sums);
                for row in 0..rows {
                    let products = weights[row * inner..][..inner].iter().zip(&x);
                    let expected: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    let found = f64::from(sums[windows.sums[row] as usize]);
                    assert!((found - expected).abs() < 1e-3, "{kind:?} {rows} {inner} {zeros}: {found} {expected}");
                }
                if rows == 300 {
                    let used = weights.iter().filter(|&&weight| weight.abs() > 1e-30).count();
                    println!("{kind:?} {zeros}: {:.2} of the places used", used as f64 / windows.work() as f64);
                    assert!(zeros > 0.9 || used * 2 > windows.work(), "{kind:?} {zeros}");
                }
            }
        }
    }
}

/// What is not a number in an input reaches each sum that has a weight for it, and passes through clamps.
#[test]
fn not_a_number_survives() {
    let mut x = values(&random(&[1, 2, 6, 6], 1)).unwrap();
    x[36 + 14] = f32::NAN;
    let x = Tensor::from_values(vec![1, 2, 6, 6], x).unwrap();
    let mut weights = vec![0f32; 2 * 2 * 9];
    (weights[4], weights[18 + 9 + 4], weights[18 + 9]) = (1.0, 2.0, 1.0);
    let weights = Tensor::from_values(vec![2, 2, 3, 3], weights).unwrap();
    let clamp = Epilogue::Clamp { low: 0.0, high: f32::INFINITY };
    let found = run(&conv(1, &[], &[1; 4], &[]), &[x, weights], &[1, 2, 6, 6], &[clamp]).unwrap();
    let found: Vec<usize> =
        values(&found).unwrap().iter().enumerate().filter(|(_, y)| y.is_nan()).map(|(i, _)| i).collect();
    assert_eq!(found, [36 + 14, 36 + 21]);
}
