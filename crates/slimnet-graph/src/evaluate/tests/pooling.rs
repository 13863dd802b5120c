use super::*;

fn pool(name: &str, kernel: &[i64], put: impl FnOnce(&mut Attributes)) -> Op {
    op(name, |attributes| {
        attributes.put("kernel_shape", &kernel.to_vec());
        put(attributes);
    })
}

#[test]
fn maxima_and_their_indices() {
    let x = counting(&[1, 1, 5, 5]);
    let padded = pool("MaxPool", &[3, 3], |attributes| {
        attributes.put("pads", &vec![1i64; 4]);
        attributes.put("strides", &vec![2i64; 2]);
    });
    assert_near(&run(&padded, &[&x]), &[1, 1, 3, 3], &[7.0, 9.0, 10.0, 17.0, 19.0, 20.0, 22.0, 24.0, 25.0]);
    let strided = |storage_order: bool| {
        pool("MaxPool", &[2, 2], |attributes| {
            attributes.put("strides", &vec![2i64, 2]);
            attributes.put("storage_order", &storage_order);
        })
    };
    let results = run_all(&strided(true), &[&x], 2).unwrap();
    assert_near(&results[0], &[1, 1, 2, 2], &[7.0, 9.0, 17.0, 19.0]);
    assert_ints(&results[1], &[1, 1, 2, 2], &[6, 16, 8, 18]);
    let results = run_all(&strided(false), &[&counting(&[1, 2, 2, 2])], 2).unwrap();
    assert_ints(&results[1], &[1, 2, 1, 1], &[3, 7]);
    let dilated = pool("MaxPool", &[2], |attributes| attributes.put("dilations", &vec![3i64]));
    assert_near(&run(&dilated, &[&f32s(&[1, 1, 5], &[9.0, 1.0, 2.0, 3.0, 4.0])]), &[1, 1, 2], &[9.0, 4.0]);
    let bytes = ints(ElementType::I8, &[1, 1, 3], &[-5, -3, -4]);
    assert_ints(&run(&pool("MaxPool", &[2], |_| {}), &[&bytes]), &[1, 1, 2], &[-3, -3]);
}

#[test]
fn means_and_padding() {
    let x = counting(&[1, 1, 4]);
    let mean = |include: bool| {
        pool("AveragePool", &[3], |attributes| {
            attributes.put("pads", &vec![1i64, 1]);
            attributes.put("count_include_pad", &include);
        })
    };
    assert_near(&run(&mean(false), &[&x]), &[1, 1, 4], &[1.5, 2.0, 3.0, 3.5]);
    assert_near(&run(&mean(true), &[&x]), &[1, 1, 4], &[1.0, 2.0, 3.0, 7.0 / 3.0]);
    let same = pool("AveragePool", &[2], |attributes| attributes.put("auto_pad", &"SAME_LOWER".to_owned()));
    assert_near(&run(&same, &[&x]), &[1, 1, 4], &[1.0, 1.5, 2.5, 3.5]);
}

#[test]
fn windows_over_the_edge() {
    let ceil = |name: &str, put: &dyn Fn(&mut Attributes)| {
        pool(name, &[3], |attributes| {
            attributes.put("ceil_mode", &true);
            attributes.put("strides", &vec![2i64]);
            put(attributes);
        })
    };
    let x = counting(&[1, 1, 6]);
    assert_near(&run(&ceil("MaxPool", &|_| {}), &[&x]), &[1, 1, 3], &[3.0, 5.0, 6.0]);
    // What lies behind the padding does not count, what lies in it may.
    assert_near(&run(&ceil("AveragePool", &|_| {}), &[&x]), &[1, 1, 3], &[2.0, 4.0, 5.5]);
    let include = |attributes: &mut Attributes| attributes.put("count_include_pad", &true);
    assert_near(&run(&ceil("AveragePool", &include), &[&x]), &[1, 1, 3], &[2.0, 4.0, 5.5]);
    // The last window would start behind the input.
    let far = pool("MaxPool", &[2], |attributes| {
        attributes.put("ceil_mode", &true);
        attributes.put("strides", &vec![3i64]);
        attributes.put("pads", &vec![0i64, 1]);
    });
    assert_near(&run(&far, &[&counting(&[1, 1, 5])]), &[1, 1, 2], &[2.0, 5.0]);
}

#[test]
fn norms_and_global_pools() {
    let x = f32s(&[1, 2, 2], &[3.0, -4.0, 1.0, 2.0]);
    assert_near(&run(&pool("LpPool", &[2], |_| {}), &[&x]), &[1, 2, 1], &[5.0, 5f64.sqrt()]);
    let cubes = pool("LpPool", &[2], |attributes| attributes.put("p", &3i64));
    assert_near(&run(&cubes, &[&x]), &[1, 2, 1], &[91f64.cbrt(), 9f64.cbrt()]);
    assert_near(&run(&with("GlobalLpPool", "p", 1i64), &[&x]), &[1, 2, 1], &[7.0, 3.0]);
    assert_near(&run(&plain("GlobalAveragePool"), &[&counting(&[1, 2, 2, 2])]), &[1, 2, 1, 1], &[2.5, 6.5]);
    assert_near(&run(&plain("GlobalMaxPool"), &[&counting(&[1, 2, 2, 2])]), &[1, 2, 1, 1], &[4.0, 8.0]);
}

#[test]
fn hostile_windows_are_refused() {
    let x = counting(&[1, 1, 4]);
    for extreme in [i64::MAX, i64::MIN, 0, -1] {
        assert!(run_all(&pool("MaxPool", &[extreme], |_| {}), &[&x], 1).is_err());
        for attribute in ["strides", "dilations", "pads"] {
            let extremes = vec![extreme; if attribute == "pads" { 2 } else { 1 }];
            let _ = run_all(&pool("MaxPool", &[2], |attributes| attributes.put(attribute, &extremes)), &[&x], 1);
        }
    }
    // A wide window with as much padding: only the elements inside cost time.
    let wide = pool("AveragePool", &[1 << 40], |attributes| attributes.put("pads", &vec![1i64 << 39; 2]));
    assert_near(&run(&wide, &[&x]), &[1, 1, 5], &[2.5; 5]);
}
