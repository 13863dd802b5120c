use super::{error_of, floats, ints, one, strings};
use crate::ops::index::{
    Compress, ConstantOfShape, EyeLike, Gather, GatherElements, GatherNd, NonZero, OneHot, Range, ScatterElements,
    ScatterNd, ScatterReduction, Shape, Size,
};
use crate::tensor::{ElementType, Tensor};

#[test]
fn gathers_by_any_index() {
    let data = ints(&[10, 11, 12, 13, 14, 15]).reshaped(vec![2, 3]).unwrap();
    let columns = one(Gather { axis: -1 }, &[&data, &ints(&[-1, 0])]);
    assert_eq!((columns.shape(), columns.to_i64s().unwrap()), (&[2, 2][..], vec![12, 10, 15, 13]));
    assert_eq!(one(Gather { axis: 0 }, &[&data, &Tensor::scalar(1i32)]).to_i64s().unwrap(), [13, 14, 15]);
    error_of(Gather { axis: 0 }, &[&data, &ints(&[2])]);
    error_of(Gather { axis: 0 }, &[&data, &ints(&[-3])]);
    error_of(Gather { axis: 2 }, &[&data, &ints(&[0])]);
    error_of(Gather { axis: 0 }, &[&data, &floats(&[0.0])]);
    let elements = one(GatherElements { axis: 1 }, &[&data, &ints(&[-1, 0, 1]).reshaped(vec![1, 3]).unwrap()]);
    assert_eq!(elements.to_i64s().unwrap(), [12, 10, 11]);
    error_of(GatherElements { axis: 1 }, &[&data, &ints(&[0, 0, 0]).reshaped(vec![3, 1]).unwrap()]);
    error_of(GatherElements { axis: 1 }, &[&data, &ints(&[0])]);
}

#[test]
fn gathers_by_tuples() {
    let data = ints(&(0..12).collect::<Vec<_>>()).reshaped(vec![2, 3, 2]).unwrap();
    let by_pair = one(GatherNd { batch_dims: 0 }, &[&data, &ints(&[1, -1]).reshaped(vec![1, 2]).unwrap()]);
    assert_eq!((by_pair.shape(), by_pair.to_i64s().unwrap()), (&[1, 2][..], vec![10, 11]));
    let in_batch = one(GatherNd { batch_dims: 1 }, &[&data, &ints(&[2, 0]).reshaped(vec![2, 1]).unwrap()]);
    assert_eq!((in_batch.shape(), in_batch.to_i64s().unwrap()), (&[2, 2][..], vec![4, 5, 6, 7]));
    error_of(GatherNd { batch_dims: 0 }, &[&data, &ints(&[2])]);
    error_of(GatherNd { batch_dims: 0 }, &[&data, &ints(&[0; 4])]);
    error_of(GatherNd { batch_dims: 1 }, &[&data, &ints(&[0; 3]).reshaped(vec![3, 1]).unwrap()]);
    error_of(GatherNd { batch_dims: -1 }, &[&data, &ints(&[0])]);
    error_of(GatherNd { batch_dims: 0 }, &[&data, &Tensor::scalar(0i64)]);
    // Tuples without numbers take no bytes; there may be any number of them.
    let nothing = Tensor::from_values(vec![1 << 50, 0], Vec::<i64>::new()).unwrap();
    error_of(GatherNd { batch_dims: 0 }, &[&data, &nothing]);
}

#[test]
fn scatters_with_every_reduction() {
    let (data, indices) = (floats(&[1.0, 2.0, 3.0]), ints(&[0, -1, 0]));
    let scatter = |reduction| {
        let updates = floats(&[5.0, -4.0, 0.5]);
        one(ScatterElements { axis: 0, reduction }, &[&data, &indices, &updates]).to_f64s().unwrap()
    };
    assert_eq!(scatter(ScatterReduction::None), [0.5, 2.0, -4.0]);
    assert_eq!(scatter(ScatterReduction::Add), [6.5, 2.0, -1.0]);
    assert_eq!(scatter(ScatterReduction::Mul), [2.5, 2.0, -12.0]);
    assert_eq!(scatter(ScatterReduction::Max), [5.0, 2.0, 3.0]);
    assert_eq!(scatter(ScatterReduction::Min), [0.5, 2.0, -4.0]);
    let op = ScatterElements { axis: 0, reduction: ScatterReduction::Max };
    let not_a_number = one(op.clone(), &[&data, &ints(&[0]), &floats(&[f32::NAN])]);
    assert!(not_a_number.to_f64s().unwrap()[0].is_nan());
    error_of(op.clone(), &[&data, &ints(&[3]), &floats(&[0.0])]);
    error_of(op.clone(), &[&data, &ints(&[0]), &floats(&[0.0, 1.0])]);
    error_of(op, &[&data, &ints(&[0]), &ints(&[0])]);

    let bytes = Tensor::vector(vec![200u8]);
    let op = ScatterNd { reduction: ScatterReduction::Add };
    let indices = ints(&[0, 0]).reshaped(vec![2, 1]).unwrap();
    assert_eq!(one(op.clone(), &[&bytes, &indices, &Tensor::vector(vec![50u8, 7])]).to_i64s().unwrap(), [1]);
    error_of(op, &[&bytes, &indices, &bytes]);
    let text = one(
        ScatterNd { reduction: ScatterReduction::None },
        &[
            &strings(&[2, 2], &["a", "b", "c", "d"]),
            &ints(&[-1]).reshaped(vec![1, 1]).unwrap(),
            &strings(&[1, 2], &["x", "y"]),
        ],
    );
    assert_eq!(text, strings(&[2, 2], &["a", "b", "x", "y"]));
}

