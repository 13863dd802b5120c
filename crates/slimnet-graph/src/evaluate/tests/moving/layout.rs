use super::{error_of, ints, one, strings};
use crate::ops::elementwise::{Unary, Where};
use crate::ops::layout::{
    CenterCropPad, Concat, DepthToSpace, DepthToSpaceMode, Expand, Flatten, Pad, PadMode, Reshape, ReverseSequence,
    Slice, SpaceToDepth, Split, Squeeze, Tile, Transpose, Trilu, Unsqueeze,
};
use crate::tensor::{ElementType, Tensor};

/// 0, 1, 2, … in a shape.
fn counting(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::from_values(shape.to_vec(), (0..count as i64).collect()).unwrap()
}

#[test]
fn reshape_keeps_and_fills() {
    let data = counting(&[2, 3, 4]);
    let shape = |allowzero, shape: &[i64]| one(Reshape { allowzero }, &[&data, &ints(shape)]).shape().to_vec();
    assert_eq!(shape(false, &[0, -1]), [2, 12]);
    assert_eq!(shape(false, &[4, -1, 3]), [4, 2, 3]);
    let empty = counting(&[0, 3]);
    assert_eq!(one(Reshape { allowzero: true }, &[&empty, &ints(&[5, 0])]).shape(), [5, 0]);
    for wrong in [&[-1, -1][..], &[5, -1], &[0, 0, 0, 0], &[-2, 12], &[25], &[i64::MAX, i64::MAX, -1]] {
        error_of(Reshape { allowzero: false }, &[&data, &ints(wrong)]);
    }
    error_of(Reshape { allowzero: true }, &[&empty, &ints(&[0, -1])]);
}

#[test]
fn axes_of_length_one() {
    let data = counting(&[2, 3]);
    assert_eq!(one(Unsqueeze {}, &[&data, &ints(&[-1, 0])]).shape(), [1, 2, 3, 1]);
    assert_eq!(one(Squeeze {}, &[&counting(&[1, 2, 1])]).shape(), [2]);
    assert_eq!(one(Squeeze {}, &[&counting(&[1, 2, 1]), &ints(&[-1])]).shape(), [1, 2]);
    error_of(Squeeze {}, &[&data, &ints(&[0])]);
    error_of(Unsqueeze {}, &[&data, &ints(&[0, 0])]);
    error_of(Unsqueeze {}, &[&data, &ints(&[3])]);
    for (axis, shape) in [(0, [1, 6]), (1, [2, 3]), (2, [6, 1]), (-1, [2, 3])] {
        assert_eq!(one(Flatten { axis }, &[&data]).shape(), shape);
    }
    error_of(Flatten { axis: 3 }, &[&data]);
}

#[test]
fn nibbles_and_strings_move_like_numbers() {
    let transpose = Transpose { perm: None };
    let nibbles = Tensor::from_i128s(ElementType::I4, vec![3, 1, 1], vec![-8, 7, -1]).unwrap();
    let moved = one(transpose.clone(), &[&nibbles]);
    assert_eq!((moved.shape(), moved.to_i64s().unwrap()), (&[1, 1, 3][..], vec![-8, 7, -1]));
    let text = strings(&[2, 2], &["a", "b", "c", "d"]);
    assert_eq!(one(transpose, &[&text]), strings(&[2, 2], &["a", "c", "b", "d"]));
    let padded = one(Pad { mode: PadMode::Constant }, &[&text, &ints(&[0, 1, 0, 0])]);
    assert_eq!(padded, strings(&[2, 3], &["", "a", "b", "", "c", "d"]));
    let condition = Tensor::from_bools(vec![2, 1], &[true, false]).unwrap();
    let chosen = one(Where {}, &[&condition, &text, &strings(&[], &["-"])]);
    assert_eq!(chosen, strings(&[2, 2], &["a", "b", "-", "-"]));
    let complex = Tensor::from_bytes(ElementType::Complex64, vec![2], (0..16).collect::<Vec<u8>>().into()).unwrap();
    let turned = one(Slice {}, &[&complex, &ints(&[-1]), &ints(&[i64::MIN]), &ints(&[0]), &ints(&[-1])]);
    assert_eq!(turned.bytes().unwrap()[..4], [8, 9, 10, 11]);
    assert_eq!(one(Unary::Identity, &[&complex]), complex);
}

