//! One application of an operator, and the checks that operators have in common.

use std::borrow::Cow;
use std::fmt::Display;

use super::shapes::certainly_differ;
use super::{CONTENTS_LIMIT, InferError, Inferred, Known};
use crate::graph::{Dim, Shape, display_shape};
use crate::tensor::ElementType;

/// What the functions of the operators return.
pub(super) type Result<T> = std::result::Result<T, InferError>;

/// An error that says what is wrong.
pub(super) fn mismatch(what: impl Into<String>, expected: impl Display, found: impl Display) -> InferError {
    InferError::Mismatch { what: what.into(), expected: expected.to_string(), found: found.to_string() }
}

/// An error unless `holds`.
pub(super) fn ensure(holds: bool, what: impl Into<String>, expected: impl Display, found: impl Display) -> Result<()> {
    if holds { Ok(()) } else { Err(mismatch(what, expected, found)) }
}

/// A set of element types, with its name in messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class(&'static str, fn(ElementType) -> bool);

/// Floating-point numbers that one computes with.
pub(super) const FLOATS: Class = Class("a floating-point type", |element_type| {
    matches!(element_type, ElementType::F16 | ElementType::F32 | ElementType::F64 | ElementType::BF16)
});
/// Integers of whole bytes.
pub(super) const INTEGERS: Class = Class("an integer type", is_whole_integer);
/// Unsigned integers of whole bytes.
pub(super) const UNSIGNED: Class = Class("an unsigned integer type", |element_type| {
    is_whole_integer(element_type) && element_type.integer_range().is_some_and(|(low, _)| low == 0)
});
/// Numbers that one computes with.
pub(super) const NUMBERS: Class =
    Class("a numeric type", |element_type| is_whole_integer(element_type) || (FLOATS.1)(element_type));
/// Truth values.
pub(super) const BOOL: Class = Class("bool", |element_type| element_type == ElementType::Bool);
/// Indices and shapes.
pub(super) const INDICES: Class =
    Class("int64 or int32", |element_type| matches!(element_type, ElementType::I64 | ElementType::I32));
/// Shapes.
pub(super) const INT64: Class = Class("int64", |element_type| element_type == ElementType::I64);
/// Lengths of sequences, biases of quantized layers.
pub(super) const INT32: Class = Class("int32", |element_type| element_type == ElementType::I32);
/// `float32` alone.
pub(super) const FLOAT32: Class = Class("float32", |element_type| element_type == ElementType::F32);
/// Quantized activations and weights of the integer operators.
pub(super) const BYTES: Class =
    Class("int8 or uint8", |element_type| matches!(element_type, ElementType::I8 | ElementType::U8));
/// Every element type.
pub(super) const ANY: Class = Class("any type", |_| true);

impl Class {
    /// A set of element types of one operator's own.
    pub(super) const fn new(name: &'static str, holds: fn(ElementType) -> bool) -> Self {
        Self(name, holds)
    }

    /// Whether the type is in it.
    pub(super) fn has(self, element_type: ElementType) -> bool {
        (self.1)(element_type)
    }
}

fn is_whole_integer(element_type: ElementType) -> bool {
    element_type.is_integer() && element_type.bits() >= Some(8)
}

/// An output of known element type and shape.
pub(super) fn output(element_type: Option<ElementType>, shape: Option<Shape>) -> Inferred {
    Inferred { element_type, shape, contents: None }
}

/// An axis as a position: negative ones count from the end.
pub(super) fn axis_of(axis: i64, rank: usize, what: &str) -> Result<usize> {
    let length = rank as i64;
    let place = if axis < 0 { axis.checked_add(length) } else { Some(axis) };
    place
        .filter(|place| (0..length).contains(place))
        .map(|place| place as usize)
        .ok_or_else(|| mismatch(what, format!("an axis of {rank} axes"), axis))
}

/// Axes as positions, each at most once.
pub(super) fn axes_of(axes: &[i64], rank: usize, what: &str) -> Result<Vec<usize>> {
    let mut seen = vec![false; rank];
    let mut places = Vec::new();
    for &axis in axes {
        let place = axis_of(axis, rank, what)?;
        ensure(!std::mem::replace(&mut seen[place], true), what, "each axis once", format!("axis {axis} twice"))?;
        places.push(place);
    }
    Ok(places)
}

/// One application of an operator.
pub(super) struct Call<'a> {
    inputs: &'a [Option<Known<'a>>],
    outputs: usize,
    fresh: &'a mut dyn FnMut() -> Dim,
}

