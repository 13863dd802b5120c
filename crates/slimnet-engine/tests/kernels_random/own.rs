//! Operators of our own.

use slimnet_graph::ops::slimnet::Mask;
use slimnet_graph::tensor::Tensor;

use super::check::{Case, check};

#[test]
fn masks() {
    check("mask", 500, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(25) { 70_000 } else { 2000 };
        let shape = random.shape(rank, elements);
        let kept = (0..shape.iter().product()).map(|_| u8::from(random.chance(3))).collect();
        let mask = Tensor::from_values(shape.clone(), kept).unwrap();
        let constant = if random.chance(2) { vec![1] } else { vec![] };
        Case { constant, wanted: vec![0], ..Case::new(Mask {}, vec![random.floats(&shape), Some(mask)]) }
    });
}