#[test]
fn slices_clamp() {
    let data = counting(&[6]);
    let slice = |start, end, step| {
        one(Slice {}, &[&data, &ints(&[start]), &ints(&[end]), &ints(&[-1]), &ints(&[step])]).to_i64s().unwrap()
    };
    assert_eq!(slice(1, i64::MAX, 2), [1, 3, 5]);
    assert_eq!(slice(-2, 100, 1), [4, 5]);
    assert_eq!(slice(100, i64::MIN, -3), [5, 2]);
    assert_eq!(slice(3, 0, -1), [3, 2, 1]);
    assert_eq!(slice(i64::MIN, 2, i64::MAX), [0]);
    assert_eq!(slice(-1, i64::MIN, i64::MIN), [5]);
    assert_eq!(slice(4, 2, 1), [0i64; 0]);
    assert_eq!(slice(-9, i64::MIN, -1), [0]);
    assert!(one(Slice {}, &[&counting(&[0]), &ints(&[5]), &ints(&[-5]), &ints(&[0]), &ints(&[-1])]).is_empty());
    error_of(Slice {}, &[&data, &ints(&[0]), &ints(&[1]), &ints(&[0]), &ints(&[0])]);
    error_of(Slice {}, &[&data, &ints(&[0, 0]), &ints(&[1, 1]), &ints(&[0, 0])]);
    error_of(Slice {}, &[&data, &ints(&[0]), &ints(&[1]), &ints(&[1])]);
    error_of(Slice {}, &[&data, &ints(&[0]), &ints(&[1, 2])]);
}

