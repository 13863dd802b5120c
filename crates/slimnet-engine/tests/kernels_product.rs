//! Matrix products against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient};
use slimnet_graph::Op;
use slimnet_graph::ops::product::{Gemm, MatMul};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

#[test]
fn matmul_broadcasts() {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[3, 4], &[4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[4], &[4, 5]),
        (&[3, 4], &[4]),
        (&[4], &[4]),
        (&[2, 3, 4], &[2, 4, 5]),
        (&[2, 1, 3, 4], &[3, 4, 2]),
        (&[3, 4], &[2, 4, 5]),
        (&[2, 3, 1, 4], &[2, 1, 4, 2]),
        (&[0, 3, 4], &[4, 5]),
    ];
    for (a, b) in shapes {
        let inputs = [random(a, 1), random(b, 2)];
        let op = Op::MatMul(MatMul {});
        let forward = compare_forward(&op, &inputs, 1, |_| false).unwrap();
        assert!(forward < 1e-5, "{a:?} {b:?}: {forward}");
        let gradient = compare_gradient(&op, &inputs, 1, &[0, 1], |_| false).unwrap();
        assert!(gradient < 1e-4, "{a:?} {b:?}: {gradient}");
    }
}

#[test]
fn gemm_scales_transposes_and_adds() {
    let addends: &[Option<&[usize]>] =
        &[None, Some(&[]), Some(&[5]), Some(&[1, 5]), Some(&[3, 1]), Some(&[3, 5]), Some(&[1])];
    for addend in addends {
        for transposed in 0..4 {
            let (trans_a, trans_b) = (transposed & 1 != 0, transposed & 2 != 0);
            let op = Gemm { alpha: 0.5, beta: 1.5, transA: trans_a, transB: trans_b };
            let a = random(if trans_a { &[4, 3] } else { &[3, 4] }, 1);
            let b = random(if trans_b { &[5, 4] } else { &[4, 5] }, 2);
            let mut inputs = vec![a, b];
            let mut wanted = vec![0, 1];
            if let Some(shape) = addend {
                inputs.push(random(shape, 3));
                wanted.push(2);
            }
            let forward = compare_forward(&Op::Gemm(op.clone()), &inputs, 1, |_| false).unwrap();
            assert!(forward < 1e-5, "{addend:?} {transposed}: {forward}");
            let gradient = compare_gradient(&Op::Gemm(op), &inputs, 1, &wanted, |_| false).unwrap();
            assert!(gradient < 1e-4, "{addend:?} {transposed}: {gradient}");
        }
    }
}
