use super::*;

#[test]
fn matrices_vectors_and_batches() {
    let (a, b) = (counting(&[2, 3]), counting(&[3, 2]));
    assert_near(&run(&plain("MatMul"), &[&a, &b]), &[2, 2], &[22.0, 28.0, 49.0, 64.0]);
    let v = counting(&[3]);
    assert_near(&run(&plain("MatMul"), &[&a, &v]), &[2], &[14.0, 32.0]);
    assert_near(&run(&plain("MatMul"), &[&v, &b]), &[2], &[22.0, 28.0]);
    assert_near(&run(&plain("MatMul"), &[&v, &v]), &[], &[14.0]);
    let batch = counting(&[2, 1, 1, 2]);
    let other = counting(&[3, 2, 1]);
    let expected = [5.0, 11.0, 17.0, 11.0, 25.0, 39.0];
    assert_near(&run(&plain("MatMul"), &[&batch, &other]), &[2, 3, 1, 1], &expected);
    assert_near(&run(&plain("MatMul"), &[&f32s(&[2, 0], &[]), &f32s(&[0, 2], &[])]), &[2, 2], &[0.0; 4]);
    assert!(run_all(&plain("MatMul"), &[&a, &a], 1).is_err());
    assert!(run_all(&plain("MatMul"), &[&a, &f32s(&[], &[1.0])], 1).is_err());
}

#[test]
fn long_sums_are_complete() {
    for (k, n) in [(1, 1), (4, 3), (7, 513), (9, 1100)] {
        let (a, b) = (counting(&[2, k]), f32s(&[k, n], &vec![1.0; k * n]));
        let values = run(&plain("MatMul"), &[&a, &b]).to_f64s().unwrap();
        let (first, all) = ((k * (k + 1) / 2) as f64, (k * (2 * k + 1)) as f64);
        assert!(values[..n].iter().all(|&value| value == first), "{k} × {n}");
        assert!(values[n..].iter().all(|&value| value == all - first), "{k} × {n}");
    }
}

#[test]
fn integers_wrap() {
    let a = ints(ElementType::I32, &[1, 2], &[1 << 20, 1]);
    let b = ints(ElementType::I32, &[2, 1], &[1 << 12, -7]);
    assert_ints(&run(&plain("MatMul"), &[&a, &b]), &[1, 1], &[-7]);
}

#[test]
fn gemm_with_all_attributes() {
    let (a, b) = (counting(&[3, 2]), counting(&[2, 3]));
    let gemm = op("Gemm", |attributes| {
        attributes.put("transA", &true);
        attributes.put("transB", &true);
        attributes.put("alpha", &0.5f32);
        attributes.put("beta", &2.0f32);
    });
    // Aᵀ = [[1, 3, 5], [2, 4, 6]], Bᵀ = [[1, 4], [2, 5], [3, 6]].
    assert_near(&run(&gemm, &[&a, &b, &f32s(&[2], &[1.0, 2.0])]), &[2, 2], &[13.0, 28.5, 16.0, 36.0]);
    assert_near(
        &run(&plain("Gemm"), &[&a, &b, &f32s(&[3, 1], &[1.0, 2.0, 3.0])]),
        &[3, 3],
        &[10.0, 13.0, 16.0, 21.0, 28.0, 35.0, 32.0, 43.0, 54.0],
    );
    assert!(run_all(&plain("Gemm"), &[&a, &b, &counting(&[4])], 1).is_err());
    assert!(run_all(&plain("Gemm"), &[&a, &counting(&[3])], 1).is_err());
}
