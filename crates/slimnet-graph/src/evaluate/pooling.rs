//! Pooling over spatial windows.

use super::elementwise::maximum;
use super::window::{Axis, Movement, for_each_place, slide};
use super::{Context, EvaluateError, invalid};
use crate::ops::convolution::AutoPad;
use crate::ops::pooling::{AveragePool, GlobalLpPool, LpPool, MaxPool};
use crate::tensor::{ElementType, Tensor, element_count};

/// Windows over the spatial axes of input 0, `[N, C, …]`.
struct Pool<'a> {
    x: &'a Tensor,
    axes: Vec<Axis>,
}

/// One window: which elements of a channel it sees, and where it is.
struct Window<'a> {
    offsets: &'a [usize],
    place: &'a [i64],
}

macro_rules! pool_of {
    ($context:expr, $op:expr) => {{
        let (auto_pad, dilations, pads, strides) = ($op.auto_pad, &$op.dilations, &$op.pads, &$op.strides);
        let movement = Movement { auto_pad, dilations, pads, strides };
        Pool::new($context, &movement, &$op.kernel_shape, $op.ceil_mode)
    }};
}

impl<'a> Pool<'a> {
    fn new(
        context: &Context<'a>,
        movement: &Movement<'_>,
        kernel: &[i64],
        ceil_mode: bool,
    ) -> Result<Self, EvaluateError> {
        let x = context.input(0)?;
        let [_, _, spatial @ ..] = x.shape() else { return Err(invalid("the input has no spatial axes")) };
        if kernel.len() != spatial.len() {
            return Err(invalid(format!("window {kernel:?} for spatial axes {spatial:?}")));
        }
        let axes = slide(movement, spatial, kernel, ceil_mode)?;
        let pool = Self { x, axes };
        context.room(x.element_type(), &pool.result_shape())?;
        Ok(pool)
    }

    /// One window over everything.
    fn global(context: &Context<'a>) -> Result<Self, EvaluateError> {
        let spatial = context.input(0)?.shape().get(2..).unwrap_or(&[]);
        let kernel: Vec<_> = spatial.iter().map(|&length| length as i64).collect();
        let movement = Movement { auto_pad: AutoPad::NotSet, dilations: &[], pads: &[], strides: &[] };
        Self::new(context, &movement, &kernel, false)
    }

    fn result_shape(&self) -> Vec<usize> {
        self.x.shape()[..2].iter().copied().chain(self.axes.iter().map(|axis| axis.windows as usize)).collect()
    }

    /// Fills a result with what `pool` gives for each window and channel: the channel's number and its elements.
    fn apply<T: Copy>(
        &self,
        values: &[f64],
        empty: T,
        pool: impl Fn(&Window<'_>, usize, &[f64]) -> T,
    ) -> Result<Vec<T>, EvaluateError> {
        let plane = element_count(&self.x.shape()[2..])?;
        let windows = element_count(&self.result_shape()[2..])?;
        let mut result = vec![empty; element_count(&self.result_shape())?];
        if result.is_empty() || plane == 0 {
            return Ok(result);
        }
        let places: Vec<_> = self.axes.iter().map(|axis| 0..axis.windows).collect();
        let (mut offsets, mut number) = (Vec::new(), 0);
        for_each_place(&places, |place| {
            offsets.clear();
            let within = |(axis, &window): (&Axis, &i64)| axis.taps_within(window, 0, axis.length);
            let taps: Vec<_> = self.axes.iter().zip(place).map(within).collect();
            for_each_place(&taps, |taps| {
                let row_major = |offset, (axis, (&window, &tap)): (&Axis, (&i64, &i64))| {
                    offset * axis.length as usize + axis.place(window, tap) as usize
                };
                offsets.push(self.axes.iter().zip(place.iter().zip(taps)).fold(0, row_major));
                Ok(())
            })?;
            let window = Window { offsets: &offsets, place };
            for (channel, values) in values.chunks_exact(plane).enumerate() {
                result[channel * windows + number] = pool(&window, channel, values);
            }
            number += 1;
            Ok(())
        })?;
        Ok(result)
    }

    fn real(&self, pool: impl Fn(&Window<'_>, usize, &[f64]) -> f64) -> Result<Vec<Tensor>, EvaluateError> {
        let values = self.apply(&self.x.to_f64s()?, 0.0, pool)?;
        Ok(vec![Tensor::from_f64s(self.x.element_type(), self.result_shape(), values)?])
    }
}

impl Window<'_> {
    fn sum(&self, values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
        self.offsets.iter().map(|&offset| term(values[offset])).sum()
    }
}

pub(super) fn average_pool(op: &AveragePool, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let pool = pool_of!(context, op)?;
    pool.real(|window, _, values| {
        // Places behind the padding, which ceil_mode reaches, never count.
        let padded = |(axis, &window): (&Axis, &i64)| {
            let taps = axis.taps_within(window, -axis.begin, axis.length + axis.end);
            (taps.end - taps.start) as f64
        };
        let count = if op.count_include_pad {
            pool.axes.iter().zip(window.place).map(padded).product()
        } else {
            window.offsets.len() as f64
        };
        window.sum(values, |value| value) / count
    })
}

pub(super) fn global_average_pool(context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    Pool::global(context)?.real(|window, _, values| window.sum(values, |value| value) / window.offsets.len() as f64)
}

fn largest(window: &Window<'_>, values: &[f64]) -> f64 {
    window.offsets.iter().map(|&offset| values[offset]).fold(f64::NEG_INFINITY, maximum)
}

pub(super) fn global_max_pool(context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    Pool::global(context)?.real(|window, _, values| largest(window, values))
}

pub(super) fn max_pool(op: &MaxPool, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    let pool = pool_of!(context, op)?;
    let mut results = pool.real(|window, _, values| largest(window, values))?;
    if context.outputs.len() < 2 {
        return Ok(results);
    }
    context.room(ElementType::I64, &pool.result_shape())?;
    let spatial = &pool.x.shape()[2..];
    let plane = element_count(spatial)?;
    let column_major = |offset: usize| {
        let (mut rest, mut place) = (offset, 0);
        let mut behind = plane;
        for &length in spatial.iter().rev() {
            behind /= length;
            place += rest % length * behind;
            rest /= length;
        }
        place
    };
    let indices = pool.apply(&pool.x.to_f64s()?, 0i64, |window, channel, values| {
        let largest = largest(window, values);
        let found = |&&offset: &&usize| values[offset] == largest || values[offset].is_nan();
        let offset = window.offsets.iter().find(found).copied().unwrap_or(0);
        (channel * plane + if op.storage_order { column_major(offset) } else { offset }) as i64
    })?;
    results.push(Tensor::from_values(pool.result_shape(), indices)?);
    Ok(results)
}

fn norm(window: &Window<'_>, values: &[f64], p: i64) -> f64 {
    match p {
        1 => window.sum(values, f64::abs),
        2 => window.sum(values, |value| value * value).sqrt(),
        _ => window.sum(values, |value| value.abs().powf(p as f64)).powf(1.0 / p as f64),
    }
}

pub(super) fn lp_pool(op: &LpPool, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    pool_of!(context, op)?.real(|window, _, values| norm(window, values, op.p))
}

pub(super) fn global_lp_pool(op: &GlobalLpPool, context: &Context<'_>) -> Result<Vec<Tensor>, EvaluateError> {
    Pool::global(context)?.real(|window, _, values| norm(window, values, op.p))
}
