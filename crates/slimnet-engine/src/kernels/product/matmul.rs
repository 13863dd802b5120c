//! `MatMul` with the broadcasting of numpy.

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;

use crate::kernels::matrix::{Matrix, multiply, multiply_here};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application: a batch of products of `[rows, inner]` and `[inner, columns]`.
#[derive(Debug, Clone)]
struct Sizes {
    rows: usize,
    columns: usize,
    inner: usize,
    /// For each product of the batch, which matrix of A and which of B it takes.
    pairs: Vec<[usize; 2]>,
    /// How many matrices A and B have.
    counts: [usize; 2],
}

impl Sizes {
    fn of(node: &NodeType<'_>) -> Option<Self> {
        let (a, b) = (&node.input(0)?.shape, &node.input(1)?.shape);
        // A vector on the left is a row, one on the right a column.
        let (a, b) = (
            if a.len() == 1 { vec![1, a[0]] } else { a.clone() },
            if b.len() == 1 { vec![b[0], 1] } else { b.clone() },
        );
        let (batch_a, &[rows, inner]) = a.split_last_chunk()?;
        let (batch_b, &[_, columns]) = b.split_last_chunk()?;
        let rank = batch_a.len().max(batch_b.len());
        let length =
            |batch: &[usize], axis: usize| (axis + batch.len()).checked_sub(rank).map_or(1, |axis| batch[axis]);
        let mut pairs = vec![[0, 0]];
        for axis in 0..rank {
            let (of_a, of_b) = (length(batch_a, axis), length(batch_b, axis));
            // With a length of 0 on one side there is nothing to compute.
            let most = if of_a == 1 { of_b } else { of_a };
            let next = |[a, b]: &[usize; 2], index: usize| {
                [a * of_a + if of_a == 1 { 0 } else { index }, b * of_b + if of_b == 1 { 0 } else { index }]
            };
            pairs =
                pairs.iter().flat_map(|pair| (0..most).map(|index| next(pair, index)).collect::<Vec<_>>()).collect();
        }
        let mut sizes =
            Self { rows, columns, inner, pairs, counts: [batch_a.iter().product(), batch_b.iter().product()] };
        // One B for all: the rows of all products are those of one.
        if sizes.counts[1] == 1 && sizes.counts[0] == sizes.pairs.len() {
            sizes.rows *= sizes.counts[0];
            sizes.counts[0] = 1;
            sizes.pairs = vec![[0, 0]];
        }
        Some(sizes)
    }

    fn left<'a>(&self, data: &'a [f32], index: usize) -> Matrix<'a> {
        let length = self.rows * self.inner;
        Matrix::new(&data[index * length..][..length], self.rows, self.inner)
    }

    fn right<'a>(&self, data: &'a [f32], index: usize) -> Matrix<'a> {
        let length = self.inner * self.columns;
        Matrix::new(&data[index * length..][..length], self.inner, self.columns)
    }

    fn result<'a>(&self, data: &'a [f32], index: usize) -> Matrix<'a> {
        let length = self.rows * self.columns;
        Matrix::new(&data[index * length..][..length], self.rows, self.columns)
    }

    /// Computes one matrix for each of `count`, summing over the products that take it, by `product(index, pair)`.
    fn each<'a>(
        &self,
        output: &mut [f32],
        side: Option<usize>,
        factors: impl Fn(usize, [usize; 2]) -> (Matrix<'a>, Matrix<'a>) + Sync,
    ) {
        let count = side.map_or(self.pairs.len(), |side| self.counts[side]);
        if count == 0 || output.is_empty() {
            return;
        }
        let length = output.len() / count;
        if let [pair] = self.pairs.as_slice() {
            let (a, b) = factors(0, *pair);
            return multiply(output, a, b, 1.0, false);
        }
        // Products of a batch are distributed; those that meet in one matrix are added in order.
        output.par_chunks_mut(length).enumerate().for_each(|(place, output)| {
            let mut add = false;
            let all = if count == self.pairs.len() { place..place + 1 } else { 0..self.pairs.len() };
            for index in all {
                let pair = self.pairs[index];
                if side.is_none_or(|side| pair[side] == place) {
                    let (a, b) = factors(index, pair);
                    multiply_here(output, a, b, 1.0, add);
                    add = true;
                }
            }
        });
    }
}

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(node: &NodeType<'_>) -> Prepared {
    Some(Box::new(Forward(Sizes::of(node)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.0;
        let (a, b) = (call.input::<f32>(0), call.input::<f32>(1));
        sizes.each(call.output(0), None, |_, pair| (sizes.left(a, pair[0]), sizes.right(b, pair[1])));
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    gradient: usize,
}

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    node.input(gradient.gradient_slot(0))?;
    Some(Box::new(Backward { sizes: Sizes::of(node)?, gradient: gradient.gradient_slot(0) }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let dy = call.input::<f32>(self.gradient);
        if call.has_output(0) {
            let b = call.input::<f32>(1);
            let factors =
                |index: usize, pair: [usize; 2]| (sizes.result(dy, index), sizes.right(b, pair[1]).transposed());
            sizes.each(call.output(0), Some(0), factors);
        }
        if call.has_output(1) {
            let a = call.input::<f32>(0);
            let factors =
                |index: usize, pair: [usize; 2]| (sizes.left(a, pair[0]).transposed(), sizes.result(dy, index));
            sizes.each(call.output(1), Some(1), factors);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 1 || input == self.gradient
    }
}