impl<'a> Call<'a> {
    pub(super) fn new(inputs: &'a [Option<Known<'a>>], outputs: usize, fresh: &'a mut dyn FnMut() -> Dim) -> Self {
        Self { inputs, outputs, fresh }
    }

    /// Checks how many inputs and outputs there are: the first `required` inputs must be present.
    pub(super) fn arity(&self, required: usize, most: usize, outputs: usize) -> Result<()> {
        for slot in 0..required {
            if self.input(slot).is_none() {
                return Err(InferError::MissingInput { slot });
            }
        }
        let last = self.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        ensure(last <= most, "number of inputs", format!("at most {most}"), last)?;
        let count = self.outputs;
        ensure((1..=outputs).contains(&count), "number of outputs", format!("1 to {outputs}"), count)
    }

    /// How many inputs there are, absent ones in between included.
    pub(super) fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Outputs of the types of the first `count` inputs.
    pub(super) fn like_inputs(&self, count: usize) -> Vec<Inferred> {
        (0..count)
            .map(|slot| {
                let known = self.input(slot).unwrap_or_default();
                output(known.element_type, known.shape.map(<[Dim]>::to_vec))
            })
            .collect()
    }

    /// How many outputs the node has.
    pub(super) fn output_count(&self) -> usize {
        self.outputs
    }

    /// What is known of an input; `None` if it is absent.
    pub(super) fn input(&self, slot: usize) -> Option<Known<'a>> {
        self.inputs.get(slot).copied().flatten()
    }

    /// Whether an input is present.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.input(slot).is_some()
    }

    /// What is known of an input's shape.
    pub(super) fn shape(&self, slot: usize) -> Option<&'a [Dim]> {
        self.input(slot)?.shape
    }

    /// The element type of an input, which must be of a class.
    pub(super) fn class(&self, slot: usize, class: Class) -> Result<Option<ElementType>> {
        let found = self.input(slot).and_then(|input| input.element_type);
        match found {
            Some(found) if !class.has(found) => Err(mismatch(format!("element type of input {slot}"), class.0, found)),
            _ => Ok(found),
        }
    }

    /// The one element type of several inputs, which must be of a class. Absent inputs do not count.
    pub(super) fn same(&self, slots: impl IntoIterator<Item = usize>, class: Class) -> Result<Option<ElementType>> {
        let mut common = None;
        for slot in slots {
            let found = self.class(slot, class)?;
            if let (Some(common), Some(found)) = (common, found) {
                let what = format!("element type of input {slot}");
                ensure(common == found, what, format!("{common} as the other inputs"), found)?;
            }
            common = common.or(found);
        }
        Ok(common)
    }

    /// The shape of an input that must have `rank` axes.
    pub(super) fn rank(&self, slot: usize, rank: usize) -> Result<Option<&'a [Dim]>> {
        let shape = self.shape(slot);
        if let Some(shape) = shape {
            let what = format!("rank of input {slot}");
            ensure(shape.len() == rank, what, rank, format!("{} ({})", shape.len(), display_shape(shape)))?;
        }
        Ok(shape)
    }

    /// The shape of an input that must have at least `rank` axes.
    pub(super) fn rank_at_least(&self, slot: usize, rank: usize) -> Result<Option<&'a [Dim]>> {
        let shape = self.shape(slot);
        if let Some(shape) = shape {
            let what = format!("rank of input {slot}");
            let found = format!("{} ({})", shape.len(), display_shape(shape));
            ensure(shape.len() >= rank, what, format!("at least {rank}"), found)?;
        }
        Ok(shape)
    }

    /// Checks that an input, if it is there, has this shape (`None`: any length) where both are known.
    pub(super) fn has_shape(&self, slot: usize, expected: &[Option<&Dim>]) -> Result<()> {
        let Some(shape) = self.rank(slot, expected.len())? else { return Ok(()) };
        for (axis, (found, expected)) in shape.iter().zip(expected).enumerate() {
            if let Some(expected) = expected {
                let what = format!("axis {axis} of input {slot}");
                ensure(!certainly_differ(found, expected), what, expected, found)?;
            }
        }
        Ok(())
    }

    /// Checks that an input, if it is there, holds one element: no axes, or one of length 1.
    pub(super) fn single(&self, slot: usize) -> Result<()> {
        let Some(shape) = self.shape(slot) else { return Ok(()) };
        let holds = match shape {
            [] => true,
            [length] => length.constant().is_none_or(|length| length == 1),
            _ => false,
        };
        ensure(holds, format!("shape of input {slot}"), "one element", display_shape(shape))
    }

    /// How many elements an input of at most one axis has.
    pub(super) fn length(&self, slot: usize) -> Option<usize> {
        match self.shape(slot)? {
            [] => Some(1),
            [length] => length.known(),
            _ => None,
        }
    }

    /// The contents of a small integer or bool input.
    pub(super) fn contents(&self, slot: usize) -> Option<Cow<'a, [Dim]>> {
        let input = self.input(slot)?;
        if let Some(contents) = input.contents {
            return Some(Cow::Borrowed(contents));
        }
        if self.length(slot) == Some(0) {
            return Some(Cow::Borrowed(&[]));
        }
        let data = input.data.filter(|data| data.rank() <= 1 && data.len() <= CONTENTS_LIMIT)?;
        let element_type = data.element_type();
        if !element_type.is_integer() && element_type != ElementType::Bool {
            return None;
        }
        let numbers = data.to_i128s().ok()?;
        numbers.into_iter().map(|number| Some(Dim::from(i64::try_from(number).ok()?))).collect()
    }

    /// The contents of a small integer or bool input, if all are numbers.
    pub(super) fn integers(&self, slot: usize) -> Option<Vec<i64>> {
        self.contents(slot)?.iter().map(Dim::constant).collect()
    }

    /// The number in an integer input of one element.
    pub(super) fn integer(&self, slot: usize) -> Option<i64> {
        match self.integers(slot)?.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// The numbers of a small input of real numbers that the file holds.
    pub(super) fn reals(&self, slot: usize) -> Option<Vec<f64>> {
        let data = self.input(slot)?.data.filter(|data| data.len() <= CONTENTS_LIMIT)?;
        data.to_f64s().ok()
    }

    /// A dimension that nothing is known of.
    pub(super) fn fresh(&mut self) -> Dim {
        (self.fresh)()
    }

    /// The dimension, or one that nothing is known of.
    pub(super) fn or_fresh(&mut self, dim: Option<Dim>) -> Dim {
        dim.unwrap_or_else(|| self.fresh())
    }

    /// A shape of which only the number of axes is known.
    pub(super) fn fresh_shape(&mut self, rank: usize) -> Shape {
        (0..rank).map(|_| self.fresh()).collect()
    }
}
