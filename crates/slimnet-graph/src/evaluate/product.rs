//! Matrix products.

use super::broadcast::{broadcast_shape, expand};
use super::number::Number;
use super::{Context, EvaluateError, invalid};
use crate::ops::product::Gemm;
use crate::tensor::{Tensor, element_count};

/// Columns of a block that stays in the nearest cache.
const COLUMNS: usize = 512;

/// `c += a · b` of row-major matrices: `c` is `[rows, n]`, `b` is `[k, n]`, and `a` is `[rows, k]` with rows at distance
/// `a_stride`.
pub(super) fn multiply_add<T: Number>(a: &[T], a_stride: usize, b: &[T], k: usize, c: &mut [T], n: usize) {
    if n == 0 || k == 0 {
        return;
    }
    for start in (0..n).step_by(COLUMNS) {
        let columns = start..(start + COLUMNS).min(n);
        for (c_row, a_row) in c.chunks_exact_mut(n).zip(a.chunks(a_stride)) {
            let c_row = &mut c_row[columns.clone()];
            // Four rows of b at a time, so that c is loaded and stored less often.
            let quads = a_row[..k].chunks_exact(4);
            let rest = quads.remainder();
            for (quad, b_rows) in quads.zip(b.chunks_exact(4 * n)) {
                let (b0, b1) = (&b_rows[columns.clone()], &b_rows[n..][columns.clone()]);
                let (b2, b3) = (&b_rows[2 * n..][columns.clone()], &b_rows[3 * n..][columns.clone()]);
                for ((((c, &b0), &b1), &b2), &b3) in c_row.iter_mut().zip(b0).zip(b1).zip(b2).zip(b3) {
                    let sum = c.add_product(quad[0], b0).add_product(quad[1], b1);
                    *c = sum.add_product(quad[2], b2).add_product(quad[3], b3);
                }
            }
            for (&a, b_row) in rest.iter().zip(b[(k - rest.len()) * n..].chunks_exact(n)) {
                for (c, &b) in c_row.iter_mut().zip(&b_row[columns.clone()]) {
                    *c = c.add_product(a, b);
                }
            }
        }
    }
}

/// A row-major `[rows, columns]` matrix, transposed.
pub(super) fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    if values.is_empty() {
        return Vec::new();
    }
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// A matrix product of tensors with broadcast leading axes. Vectors count as one row on the left, one column on the
/// right. Returns the shape and the values.
pub(super) fn matrix_product<T: Number>(
    (a, a_shape): (&[T], &[usize]),
    (b, b_shape): (&[T], &[usize]),
    room: impl Fn(&[usize]) -> Result<usize, EvaluateError>,
) -> Result<(Vec<usize>, Vec<T>), EvaluateError> {
    let mismatch = || invalid(format!("shapes {a_shape:?} and {b_shape:?} cannot be multiplied"));
    let (a_batch, m, k) = match a_shape {
        [] => return Err(mismatch()),
        [k] => (&[][..], None, *k),
        [batch @ .., m, k] => (batch, Some(*m), *k),
    };
    let (b_batch, b_k, n) = match b_shape {
        [] => return Err(mismatch()),
        [k] => (&[][..], *k, None),
        [batch @ .., k, n] => (batch, *k, Some(*n)),
    };
    if k != b_k {
        return Err(mismatch());
    }
    let batch = broadcast_shape(&[a_batch, b_batch])?;
    let shape: Vec<_> = batch.iter().copied().chain(m).chain(n).collect();
    let mut result = vec![T::ZERO; room(&shape)?];
    let (m, n) = (m.unwrap_or(1), n.unwrap_or(1));
    if result.is_empty() || k == 0 {
        return Ok((shape, result));
    }
    let numbers = |shape: &[usize]| Ok::<_, EvaluateError>((0..element_count(shape)?).collect::<Vec<_>>());
    let (a_numbers, b_numbers) = (numbers(a_batch)?, numbers(b_batch)?);
    let a_numbers = expand(&a_numbers, a_batch, &batch)?;
    let b_numbers = expand(&b_numbers, b_batch, &batch)?;
    for ((c, &a_number), &b_number) in result.chunks_exact_mut(m * n).zip(a_numbers.iter()).zip(b_numbers.iter()) {
        multiply_add(&a[a_number * m * k..][..m * k], k, &b[b_number * k * n..][..k * n], k, c, n);
    }
    Ok((shape, result))
}

fn product_of<T: Number>(context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let (a, b) = (context.input(0)?, context.input(1)?);
    let element_type = a.element_type();
    let (a_values, b_values) = (T::read(a)?, T::read(b)?);
    let room = |shape: &[usize]| context.room(element_type, shape);
    let (shape, values) = matrix_product((&a_values, a.shape()), (&b_values, b.shape()), room)?;
    Ok(vec![T::write(element_type, shape, values)?])
}

pub(super) fn mat_mul(context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    if context.input(0)?.element_type().is_float() { product_of::<f64>(context) } else { product_of::<i128>(context) }
}

pub(super) fn gemm(op: &Gemm, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let element_type = context.input(0)?.element_type();
    let (alpha, beta) = (f64::from(op.alpha), f64::from(op.beta));
    if element_type.is_float() {
        return gemm_of(op, context, |product: f64, addend| alpha * product + beta * addend);
    }
    // A factor that is not 1 takes integers through floating point, as the definition's multiplication does.
    let scaled = |factor: f64, value: i128| if factor == 1.0 { value } else { (factor * value as f64) as i128 };
    gemm_of(op, context, |product, addend| scaled(alpha, product).wrapping_add(scaled(beta, addend)))
}

fn gemm_of<T: Number>(
    op: &Gemm,
    context: &Context<'_>,
    join: impl Fn(T, T) -> T,
) -> Result<Vec<Tensor>, EvaluateError> {
    let element_type = context.input(0)?.element_type();
    let matrix = |slot: usize, transpose: bool| {
        let tensor = context.input(slot)?;
        let &[rows, columns] = tensor.shape() else { return Err(invalid(format!("input {slot} is not a matrix"))) };
        let values = T::read(tensor)?;
        Ok(if transpose { (transposed(&values, rows, columns), [columns, rows]) } else { (values, [rows, columns]) })
    };
    let ((a, a_shape), (b, b_shape)) = (matrix(0, op.transA)?, matrix(1, op.transB)?);
    let room = |shape: &[usize]| context.room(element_type, shape);
    let (shape, product) = matrix_product((&a, &a_shape), (&b, &b_shape), room)?;
    let values = match context.optional(2) {
        None => product.into_iter().map(|product| join(product, T::ZERO)).collect(),
        Some(addend) => {
            let values = T::read(addend)?;
            let addends = expand(&values, addend.shape(), &shape)?;
            product.into_iter().zip(addends.iter()).map(|(product, &addend)| join(product, addend)).collect()
        }
    };
    Ok(vec![T::write(element_type, shape, values)?])
}
