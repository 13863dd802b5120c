//! Matrix products against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, difference, reference, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::product::{Einsum, Gemm, MatMul};
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

fn einsum(equation: &str, shapes: &[&[usize]]) {
    let inputs: Vec<_> = shapes.iter().enumerate().map(|(slot, shape)| random(shape, slot as u64)).collect();
    let op = Op::Einsum(Einsum { equation: equation.to_string() });
    let forward = compare_forward(&op, &inputs, 1, |_| false).unwrap();
    assert!(forward < 1e-5, "{equation} {shapes:?}: {forward}");
    let all: Vec<usize> = (0..inputs.len()).collect();
    let mut choices = vec![all.clone()];
    choices.extend(all.iter().map(|&slot| vec![slot]));
    for wanted in choices {
        let gradient = compare_gradient(&op, &inputs, 1, &wanted, |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient {wanted:?} of {equation} {shapes:?}: {gradient}");
    }
}

#[test]
fn einsum_of_one_operand() {
    einsum("ij->ji", &[&[2, 3]]);
    einsum("ijk->kij", &[&[2, 3, 4]]);
    einsum("ij->", &[&[2, 3]]);
    einsum("ijk->j", &[&[2, 3, 4]]);
    einsum("ijk->ki", &[&[2, 3, 4]]);
    einsum("ij", &[&[2, 3]]);
    einsum("ba", &[&[2, 3]]);
    einsum("ii->i", &[&[3, 3]]);
    einsum("ii", &[&[3, 3]]);
    einsum("iji->ji", &[&[3, 2, 3]]);
    einsum("ijj->i", &[&[2, 3, 3]]);
    einsum("ii->i", &[&[1, 3]]);
    einsum("...i->...", &[&[2, 3, 4]]);
    einsum("i...j->j...i", &[&[2, 3, 2, 4]]);
    einsum("...->...", &[&[]]);
    einsum("i->i", &[&[1]]);
    einsum("ij->j", &[&[0, 3]]);
    einsum("ij->i", &[&[0, 3]]);
}

#[test]
fn einsum_of_two_operands() {
    // Products, in any order of axes.
    for result in ["ik", "ki"] {
        for a in ["ij", "ji"] {
            for b in ["jk", "kj"] {
                let shape =
                    |term: &str| -> Vec<usize> { term.chars().map(|letter| letter as usize - 'g' as usize).collect() };
                einsum(&format!("{a},{b}->{result}"), &[&shape(a), &shape(b)]);
            }
        }
    }
    einsum("bij,bjk->bik", &[&[5, 2, 3], &[5, 3, 4]]);
    einsum("bij,bjk", &[&[2, 2, 3], &[2, 3, 4]]);
    einsum("bhid,bhjd->bhij", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]);
    einsum("bihd,bjhd->bhij", &[&[2, 3, 2, 4], &[2, 5, 2, 4]]);
    einsum("bhij,bjhd->bihd", &[&[2, 2, 3, 5], &[2, 5, 2, 4]]);
    einsum("bijc,bijd->ibcd", &[&[2, 3, 2, 4], &[2, 3, 2, 5]]);
    einsum("aibj,bkaj->ik", &[&[2, 3, 2, 4], &[2, 2, 2, 4]]);
    // Without contraction, without rows, without anything.
    einsum("i,j->ij", &[&[3], &[4]]);
    einsum("i,j->ji", &[&[3], &[4]]);
    einsum("i,i->i", &[&[3], &[3]]);
    einsum("i,i->", &[&[3], &[3]]);
    einsum("ij,ij->ji", &[&[2, 3], &[2, 3]]);
    einsum(",ij->ij", &[&[], &[2, 3]]);
    einsum(",->", &[&[], &[]]);
    // Labels of one operand only.
    einsum("ij,k->k", &[&[2, 3], &[4]]);
    einsum("ijs,jk->ik", &[&[2, 3, 2], &[3, 4]]);
    einsum("sij,tjk->ik", &[&[2, 2, 3], &[2, 3, 4]]);
    einsum("ij,kl->", &[&[2, 3], &[2, 2]]);
    // Diagonals.
    einsum("ii,ij->j", &[&[3, 3], &[3, 2]]);
    einsum("iij,jk->ik", &[&[2, 2, 3], &[3, 4]]);
    // Lengths of 1 are repeated.
    einsum("bij,bjk->bik", &[&[1, 2, 3], &[5, 3, 4]]);
    einsum("bij,bjk->bik", &[&[5, 2, 3], &[1, 3, 4]]);
    einsum("ij,jk->ik", &[&[2, 1], &[3, 4]]);
    einsum("ij,jk->ik", &[&[1, 3], &[3, 1]]);
    // Dots.
    einsum("...ij,...jk->...ik", &[&[2, 2, 2, 3], &[2, 2, 3, 4]]);
    einsum("...ij,jk->...ik", &[&[2, 2, 2, 3], &[3, 4]]);
    einsum("...ij,...jk->...ik", &[&[2, 2, 3], &[3, 1, 3, 4]]);
    einsum("...ij,...jk->ik", &[&[2, 2, 3], &[2, 3, 4]]);
    einsum("b...,b...->b", &[&[2, 3, 2], &[2, 3, 2]]);
    // Nothing.
    einsum("ij,jk->ik", &[&[2, 0], &[0, 4]]);
    einsum("ij,jk->ik", &[&[0, 3], &[3, 4]]);
    einsum("bij,bjk->bik", &[&[0, 2, 3], &[0, 3, 4]]);
    einsum("bij,bjk->kbi", &[&[2, 2, 0], &[2, 0, 4]]);
}

#[test]
fn einsum_of_three_operands_has_no_gradient() {
    let op = Op::Einsum(Einsum { equation: "ij,jk,kl->il".to_string() });
    let inputs = [random(&[2, 3], 1), random(&[3, 4], 2), random(&[4, 2], 3)];
    assert!(compare_forward(&op, &inputs, 1, |_| false).unwrap() < 1e-5);
    assert!(compare_gradient(&op, &inputs, 1, &[0], |_| false).is_err());
}

#[test]
fn large_einsums_have_the_same_bits_on_any_threads() {
    let cases: &[(&str, &[usize], &[usize])] = &[
        ("bihd,bjhd->bhij", &[4, 64, 4, 32], &[4, 64, 4, 32]),
        ("bhij,bjhd->bihd", &[4, 4, 64, 64], &[4, 64, 4, 32]),
        ("ijs,jk->ki", &[200, 150, 3], &[150, 90]),
    ];
    for (equation, a, b) in cases {
        let inputs = [random(a, 1), random(b, 2)];
        let op = Op::Einsum(Einsum { equation: (*equation).to_string() });
        let expected = &reference(&op, &inputs, 1)[0];
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let types = [Some(ValueType::new(ElementType::F32, expected.shape().to_vec()))];
            pool.install(|| run(&op, &inputs, &types, |_| false, Context::default()).unwrap()).remove(0).unwrap()
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(one, three);
        assert!(difference(&one, expected) < 1e-5, "{equation}");
    }
}