#[test]
fn pads_in_every_mode() {
    let data = counting(&[4]);
    let pad = |mode, pads: &[i64]| one(Pad { mode }, &[&data, &ints(pads)]).to_i64s().unwrap();
    assert_eq!(pad(PadMode::Constant, &[1, -1]), [0, 0, 1, 2]);
    assert_eq!(pad(PadMode::Edge, &[2, 1]), [0, 0, 0, 1, 2, 3, 3]);
    assert_eq!(pad(PadMode::Reflect, &[2, 4]), [2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
    assert_eq!(pad(PadMode::Wrap, &[2, 5]), [2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0]);
    // What is cropped on one side is not seen again on the other.
    assert_eq!(pad(PadMode::Reflect, &[-2, 1]), [2, 3, 2]);
    assert_eq!(pad(PadMode::Constant, &[-4, 2]), [0, 0]);
    let value = Tensor::scalar(9i64);
    let filled = one(Pad { mode: PadMode::Constant }, &[&counting(&[1, 2]), &ints(&[1, 0]), &value, &ints(&[-2])]);
    assert_eq!((filled.shape(), filled.to_i64s().unwrap()), (&[2, 2][..], vec![9, 9, 0, 1]));
    for (mode, pads) in [(PadMode::Constant, [-3, -2]), (PadMode::Edge, [-4, 1]), (PadMode::Constant, [i64::MAX; 2])] {
        error_of(Pad { mode }, &[&data, &ints(&pads)]);
    }
    error_of(Pad { mode: PadMode::Constant }, &[&data, &ints(&[0, 0, 0, 0])]);
    error_of(Pad { mode: PadMode::Constant }, &[&data, &ints(&[1, 1]), &Tensor::scalar(1f32)]);
}

#[test]
fn joining_undoes_splitting() {
    let data = counting(&[3, 7, 2]);
    for (axis, parts) in [(1, vec![2, 0, 5]), (-2, vec![1, 1, 5]), (0, vec![1, 1, 1])] {
        let split = Split { axis, num_outputs: None };
        let pieces = super::evaluate(split, &[Some(&data), Some(&ints(&parts))], 3).unwrap();
        assert_eq!(pieces[2].shape()[usize::from(axis != 0)] as i64, parts[2]);
        assert_eq!(one(Concat { axis }, &pieces.iter().collect::<Vec<_>>()), data);
    }
    let uneven = super::evaluate(Split { axis: 1, num_outputs: Some(4) }, &[Some(&data)], 4).unwrap();
    assert_eq!(uneven.iter().map(|piece| piece.shape()[1]).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let wrong = |split: Split, parts: &[i64], outputs| {
        super::evaluate(split, &[Some(&data), Some(&ints(parts))], outputs).unwrap_err();
    };
    wrong(Split { axis: 1, num_outputs: None }, &[3, 3], 2);
    wrong(Split { axis: 1, num_outputs: None }, &[i64::MAX, i64::MAX], 2);
    wrong(Split { axis: 1, num_outputs: None }, &[3, 4], 3);
    error_of(Concat { axis: 0 }, &[&data, &counting(&[3, 7])]);
    error_of(Concat { axis: 0 }, &[&data, &counting(&[3, 6, 2])]);
    error_of(Concat { axis: 1 }, &[&data, &Tensor::from_values(vec![3, 1, 2], vec![0f32; 6]).unwrap()]);
}

#[test]
fn depth_and_space() {
    let data = counting(&[1, 4, 4, 6]);
    let there = one(SpaceToDepth { blocksize: 2 }, &[&data]);
    assert_eq!(there.shape(), [1, 16, 2, 3]);
    let mode = DepthToSpaceMode::DepthColumnRow;
    assert_eq!(one(DepthToSpace { blocksize: 2, mode }, &[&there]), data);
    let mode = DepthToSpaceMode::ColumnRowDepth;
    let shuffled = one(DepthToSpace { blocksize: 2, mode }, &[&counting(&[1, 8, 1, 1])]);
    assert_eq!(shuffled.to_i64s().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    for blocksize in [0, -1, 3, i64::MAX] {
        error_of(DepthToSpace { blocksize, mode }, &[&data]);
        error_of(SpaceToDepth { blocksize }, &[&data]);
    }
}

#[test]
fn triangles_reversals_and_middles() {
    let data = counting(&[2, 3]);
    let triangle = |upper, diagonal| one(Trilu { upper }, &[&data, &Tensor::scalar(diagonal)]).to_i64s().unwrap();
    assert_eq!(triangle(true, 1i64), [0, 1, 2, 0, 0, 5]);
    assert_eq!(triangle(false, -1i64), [0, 0, 0, 3, 0, 0]);
    assert_eq!(triangle(true, i64::MIN), [0, 1, 2, 3, 4, 5]);
    let reverse = ReverseSequence { batch_axis: 0, time_axis: 1 };
    assert_eq!(one(reverse.clone(), &[&data, &ints(&[2, 3])]).to_i64s().unwrap(), [1, 0, 2, 5, 4, 3]);
    error_of(reverse.clone(), &[&data, &ints(&[2, 4])]);
    error_of(reverse, &[&data, &ints(&[2])]);
    error_of(ReverseSequence { batch_axis: 0, time_axis: 0 }, &[&data, &ints(&[1, 1])]);
    let middle = one(CenterCropPad { axes: Some(vec![-1]) }, &[&counting(&[1, 5]), &ints(&[2])]);
    assert_eq!(middle.to_i64s().unwrap(), [1, 2]);
    let padded = one(CenterCropPad { axes: None }, &[&counting(&[2]), &ints(&[5])]);
    assert_eq!(padded.to_i64s().unwrap(), [0, 0, 1, 0, 0]);
}

#[test]
fn nothing_above_the_limit_is_made() {
    let data = counting(&[1, 0]);
    // No bytes, whatever the other lengths: nothing may be allocated for these either.
    assert_eq!(one(Expand {}, &[&data, &ints(&[1 << 50, 0])]).shape(), [1 << 50, 0]);
    assert_eq!(one(Tile {}, &[&data, &ints(&[1 << 50, 7])]).shape(), [1 << 50, 0]);
    let one_element = counting(&[1]);
    error_of(Expand {}, &[&one_element, &ints(&[1 << 50])]);
    error_of(Tile {}, &[&one_element, &ints(&[1 << 50])]);
    error_of(Tile {}, &[&one_element, &ints(&[-1])]);
    error_of(Pad { mode: PadMode::Edge }, &[&one_element, &ints(&[1 << 50, 0])]);
    error_of(CenterCropPad { axes: None }, &[&one_element, &ints(&[1 << 50])]);
    error_of(Transpose { perm: Some(vec![0, 0]) }, &[&data]);
    error_of(Transpose { perm: Some(vec![0]) }, &[&data]);
}
