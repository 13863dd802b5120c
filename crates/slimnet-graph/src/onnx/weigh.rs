//! What decoding a file would take of memory, found without decoding it.
//!
//! An empty message takes two bytes in a protobuf and some hundred in memory, so that a hostile file could ask for far more
//! than its size.

use std::mem::size_of;

use super::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeDeviceConfigurationProto, NodeProto, OperatorSetIdProto,
    ShardingSpecProto, SparseTensorProto, StringStringEntryProto, TensorAnnotation, TensorProto, TensorShapeProto,
    TrainingInfoProto, TypeProto, ValueInfoProto, tensor_shape_proto,
};

/// Memory that decoding may take for each byte of a file. Real files stay below 10.
const FACTOR: usize = 64;
/// Memory in bytes that small files may take in any case.
const FREE: usize = 1 << 20;

/// A message: its size in memory, and which of its fields are messages.
struct Message {
    size: usize,
    fields: &'static [(u64, &'static Message)],
}

macro_rules! messages {
    ($($name:ident: $type:ty { $($field:literal: $inner:ident),* })+) => {
        $(static $name: Message = Message { size: size_of::<$type>(), fields: &[$(($field, &$inner)),*] };)+
    };
}

messages! {
    ENTRY: StringStringEntryProto {}
    IMPORT: OperatorSetIdProto {}
    DIM: tensor_shape_proto::Dimension {}
    SHAPE: TensorShapeProto { 1: DIM }
    TENSOR_TYPE: TypeProto { 2: SHAPE }
    NESTED_TYPE: TypeProto { 1: TYPE, 2: TYPE }
    TYPE: TypeProto { 1: TENSOR_TYPE, 4: NESTED_TYPE, 5: NESTED_TYPE, 8: TENSOR_TYPE, 9: NESTED_TYPE }
    VALUE: ValueInfoProto { 2: TYPE, 4: ENTRY }
    TENSOR: TensorProto { 13: ENTRY, 16: ENTRY }
    SPARSE: SparseTensorProto { 1: TENSOR, 2: TENSOR }
    ATTRIBUTE: AttributeProto {
        5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 14: TYPE, 15: TYPE, 22: SPARSE, 23: SPARSE
    }
    SHARDING: ShardingSpecProto { 3: ENTRY, 4: ENTRY }
    DEVICE: NodeDeviceConfigurationProto { 2: SHARDING }
    NODE: NodeProto { 5: ATTRIBUTE, 9: ENTRY, 10: DEVICE }
    ANNOTATION: TensorAnnotation { 2: ENTRY }
    GRAPH: GraphProto {
        1: NODE, 5: TENSOR, 11: VALUE, 12: VALUE, 13: VALUE, 14: ANNOTATION, 15: SPARSE, 16: ENTRY
    }
    FUNCTION: FunctionProto { 7: NODE, 9: IMPORT, 11: ATTRIBUTE, 12: VALUE, 14: ENTRY }
    TRAINING: TrainingInfoProto { 1: GRAPH, 2: GRAPH, 3: ENTRY, 4: ENTRY }
    MODEL: ModelProto { 7: GRAPH, 8: IMPORT, 14: ENTRY, 20: TRAINING, 25: FUNCTION, 26: ENTRY }
}

/// Whether decoding a model would take more memory than its size allows.
pub(super) fn is_too_heavy(model: &[u8]) -> bool {
    let mut left = model.len().saturating_mul(FACTOR).saturating_add(FREE);
    // Bytes that are no protobuf are for the decoder to refuse.
    let _ = weigh(model, &MODEL, &mut left, 0);
    left == 0
}

/// Subtracts the memory of a message from what is left; `None` where the bytes end or make no sense, or nothing is left.
fn weigh(mut bytes: &[u8], message: &Message, left: &mut usize, depth: usize) -> Option<()> {
    *left = left.saturating_sub(message.size);
    if *left == 0 || depth > 100 {
        return None;
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let length = match key & 7 {
            0 => {
                // As many as eight bytes of memory in a list of numbers.
                varint(&mut bytes)?;
                *left = left.saturating_sub(size_of::<u64>());
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            // Groups, which the decoder skips: what is in them counts as if it were here.
            3 | 4 => continue,
            _ => return None,
        };
        let field = bytes.get(..length)?;
        bytes = &bytes[length..];
        match message.fields.iter().find(|(number, _)| key & 7 == 2 && *number == key >> 3) {
            Some((_, inner)) => weigh(field, inner, left, depth + 1)?,
            // Text, bytes or packed numbers.
            None => *left = left.saturating_sub(size_of::<String>() + length),
        }
    }
    (*left > 0).then_some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
