//! Pooling over spatial windows.

use super::Inferred;
use super::call::{Call, Class, FLOATS, Result, ensure, output};
use super::window::{Rounding, Window, window};
use crate::graph::{Dim, Shape};
use crate::ops::convolution::AutoPad;
use crate::ops::pooling::{AveragePool, GlobalLpPool, LpPool, MaxPool};
use crate::tensor::ElementType;

/// Types that have a maximum in pooling.
const MAX_POOL: Class = Class::new("a floating-point type, int8 or uint8", |element_type| {
    FLOATS.has(element_type) || matches!(element_type, ElementType::I8 | ElementType::U8)
});

fn pooled(window: Window<'_>, ceil_mode: bool, call: &mut Call<'_>) -> Result<Option<Shape>> {
    let rank = window.kernel_shape.len();
    ensure(rank >= 1, "kernel_shape", "a length for each spatial axis", "none")?;
    let axes = window.axes(rank, None)?;
    for (place, axis) in axes.iter().enumerate() {
        let least = axis.kernel.unwrap_or(1);
        // Otherwise a window may lie in the padding as a whole.
        let fits = window.auto_pad != AutoPad::NotSet || (axis.begin < least && axis.end < least);
        ensure(
            fits,
            "pads",
            format!("less than the kernel's {least} on spatial axis {place}"),
            axis.begin.max(axis.end),
        )?;
    }
    let Some(data) = call.rank(0, rank + 2)? else { return Ok(None) };
    let rounding = if ceil_mode { Rounding::Up } else { Rounding::Down };
    let spatial = window.slide(call, &data[2..], None, rounding)?;
    Ok(Some(data[..2].iter().cloned().chain(spatial).collect()))
}

pub(super) fn average_pool(op: &AveragePool, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    Ok(vec![output(call.class(0, FLOATS)?, pooled(window!(op), op.ceil_mode, call)?)])
}

pub(super) fn max_pool(op: &MaxPool, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 2)?;
    let element_type = call.class(0, MAX_POOL)?;
    let shape = pooled(window!(op), op.ceil_mode, call)?;
    Ok(vec![output(element_type, shape.clone()), output(Some(ElementType::I64), shape)])
}

pub(super) fn lp_pool(op: &LpPool, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    ensure(op.p >= 1, "p", "at least 1", op.p)?;
    Ok(vec![output(call.class(0, FLOATS)?, pooled(window!(op), op.ceil_mode, call)?)])
}

pub(super) fn global(call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    call.arity(1, 1, 1)?;
    let element_type = call.class(0, FLOATS)?;
    let shape = call.rank_at_least(0, 2)?.map(|data| {
        let spatial = std::iter::repeat_n(Dim::from(1i64), data.len() - 2);
        data[..2].iter().cloned().chain(spatial).collect()
    });
    Ok(vec![output(element_type, shape)])
}

pub(super) fn global_lp(op: &GlobalLpPool, call: &mut Call<'_>) -> Result<Vec<Inferred>> {
    ensure(op.p >= 1, "p", "at least 1", op.p)?;
    global(call)
}