#[test]
fn chooses_by_condition() {
    let data = ints(&[1, 2, 3, 4, 5, 6]).reshaped(vec![3, 2]).unwrap();
    let condition = Tensor::from_bools(vec![2], &[false, true]).unwrap();
    assert_eq!(one(Compress { axis: Some(0) }, &[&data, &condition]).to_i64s().unwrap(), [3, 4]);
    assert_eq!(one(Compress { axis: Some(-1) }, &[&data, &condition]).to_i64s().unwrap(), [2, 4, 6]);
    assert_eq!(one(Compress { axis: None }, &[&data, &condition]).to_i64s().unwrap(), [2]);
    let long = Tensor::from_bools(vec![7], &[true; 7]).unwrap();
    error_of(Compress { axis: None }, &[&data, &long]);
    error_of(Compress { axis: Some(0) }, &[&data, &long]);
    let places = one(NonZero {}, &[&ints(&[0, 7, 7, 0]).reshaped(vec![2, 2]).unwrap()]);
    assert_eq!((places.shape(), places.to_i64s().unwrap()), (&[2, 2][..], vec![0, 1, 1, 0]));
    assert_eq!(one(NonZero {}, &[&Tensor::scalar(1f32)]).shape(), [0, 1]);
}

#[test]
fn one_hot_counts_from_the_back() {
    let values = floats(&[0.0, 1.0]);
    let op = |axis| OneHot { axis };
    let last = one(op(-1), &[&ints(&[1, -1, 5]), &Tensor::scalar(3f32), &values]);
    assert_eq!((last.shape(), last.to_i128s().unwrap()), (&[3, 3][..], vec![0, 1, 0, 0, 0, 1, 0, 0, 0]));
    let first = one(op(0), &[&ints(&[1, 0]), &ints(&[2]), &values]);
    assert_eq!(first.to_i128s().unwrap(), [0, 1, 1, 0]);
    error_of(op(0), &[&ints(&[1]), &ints(&[-1]), &values]);
    error_of(op(0), &[&ints(&[1]), &ints(&[1 << 50]), &values]);
    error_of(op(3), &[&ints(&[1]), &ints(&[1]), &values]);
    error_of(op(0), &[&ints(&[1]), &ints(&[1]), &floats(&[1.0])]);
}

#[test]
fn makes_tensors_from_shapes() {
    let range = |numbers: [i64; 3]| one(Range {}, &numbers.map(Tensor::scalar).each_ref()).to_i64s().unwrap();
    assert_eq!(range([3, 9, 3]), [3, 6]);
    assert_eq!(range([10, 4, -4]), [10, 6]);
    assert_eq!(range([1, 1, 1]), [0i64; 0]);
    assert_eq!(range([i64::MIN, i64::MAX, i64::MAX]).len(), 3);
    let scalars = |numbers: [f32; 3]| numbers.map(Tensor::scalar);
    let halves = one(Range {}, &scalars([0.0, 1.2, 0.5]).each_ref());
    assert_eq!(halves.to_f64s().unwrap(), [0.0, 0.5, 1.0]);
    for wrong in [[0.0, 1.0, 0.0], [0.0, f32::INFINITY, 1.0], [0.0, 1e30, 1.0], [f32::NAN, 1.0, 1.0]] {
        error_of(Range {}, &scalars(wrong).each_ref());
    }
    error_of(Range {}, &[0, i64::MAX, 1].map(Tensor::scalar).each_ref());

    let data = Tensor::from_values(vec![2, 3, 4], vec![0u8; 24]).unwrap();
    let shape = |start, end| one(Shape { start, end }, &[&data]).to_i64s().unwrap();
    assert_eq!(shape(0, None), [2, 3, 4]);
    assert_eq!(shape(-2, Some(-1)), [3]);
    assert_eq!(shape(2, Some(1)), [0i64; 0]);
    assert_eq!(shape(i64::MIN, Some(i64::MAX)), [2, 3, 4]);
    assert_eq!(one(Size {}, &[&data]), Tensor::scalar(24i64));
    let value = Some(Tensor::from_i128s(ElementType::U4, vec![1], vec![9]).unwrap());
    assert_eq!(one(ConstantOfShape { value }, &[&ints(&[3])]).to_i64s().unwrap(), [9, 9, 9]);
    assert_eq!(one(ConstantOfShape { value: None }, &[&ints(&[])]).shape(), [0usize; 0]);
    error_of(ConstantOfShape { value: None }, &[&ints(&[1 << 40, 1 << 40])]);
    error_of(ConstantOfShape { value: None }, &[&ints(&[-1])]);
    let square = Tensor::from_values(vec![2, 3], vec![0i64; 6]).unwrap();
    assert_eq!(one(EyeLike { dtype: None, k: 1 }, &[&square]).to_i64s().unwrap(), [0, 1, 0, 0, 0, 1]);
    let eye = one(EyeLike { dtype: Some(ElementType::F64), k: i64::MIN }, &[&square]);
    assert_eq!(eye.to_f64s().unwrap(), [0.0; 6]);
}
