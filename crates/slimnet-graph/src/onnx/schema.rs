//! What each version of the default operator set allows a node to have.

use crate::tensor::ElementType;

#[allow(clippy::unreadable_literal)] // bit masks
#[rustfmt::skip]
#[path = "generated/schemas.rs"]
mod schemas;

/// An operator with all its versions that any operator set from 7 on has.
pub(super) struct Operator {
    pub(super) name: &'static str,
    pub(super) versions: &'static [Version],
}

/// What an operator is from one operator set on.
pub(super) struct Version {
    pub(super) since: i64,
    pub(super) deprecated: bool,
    /// Least and largest number of inputs; `u8::MAX`: any number.
    pub(super) inputs: (u8, u8),
    /// Least and largest number of outputs; `u8::MAX`: any number.
    pub(super) outputs: (u8, u8),
    /// Names, separated by spaces.
    attributes: &'static str,
    /// Allowed element types of each input as bits by their ONNX numbers; the last one repeats.
    input_types: &'static [u32],
    /// Allowed element types of each output.
    output_types: &'static [u32],
}

/// The operator in an operator set; `None` if that set does not have it.
pub(super) fn find(op_type: &str, opset: i64) -> Option<&'static Version> {
    let place = schemas::OPERATORS.binary_search_by(|operator| operator.name.cmp(op_type)).ok()?;
    let version = schemas::OPERATORS[place].versions.iter().rev().find(|version| version.since <= opset)?;
    (!version.deprecated).then_some(version)
}

/// Whether any operator set has an operator of this name that we know.
pub(super) fn is_known(op_type: &str) -> bool {
    schemas::OPERATORS.binary_search_by(|operator| operator.name.cmp(op_type)).is_ok()
}

impl Version {
    pub(super) fn has_attribute(&self, name: &str) -> bool {
        self.attributes.split(' ').any(|known| known == name)
    }

    pub(super) fn allows_input(&self, slot: usize, element_type: ElementType) -> bool {
        allows(self.input_types, slot, element_type)
    }

    pub(super) fn allows_output(&self, slot: usize, element_type: ElementType) -> bool {
        allows(self.output_types, slot, element_type)
    }
}

fn allows(types: &[u32], slot: usize, element_type: ElementType) -> bool {
    types.get(slot).or(types.last()).is_none_or(|types| types & (1 << element_type.to_onnx()) != 0)
}

/// Whether `count` lies in a range of [`Version::inputs`] or [`Version::outputs`].
pub(super) fn fits(count: usize, (least, most): (u8, u8)) -> bool {
    count >= usize::from(least) && (most == u8::MAX || count <= usize::from(most))
}

/// Such a range in words.
pub(super) fn range((least, most): (u8, u8)) -> String {
    match most {
        u8::MAX => format!("{least} or more"),
        most if most == least => least.to_string(),
        most => format!("{least} to {most}"),
    }
}

/// An attribute that became an input, with the operator set from which on it is one.
pub(super) struct Moved {
    pub(super) operator: &'static str,
    pub(super) attribute: &'static str,
    pub(super) slot: usize,
    pub(super) since: i64,
    pub(super) form: Form,
}

/// What an attribute that became an input holds.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Integers, as an `int64` vector.
    Ints,
    /// An integer, as an `int64` vector of one element.
    Int,
    /// A number, as a scalar of the type of input 0.
    Number,
    /// A number, as a `float32` scalar.
    Float,
    /// Numbers, as a `float32` vector.
    Floats,
}

/// The attributes of an operator that became inputs.
pub(super) fn moved(operator: &str) -> impl Iterator<Item = &'static Moved> {
    MOVED.iter().filter(move |moved| moved.operator == operator)
}

const fn from(operator: &'static str, attribute: &'static str, slot: usize, since: i64, form: Form) -> Moved {
    Moved { operator, attribute, slot, since, form }
}

const MOVED: &[Moved] = &[
    from("Clip", "min", 1, 11, Form::Number),
    from("Clip", "max", 2, 11, Form::Number),
    from("Dropout", "ratio", 1, 12, Form::Float),
    from("Pad", "pads", 1, 11, Form::Ints),
    from("Pad", "value", 2, 11, Form::Number),
    from("ReduceL1", "axes", 1, 18, Form::Ints),
    from("ReduceL2", "axes", 1, 18, Form::Ints),
    from("ReduceLogSum", "axes", 1, 18, Form::Ints),
    from("ReduceLogSumExp", "axes", 1, 18, Form::Ints),
    from("ReduceMax", "axes", 1, 18, Form::Ints),
    from("ReduceMean", "axes", 1, 18, Form::Ints),
    from("ReduceMin", "axes", 1, 18, Form::Ints),
    from("ReduceProd", "axes", 1, 18, Form::Ints),
    from("ReduceSum", "axes", 1, 13, Form::Ints),
    from("ReduceSumSquare", "axes", 1, 18, Form::Ints),
    from("Slice", "starts", 1, 10, Form::Ints),
    from("Slice", "ends", 2, 10, Form::Ints),
    from("Slice", "axes", 3, 10, Form::Ints),
    from("Split", "split", 1, 13, Form::Ints),
    from("Squeeze", "axes", 1, 13, Form::Ints),
    from("TopK", "k", 1, 10, Form::Int),
    from("Unsqueeze", "axes", 1, 13, Form::Ints),
    from("Upsample", "scales", 1, 9, Form::Floats),
];
