//! Elementwise kernels against the reference evaluator and finite differences.

use slimnet_engine::Threads;
use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::elementwise::{
    Binary, Celu, Clip, Elu, Gelu, GeluApproximation, HardSigmoid, LeakyRelu, Selu, Shrink, Swish, ThresholdedRelu,
    Unary, Variadic, Where,
};
use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;

/// Numbers in a range, none within 0.01 of a multiple of a half: kinks lie there.
fn numbers(shape: &[usize], low: f64, high: f64, stream: u64) -> Tensor {
    let count: usize = shape.iter().product();
    let number = |index: u64| {
        let x = low + (high - low) * Stream::new(9, stream).uniform(index);
        let nearest = (2.0 * x).round() / 2.0;
        if (x - nearest).abs() < 0.01 { nearest + 0.02 } else { x }
    };
    Tensor::from_values(shape.to_vec(), (0..count as u64).map(|index| number(index) as f32).collect()).unwrap()
}

fn check(op: &Op, inputs: &[Option<Tensor>], wanted: &[usize]) {
    let forward = compare_forward(op, inputs, 1, |_| false).unwrap();
    assert!(forward < 2e-6, "{op:?}: {forward}");
    if !wanted.is_empty() {
        let gradient = compare_gradient(op, inputs, 1, wanted, |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient of {op:?}: {gradient}");
    }
}

#[test]
fn functions_of_one_number() {
    for kind in Unary::ALL {
        let (low, high) = match kind {
            Unary::BitwiseNot | Unary::Not | Unary::IsNaN | Unary::Identity => continue,
            Unary::Acos | Unary::Asin | Unary::Atanh => (-0.95, 0.95),
            Unary::Acosh => (1.1, 4.0),
            Unary::Log | Unary::Sqrt | Unary::Reciprocal => (0.3, 4.0),
            Unary::Tan => (-1.2, 1.2),
            _ => (-4.0, 4.0),
        };
        let flat = matches!(kind, Unary::Ceil | Unary::Floor | Unary::Round | Unary::Sign);
        check(&Op::Unary(*kind), &[Some(numbers(&[3, 11], low, high, 1))], if flat { &[] } else { &[0] });
    }
    let ops = [
        Op::LeakyRelu(LeakyRelu { alpha: 0.1 }),
        Op::Elu(Elu { alpha: 1.5 }),
        Op::Selu(Selu { alpha: 1.6, gamma: 1.05 }),
        Op::Celu(Celu { alpha: 1.5 }),
        Op::HardSigmoid(HardSigmoid { alpha: 0.2, beta: 0.5 }),
        Op::ThresholdedRelu(ThresholdedRelu { alpha: 1.0 }),
        Op::Gelu(Gelu { approximate: GeluApproximation::None }),
        Op::Gelu(Gelu { approximate: GeluApproximation::Tanh }),
        Op::Swish(Swish { alpha: 1.5 }),
        Op::Shrink(Shrink { bias: 0.25, lambd: 0.5 }),
    ];
    for op in ops {
        check(&op, &[Some(numbers(&[40], -4.0, 4.0, 2))], &[0]);
    }
    let x = || Some(numbers(&[40], -4.0, 4.0, 3));
    let limit = |value: f32| Some(Tensor::scalar(value));
    check(&Op::Clip(Clip {}), &[x(), limit(0.0), limit(1.5)], &[0]);
    check(&Op::Clip(Clip {}), &[x(), None, limit(1.5)], &[0]);
    check(&Op::Clip(Clip {}), &[x()], &[0]);
}

#[test]
fn nothing_that_is_no_number_is_lost() {
    let x = Some(Tensor::vector(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e38]));
    for kind in [Unary::Relu, Unary::HardSwish, Unary::Sign, Unary::Sigmoid, Unary::Tanh, Unary::Erf, Unary::Softplus] {
        check(&Op::Unary(kind), std::slice::from_ref(&x), &[]);
    }
    check(&Op::Clip(Clip {}), &[x.clone(), Some(Tensor::scalar(0f32)), Some(Tensor::scalar(6f32))], &[]);
    for kind in [Variadic::Max, Variadic::Min] {
        check(&Op::Variadic(kind), &[x.clone(), Some(Tensor::scalar(0f32))], &[]);
    }
}

#[test]
fn functions_of_two_numbers_broadcast() {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 3, 2, 2], &[3, 1, 1]),
        (&[3, 1], &[1, 4]),
        (&[], &[2, 3]),
        (&[1], &[]),
        (&[2, 1, 3], &[4, 1]),
        (&[0, 3], &[3]),
        (&[5, 1, 2], &[5, 3, 2]),
    ];
    for kind in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Pow, Binary::PRelu] {
        for (a, b) in shapes {
            // PRelu's slope must be of a shape that broadcasts to x.
            if kind == Binary::PRelu && (a.len() < b.len() || a.contains(&1)) {
                continue;
            }
            let (low, high) = if kind == Binary::PRelu { (-3.0, 3.0) } else { (0.3, 3.0) };
            check(&Op::Binary(kind), &[Some(numbers(a, low, high, 1)), Some(numbers(b, 0.3, 3.0, 2))], &[0, 1]);
        }
    }
}

