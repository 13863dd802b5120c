use super::*;

#[test]
fn reductions_of_floats() {
    let x = f32s(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
    let cases = [
        ("ReduceL1", [3.0, 7.0]),
        ("ReduceL2", [5f64.sqrt(), 5.0]),
        ("ReduceLogSumExp", [1.048_587_35, 4.313_261_69]),
        ("ReduceMax", [1.0, 4.0]),
        ("ReduceMean", [-0.5, 3.5]),
        ("ReduceMin", [-2.0, 3.0]),
        ("ReduceProd", [-2.0, 12.0]),
        ("ReduceSum", [-1.0, 7.0]),
        ("ReduceSumSquare", [5.0, 25.0]),
    ];
    for (name, expected) in cases {
        assert_near(&run(&plain(name), &[&x, &i64s(&[1])]), &[2, 1], &expected);
        assert_near(&run(&with(name, "keepdims", false), &[&x, &i64s(&[-1])]), &[2], &expected);
    }
    assert_near(&run(&plain("ReduceLogSum"), &[&x, &i64s(&[0])]), &[1, 2], &[4f64.ln(), 2f64.ln()]);
    assert!(run_all(&plain("ReduceSum"), &[&x, &i64s(&[2])], 1).is_err());
}

#[test]
fn which_axes() {
    let x = counting(&[2, 2, 2]);
    assert_near(&run(&plain("ReduceSum"), &[&x]), &[1, 1, 1], &[36.0]);
    assert_near(&run(&with("ReduceSum", "keepdims", false), &[&x, &i64s(&[])]), &[], &[36.0]);
    assert_near(&run(&plain("ReduceSum"), &[&x, &i64s(&[2, 0])]), &[1, 2, 1], &[14.0, 22.0]);
    // Without axes only the reduction is left out, not what is done to each element.
    let squares = run(&with("ReduceSumSquare", "noop_with_empty_axes", true), &[&counting(&[2])]);
    assert_near(&squares, &[2], &[1.0, 4.0]);
}

#[test]
fn empty_sets() {
    let empty = f32s(&[2, 0], &[]);
    let cases = [
        ("ReduceSum", 0.0),
        ("ReduceProd", 1.0),
        ("ReduceMax", f64::NEG_INFINITY),
        ("ReduceMin", f64::INFINITY),
        ("ReduceLogSumExp", f64::NEG_INFINITY),
        ("ReduceMean", f64::NAN),
    ];
    for (name, expected) in cases {
        assert_near(&run(&plain(name), &[&empty, &i64s(&[1])]), &[2, 1], &[expected; 2]);
    }
    let integers = ints(ElementType::I32, &[0], &[]);
    assert_ints(&run(&plain("ReduceMax"), &[&integers]), &[1], &[i64::from(i32::MIN)]);
    assert!(run_all(&plain("ReduceMean"), &[&integers], 1).is_err());
    let wide = ints(ElementType::I8, &[0, 1 << 40], &[]);
    assert!(run_all(&plain("ReduceSum"), &[&wide, &i64s(&[0])], 1).unwrap_err().to_string().contains("limit"));
}

#[test]
fn integers_are_exact() {
    let x = i64s(&[i64::MAX, 1, -3]);
    assert_ints(&run(&plain("ReduceSum"), &[&x]), &[1], &[i64::MAX - 2]);
    assert_ints(&run(&plain("ReduceMax"), &[&x]), &[1], &[i64::MAX]);
    assert_ints(&run(&plain("ReduceMean"), &[&i64s(&[-1, -2])]), &[1], &[-1]);
    assert_ints(&run(&plain("ReduceProd"), &[&x]), &[1], &[i64::MIN + 2 + 1]);
    let truth = Tensor::from_bools(vec![2], &[true, false]).unwrap();
    assert_ints(&run(&plain("ReduceMin"), &[&truth]), &[1], &[0]);
}

#[test]
fn places_of_extremes() {
    let x = f32s(&[2, 3], &[1.0, 3.0, 3.0, 2.0, f32::NAN, 1.0]);
    assert_ints(&run(&with("ArgMax", "axis", 1i64), &[&x]), &[2, 1], &[1, 1]);
    let last = op("ArgMax", |attributes| {
        attributes.put("axis", &-1i64);
        attributes.put("keepdims", &false);
        attributes.put("select_last_index", &true);
    });
    assert_ints(&run(&last, &[&x]), &[2], &[2, 1]);
    assert_ints(&run(&plain("ArgMin"), &[&i64s(&[i64::MAX, i64::MAX - 1])]), &[1], &[1]);
    assert!(run_all(&plain("ArgMax"), &[&f32s(&[0], &[])], 1).is_err());
}

#[test]
fn largest_and_smallest() {
    let x = f32s(&[2, 4], &[1.0, 4.0, 4.0, 2.0, 5.0, 0.0, 1.0, 1.0]);
    let results = run_all(&plain("TopK"), &[&x, &i64s(&[3])], 2).unwrap();
    assert_near(&results[0], &[2, 3], &[4.0, 4.0, 2.0, 5.0, 1.0, 1.0]);
    assert_ints(&results[1], &[2, 3], &[1, 2, 3, 0, 2, 3]);
    let smallest = op("TopK", |attributes| {
        attributes.put("axis", &0i64);
        attributes.put("largest", &false);
    });
    let results = run_all(&smallest, &[&x, &i64s(&[1])], 2).unwrap();
    assert_near(&results[0], &[1, 4], &[1.0, 0.0, 1.0, 1.0]);
    assert_ints(&results[1], &[1, 4], &[0, 1, 1, 1]);
    assert!(run_all(&plain("TopK"), &[&x, &i64s(&[5])], 2).is_err());
    assert!(run_all(&plain("TopK"), &[&x, &i64s(&[-1])], 2).is_err());
}

#[test]
fn running_sums() {
    let x = counting(&[2, 3]);
    let axis = ints(ElementType::I32, &[], &[1]);
    assert_near(&run(&plain("CumSum"), &[&x, &axis]), &[2, 3], &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    let other = op("CumSum", |attributes| {
        attributes.put("reverse", &true);
        attributes.put("exclusive", &true);
    });
    assert_near(&run(&other, &[&x, &axis]), &[2, 3], &[5.0, 3.0, 0.0, 11.0, 6.0, 0.0]);
    assert_ints(&run(&plain("CumSum"), &[&i64s(&[1, 2, 3]), &i64s(&[0])]), &[3], &[1, 3, 6]);
}
