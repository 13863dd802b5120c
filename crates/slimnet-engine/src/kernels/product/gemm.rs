//! `Gemm`: alpha · A · B + beta · C.

use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::product::Gemm;

use crate::kernels::matrix::{Matrix, multiply};
use crate::kernels::parallel::sum_rows;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application.
#[derive(Debug, Clone)]
struct Sizes {
    op: Gemm,
    rows: usize,
    columns: usize,
    inner: usize,
    /// Lengths of C, 1 where it is repeated.
    addend: Option<[usize; 2]>,
}

impl Sizes {
    fn of(op: &Gemm, node: &NodeType<'_>) -> Option<Self> {
        let (&[a0, a1], &[b0, b1]) = (node.input(0)?.shape.as_slice(), node.input(1)?.shape.as_slice()) else {
            return None;
        };
        let (rows, inner) = if op.transA { (a1, a0) } else { (a0, a1) };
        let columns = if op.transB { b0 } else { b1 };
        let addend = match node.input(2).map(|c| c.shape.as_slice()) {
            None => None,
            Some([]) => Some([1, 1]),
            Some(&[length]) => Some([1, length]),
            Some(&[c0, c1]) => Some([c0, c1]),
            Some(_) => return None,
        };
        Some(Self { op: op.clone(), rows, columns, inner, addend })
    }

    fn left<'a>(&self, data: &'a [f32]) -> Matrix<'a> {
        let Self { rows, inner, .. } = *self;
        if self.op.transA { Matrix::new(data, inner, rows).transposed() } else { Matrix::new(data, rows, inner) }
    }

    fn right<'a>(&self, data: &'a [f32]) -> Matrix<'a> {
        let Self { columns, inner, .. } = *self;
        if self.op.transB { Matrix::new(data, columns, inner).transposed() } else { Matrix::new(data, inner, columns) }
    }
}

#[derive(Debug)]
struct Forward {
    sizes: Sizes,
    /// The second matrix, transposed, if it is the same in every run: transposing it for few rows takes longer than the
    /// product.
    turned: Option<Vec<f32>>,
}

pub(super) fn prepare(op: &Gemm, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, node)?;
    let Sizes { rows, columns, inner, .. } = sizes;
    let constant = node.input(1)?.constant.as_ref().filter(|_| op.transB && rows > 1);
    let turned = constant.and_then(|data| {
        let data = data.values::<f32>().ok()?;
        Some((0..inner * columns).map(|place| data[place % columns * inner + place / columns]).collect())
    });
    Some(Box::new(Forward { sizes, turned }))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let y = call.output::<f32>(0);
        let columns = sizes.columns;
        let add = sizes.addend.is_some() && sizes.op.beta != 0.0;
        if let Some([c0, c1]) = sizes.addend.filter(|_| add) {
            let (c, beta) = (call.input::<f32>(2), sizes.op.beta);
            for (row, y) in y.chunks_exact_mut(columns.max(1)).enumerate() {
                let c = &c[if c0 == 1 { 0 } else { row * c1 }..][..c1];
                match c {
                    [c] => y.fill(beta * c),
                    _ => y.iter_mut().zip(c).for_each(|(y, c)| *y = beta * c),
                }
            }
        }
        let right = match &self.turned {
            Some(turned) => Matrix::new(turned, sizes.inner, columns),
            None => sizes.right(call.input(1)),
        };
        multiply(y, sizes.left(call.input(0)), right, sizes.op.alpha, add);
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.turned.as_deref().map_or(0, size_of_val)
    }

    fn reads(&self, input: usize) -> bool {
        input != 1 || self.turned.is_none()
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Gemm, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    node.input(gradient.gradient_slot(0))?;
    Some(Box::new(Backward { sizes: Sizes::of(op, node)?, gradient: gradient.gradient_slot(0) }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let Sizes { rows, columns, .. } = *sizes;
        let data = call.input::<f32>(self.gradient);
        let dy = Matrix::new(data, rows, columns);
        let alpha = sizes.op.alpha;
        if call.has_output(0) {
            let da = call.output::<f32>(0);
            let b = sizes.right(call.input(1));
            if sizes.op.transA {
                multiply(da, b, dy.transposed(), alpha, false);
            } else {
                multiply(da, dy, b.transposed(), alpha, false);
            }
        }
        if call.has_output(1) {
            let db = call.output::<f32>(1);
            let a = sizes.left(call.input(0));
            if sizes.op.transB {
                multiply(db, dy.transposed(), a, alpha, false);
            } else {
                multiply(db, a.transposed(), dy, alpha, false);
            }
        }
        if let Some([c0, c1]) = sizes.addend.filter(|_| call.has_output(2)) {
            let dc = call.output::<f32>(2);
            let beta = sizes.op.beta;
            match (c0, c1) {
                (1, _) if c1 == columns => sum_rows(dc, data),
                (_, 1) if c0 == rows => {
                    for (dc, row) in dc.iter_mut().zip(data.chunks_exact(columns.max(1))) {
                        *dc = row.iter().sum();
                    }
                }
                _ if c0 == rows && c1 == columns => dc.copy_from_slice(data),
                _ => dc[0] = data.iter().map(|&value| f64::from(value)).sum::<f64>() as f32,
            }
            if beta != 1.0 {
                for value in dc.iter_mut() {
                    *value *= beta;
                }
            }
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 1 || input == self.gradient
    }
}