#[test]
fn functions_of_many_numbers() {
    for kind in Variadic::ALL {
        let shapes: [&[usize]; 3] = [&[2, 3], &[3], &[2, 1]];
        let inputs = shapes.iter().enumerate();
        let inputs: Vec<_> = inputs.map(|(i, shape)| Some(numbers(shape, -3.0, 3.0, i as u64))).collect();
        check(&Op::Variadic(*kind), &inputs, &[0, 1, 2]);
        check(&Op::Variadic(*kind), &inputs[..1], &[0]);
    }
    let condition = Some(Tensor::from_f64s(ElementType::Bool, vec![2, 1], vec![1.0, 0.0]).unwrap());
    check(
        &Op::Where(Where {}),
        &[condition, Some(numbers(&[3], -1.0, 1.0, 1)), Some(numbers(&[2, 3], -1.0, 1.0, 2))],
        &[1, 2],
    );
}

/// The product of IEEE 754, and a gradient that is 0 wherever the weight is masked.
#[test]
fn masks_multiply() {
    let mask = Some(Tensor::from_values(vec![2, 3], vec![1u8, 0, 1, 0, 0, 1]).unwrap());
    let op = Op::Mask(Mask {});
    check(&op, &[Some(numbers(&[2, 3], -3.0, 3.0, 1)), mask.clone()], &[0]);
    let w = Tensor::from_values(vec![2, 3], vec![-0.0f32, -2.0, f32::NAN, f32::NAN, 3.0, 1e-38]).unwrap();
    let of_one = [Some(ValueType::new(ElementType::F32, vec![2, 3]))];
    let inputs = [Some(w), mask.clone()];
    let found = run(&op, &inputs, &of_one, |_| false, Context::default()).unwrap().remove(0).unwrap();
    let found = found.values::<f32>().unwrap().into_owned();
    assert_eq!(found[..2].iter().map(|value| value.to_bits()).collect::<Vec<_>>(), [(-0f32).to_bits(); 2]);
    assert!(found[2].is_nan() && found[3].is_nan());
    assert_eq!(found[4..], [0.0, 1e-38]);
    let gradient = Op::Gradient(Box::new(Gradient { of: op, inputs: 2, outputs: 1 }));
    let dy = numbers(&[2, 3], 0.5, 2.0, 2);
    let given = dy.values::<f32>().unwrap().into_owned();
    let types = [of_one[0].clone(), None];
    let inputs = [None, mask, None, Some(dy)];
    let found = run(&gradient, &inputs, &types, |_| false, Context::default()).unwrap().remove(0).unwrap();
    assert_eq!(found.values::<f32>().unwrap(), [given[0], 0.0, given[2], 0.0, 0.0, given[5]].as_slice());
}

/// Sums over many elements, in parts and in segments of rows, on any number of threads.
#[test]
fn gradients_of_repeated_operands() {
    let (one, two) = (Threads::new(1).unwrap(), Threads::new(2).unwrap());
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[64, 49, 33], &[33]),
        (&[30, 49, 33], &[]),
        (&[30, 49, 33], &[49, 1]),
        (&[40, 20_001], &[1, 20_001]),
        (&[3, 40_001], &[3, 1]),
        (&[200, 1], &[1, 301]),
        (&[7, 300, 50], &[7, 1, 50]),
    ];
    for kind in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
        for (a_shape, b_shape) in shapes {
            let (a, b) = (numbers(a_shape, 0.5, 2.0, 3), numbers(b_shape, 0.5, 2.0, 4));
            let op = Op::Binary(kind);
            let shape = match (a_shape, b_shape) {
                ([rows, 1], [1, columns]) => vec![*rows, *columns],
                _ => a_shape.to_vec(),
            };
            let dy = numbers(&shape, -1.0, 1.5, 5);
            let gradient = Op::Gradient(Box::new(Gradient { of: op, inputs: 2, outputs: 1 }));
            let inputs = [Some(a.clone()), Some(b.clone()), None, Some(dy.clone())];
            let types = [a_shape, b_shape].map(|shape| Some(ValueType::new(ElementType::F32, shape.to_vec())));
            let on = |threads: &Threads| {
                threads.run(|| run(&gradient, &inputs, &types, |_| false, Context::default()).unwrap())
            };
            let (found, again) = (on(&one), on(&two));
            let values = |tensor: &Tensor| tensor.to_f64s().unwrap();
            let (a, b, dy) = (values(&a), values(&b), values(&dy));
            // Where in an operand an element of the result is.
            let place = |own: &[usize], mut index: usize| {
                let (mut place, mut stride) = (0, 1);
                for axis in (0..shape.len()).rev() {
                    let length = (axis + own.len()).checked_sub(shape.len()).map_or(1, |axis| own[axis]);
                    place += if length == 1 { 0 } else { index % shape[axis] * stride };
                    stride *= length;
                    index /= shape[axis];
                }
                place
            };
            let mut expected = [vec![0f64; a.len()], vec![0f64; b.len()]];
            for (index, dy) in dy.iter().enumerate() {
                let (at_a, at_b) = (place(a_shape, index), place(b_shape, index));
                let (a, b) = (a[at_a], b[at_b]);
                let (of_a, of_b) = match kind {
                    Binary::Add => (1.0, 1.0),
                    Binary::Sub => (1.0, -1.0),
                    Binary::Mul => (b, a),
                    _ => (1.0 / b, -a / (b * b)),
                };
                expected[0][at_a] += dy * of_a;
                expected[1][at_b] += dy * of_b;
            }
            for slot in 0..2 {
                let (found, again) = (values(found[slot].as_ref().unwrap()), values(again[slot].as_ref().unwrap()));
                assert_eq!(found, again, "{kind:?} {a_shape:?} {b_shape:?} on other threads");
                for (found, expected) in found.iter().zip(&expected[slot]) {
                    let near = (found - expected).abs() < 1e-5 * (1.0 + expected.abs());
                    assert!(near, "{kind:?} {a_shape:?} {b_shape:?} input {slot}: {found} for {expected}");
                }
            }
        }
    }
}
