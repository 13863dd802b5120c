//! Data in other forms than plain tensors: `Constant` nodes and sparse tensors.

use super::budget::{Budget, FACTOR};
use super::error::ReadProblem;
use super::external::ExternalFiles;
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, SparseTensorProto};
use super::tensor::{TensorProtoError, tensor_from_proto};
use crate::tensor::{Tensor, element_count};

/// The data of a `Constant` node, in any of its forms.
pub(super) fn constant(
    node: &mut NodeProto,
    external: &mut ExternalFiles,
    budget: &mut Budget,
) -> Result<Tensor, ReadProblem> {
    let name = node.output.first().cloned().unwrap_or_default();
    let malformed = |found: String| ReadProblem::Node {
        node: format!("Constant computing {name:?}"),
        what: "attributes".into(),
        expected: "one value".into(),
        found,
    };
    let [attribute] = &mut node.attribute[..] else {
        return Err(malformed(format!("{} attributes", node.attribute.len())));
    };
    let tensor_error = |problem: TensorProtoError| ReadProblem::Tensor { name: name.clone(), problem };
    if let Some(tensor) = &mut attribute.t {
        external.resolve(tensor)?;
        return tensor_from_proto(tensor).map_err(tensor_error);
    }
    if let Some(sparse) = &mut attribute.sparse_tensor {
        external.resolve_sparse(sparse)?;
        return dense(&name, sparse, budget);
    }
    simple(attribute).ok_or_else(|| malformed(attribute.name().to_owned()))?.map_err(tensor_error)
}

fn simple(attribute: &mut AttributeProto) -> Option<Result<Tensor, TensorProtoError>> {
    Some(match attribute.r#type() {
        AttributeType::Float => Ok(Tensor::scalar(attribute.f())),
        AttributeType::Int => Ok(Tensor::scalar(attribute.i())),
        AttributeType::Floats => Ok(Tensor::vector(std::mem::take(&mut attribute.floats))),
        AttributeType::Ints => Ok(Tensor::vector(std::mem::take(&mut attribute.ints))),
        AttributeType::String => Tensor::from_strings(vec![], vec![attribute.s().to_vec()]).map_err(Into::into),
        AttributeType::Strings => {
            let strings = std::mem::take(&mut attribute.strings);
            Tensor::from_strings(vec![strings.len()], strings).map_err(Into::into)
        }
        _ => return None,
    })
}

/// The dense form of a sparse tensor.
pub(super) fn dense(name: &str, sparse: &SparseTensorProto, budget: &mut Budget) -> Result<Tensor, ReadProblem> {
    let wrong = |problem: String| ReadProblem::Sparse { name: name.to_owned(), problem };
    let tensor_error = |problem: TensorProtoError| ReadProblem::Tensor { name: name.to_owned(), problem };
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Err(wrong("expected values and indices, found only one of them or none".into()));
    };
    let values = tensor_from_proto(values).map_err(tensor_error)?;
    let indices = tensor_from_proto(indices).map_err(tensor_error)?;
    let convert = |&dim: &i64| usize::try_from(dim).map_err(|_| TensorProtoError::NegativeDim(dim));
    let shape: Vec<usize> = sparse.dims.iter().map(convert).collect::<Result<_, _>>().map_err(tensor_error)?;
    let count = element_count(&shape).map_err(|problem| tensor_error(problem.into()))?;
    let element_type = values.element_type();
    let Some((width, patterns)) = values.to_patterns() else {
        return Err(wrong(format!("elements of type {element_type} cannot be sparse")));
    };
    let bytes = count
        .checked_mul(width)
        .filter(|&bytes| budget.take(bytes))
        .ok_or_else(|| wrong(format!("its dense form {shape:?} is more than {FACTOR} times larger than the file")))?;
    let positions = positions(&indices, &shape, values.len()).ok_or_else(|| {
        wrong(format!("indices of shape {:?} do not fit {} values in {shape:?}", indices.shape(), values.len()))
    })?;
    let mut filled = vec![0u8; bytes];
    for (&position, pattern) in positions.iter().zip(patterns.chunks_exact(width)) {
        filled[position * width..(position + 1) * width].copy_from_slice(pattern);
    }
    Tensor::from_patterns(element_type, shape, &filled).map_err(|problem| tensor_error(problem.into()))
}

/// Flat positions of `count` values: indices are flat themselves, or tuples of one index for each axis.
fn positions(indices: &Tensor, shape: &[usize], count: usize) -> Option<Vec<usize>> {
    let numbers = indices.to_i64s().ok()?;
    let length = element_count(shape).ok()?;
    let within = |&index: &i64, length: usize| usize::try_from(index).ok().filter(|&index| index < length);
    match indices.shape() {
        [found] if *found == count => numbers.iter().map(|index| within(index, length)).collect(),
        [found, rank] if *found == count && *rank == shape.len() && *rank > 0 => {
            let position = |tuple: &[i64]| {
                tuple.iter().zip(shape).try_fold(0usize, |sum, (index, &length)| {
                    sum.checked_mul(length)?.checked_add(within(index, length)?)
                })
            };
            numbers.chunks_exact(*rank).map(position).collect()
        }
        _ => None,
    }
}
