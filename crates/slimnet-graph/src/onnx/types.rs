//! Types of values, as files have them, to and from element type and shape.

use super::error::ReadProblem;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::type_proto::{self, Tensor as TensorType};
use super::proto::{TensorShapeProto, TypeProto};
use crate::graph::{Dim, Shape, Value, display_shape};
use crate::tensor::ElementType;

/// What a file says of a value's type.
#[derive(Default)]
pub(super) struct Described {
    pub(super) element_type: Option<ElementType>,
    pub(super) shape: Option<Shape>,
    pub(super) other: Option<TypeProto>,
}

/// Reads the type of the value called `name`.
pub(super) fn read(name: &str, proto: &TypeProto) -> Result<Described, ReadProblem> {
    let Some(type_proto::Value::TensorType(tensor)) = &proto.value else {
        return Ok(Described { other: proto.value.is_some().then(|| proto.clone()), ..Described::default() });
    };
    let code = tensor.elem_type();
    let element_type = ElementType::from_onnx(code);
    if element_type.is_none() && code != 0 {
        return Err(wrong(name, "element type", "one that ONNX defines (1 to 26)", &code));
    }
    let read_dim = |(axis, dim): (usize, &Dimension)| read_dim(name, axis, dim);
    let read_shape = |shape: &TensorShapeProto| shape.dim.iter().enumerate().map(read_dim).collect();
    Ok(Described { element_type, shape: tensor.shape.as_ref().map(read_shape).transpose()?, other: None })
}

fn read_dim(name: &str, axis: usize, proto: &Dimension) -> Result<Dim, ReadProblem> {
    let unknown = || Dim::unknown(&format!("{name}_{axis}"));
    Ok(match &proto.value {
        Some(dimension::Value::DimValue(length)) if *length < 0 => {
            let expected = "a length, or no length where it is unknown";
            return Err(wrong(name, &format!("dimension {axis}"), expected, length));
        }
        Some(dimension::Value::DimValue(length)) => Dim::from(*length),
        Some(dimension::Value::DimParam(text)) if text.is_empty() => unknown(),
        Some(dimension::Value::DimParam(text)) => {
            let dim = Dim::parse(text);
            // A name that looks like one of ours for an unknown length must not be taken for that very length.
            if dim.is_unknown() { unknown() } else { dim }
        }
        None => unknown(),
    })
}

fn wrong(name: &str, what: &str, expected: &str, found: &dyn ToString) -> ReadProblem {
    ReadProblem::Value {
        name: name.to_owned(),
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_string(),
    }
}

/// Takes over what the file says of a value's type; it must agree with the data, and with what it said before.
pub(super) fn describe(value: &mut Value, described: Described) -> Result<(), ReadProblem> {
    let agrees = |(own, other): (&Dim, &Dim)| own == other || own.constant().is_none() || other.constant().is_none();
    let shapes_agree = match (&value.shape, &described.shape) {
        (Some(own), Some(other)) => own.len() == other.len() && own.iter().zip(other).all(agrees),
        _ => true,
    };
    let types_agree = match (value.element_type, described.element_type) {
        (Some(own), Some(other)) => own == other,
        _ => true,
    };
    let is_tensor =
        |element_type: Option<ElementType>, shape: &Option<Shape>| element_type.is_some() || shape.is_some();
    let kinds_agree = match (&value.other_type, &described.other) {
        (Some(own), Some(other)) => own == other,
        (Some(_), None) => !is_tensor(described.element_type, &described.shape),
        (None, Some(_)) => !is_tensor(value.element_type, &value.shape),
        (None, None) => true,
    };
    let Described { element_type, shape, other } = described;
    if !(shapes_agree && types_agree && kinds_agree) {
        let source = if value.data.is_some() { "its data" } else { "another declaration" };
        let own = in_words(value.element_type, value.shape.as_ref(), value.other_type.is_some());
        let found = in_words(element_type, shape.as_ref(), other.is_some());
        return Err(wrong(&value.name, "type", &format!("that of {source}, {own}"), &found));
    }
    value.element_type = value.element_type.or(element_type);
    value.shape = value.shape.take().or(shape);
    value.other_type = value.other_type.take().or(other);
    Ok(())
}

fn in_words(element_type: Option<ElementType>, shape: Option<&Shape>, is_other: bool) -> String {
    if is_other {
        return "no tensor".into();
    }
    let element_type = element_type.map_or_else(|| "?".into(), |element_type| element_type.to_string());
    element_type + &shape.map_or_else(|| "[?]".into(), |shape| display_shape(shape))
}

/// The type of a value as files have it; `None` if nothing is known.
pub(super) fn write(value: &Value) -> Option<TypeProto> {
    if let Some(other) = &value.other_type {
        return Some(other.clone());
    }
    if value.element_type.is_none() && value.shape.is_none() {
        return None;
    }
    let shape = value.shape.as_ref().map(|shape| TensorShapeProto { dim: shape.iter().map(write_dim).collect() });
    let elem_type = Some(value.element_type.map_or(0, ElementType::to_onnx));
    let tensor = TensorType { elem_type, shape };
    Some(TypeProto { denotation: None, value: Some(type_proto::Value::TensorType(tensor)) })
}

fn write_dim(dim: &Dim) -> Dimension {
    let value = match dim.constant() {
        Some(length) => Some(dimension::Value::DimValue(length)),
        None if dim.is_unknown() => None,
        None => Some(dimension::Value::DimParam(dim.to_string())),
    };
    Dimension { denotation: None, value }
}

/// Whether a type carries denotations (what an axis or value is for), which values do not keep.
pub(super) fn has_denotation(proto: &TypeProto) -> bool {
    let dims = match &proto.value {
        Some(type_proto::Value::TensorType(TensorType { shape: Some(shape), .. })) => &shape.dim[..],
        _ => return false,
    };
    proto.denotation.is_some() || dims.iter().any(|dim| dim.denotation.is_some())
}

/// Gives a type the denotations that it had in the file, as far as it has the same axes.
pub(super) fn restore_denotation(proto: &mut TypeProto, original: &TypeProto) {
    proto.denotation.clone_from(&original.denotation);
    let shape = |proto: &TypeProto| match &proto.value {
        Some(type_proto::Value::TensorType(tensor)) => tensor.shape.clone(),
        _ => None,
    };
    let (Some(type_proto::Value::TensorType(TensorType { shape: Some(own), .. })), Some(theirs)) =
        (&mut proto.value, shape(original))
    else {
        return;
    };
    if own.dim.len() == theirs.dim.len() {
        for (own, theirs) in own.dim.iter_mut().zip(theirs.dim) {
            own.denotation = theirs.denotation;
        }
    }
}
