use super::*;

#[test]
fn plain_convolutions() {
    let x = f32s(&[1, 1, 5, 5], &(0..25u8).map(f32::from).collect::<Vec<_>>());
    let w = f32s(&[1, 1, 3, 3], &[1.0; 9]);
    let padded = op("Conv", |attributes| attributes.put("pads", &vec![1i64, 1, 1, 1]));
    let expected = [
        12.0, 21.0, 27.0, 33.0, 24.0, 33.0, 54.0, 63.0, 72.0, 51.0, 63.0, 99.0, 108.0, 117.0, 81.0, 93.0, 144.0, 153.0,
        162.0, 111.0, 72.0, 111.0, 117.0, 123.0, 84.0,
    ];
    assert_near(&run(&padded, &[&x, &w]), &[1, 1, 5, 5], &expected);
    assert_near(
        &run(&plain("Conv"), &[&x, &w]),
        &[1, 1, 3, 3],
        &[54.0, 63.0, 72.0, 99.0, 108.0, 117.0, 144.0, 153.0, 162.0],
    );
    let same = op("Conv", |attributes| {
        attributes.put("auto_pad", &"SAME_LOWER".to_owned());
        attributes.put("strides", &vec![2i64, 2]);
    });
    assert_near(&run(&same, &[&x, &w]), &[1, 1, 3, 3], &[12.0, 27.0, 24.0, 63.0, 108.0, 81.0, 72.0, 117.0, 84.0]);
    let one_more = run(&padded, &[&x, &w, &f32s(&[1], &[1.0])]);
    assert_eq!(one_more.to_f64s().unwrap()[0], 13.0);
}

#[test]
fn groups_dilations_and_one_axis() {
    let x = counting(&[1, 2, 5]);
    let w = f32s(&[2, 1, 2], &[1.0, -1.0, 2.0, 0.5]);
    let grouped = op("Conv", |attributes| {
        attributes.put("group", &2i64);
        attributes.put("dilations", &vec![2i64]);
    });
    assert_near(&run(&grouped, &[&x, &w]), &[1, 2, 3], &[-2.0, -2.0, -2.0, 16.0, 18.5, 21.0]);
    assert!(run_all(&with("Conv", "group", 3i64), &[&x, &w], 1).is_err());
    assert!(run_all(&with("Conv", "group", 0i64), &[&x, &w], 1).is_err());
    assert!(run_all(&with("Conv", "strides", vec![0i64]), &[&x, &f32s(&[1, 2, 1], &[1.0; 2])], 1).is_err());
    for extreme in [i64::MAX, i64::MIN] {
        for attribute in ["strides", "dilations", "pads"] {
            let extremes = vec![extreme; if attribute == "pads" { 2 } else { 1 }];
            let _ = run_all(&with("Conv", attribute, extremes), &[&x, &f32s(&[1, 2, 2], &[1.0; 4])], 1);
        }
    }
}

#[test]
fn three_axes() {
    let x = counting(&[1, 1, 2, 2, 2]);
    let w = counting(&[1, 1, 2, 2, 2]);
    assert_near(&run(&plain("Conv"), &[&x, &w]), &[1, 1, 1, 1, 1], &[204.0]);
    let transposed = run(&plain("ConvTranspose"), &[&x, &w]);
    assert_eq!(transposed.shape(), [1, 1, 3, 3, 3]);
    // Each product of an input and a weight lands somewhere.
    assert_eq!(transposed.to_f64s().unwrap().iter().sum::<f64>(), 36.0 * 36.0);
}

#[test]
fn transposed_convolutions() {
    let x = f32s(&[1, 1, 3, 3], &(0..9u8).map(f32::from).collect::<Vec<_>>());
    let w = f32s(&[1, 2, 3, 3], &[1.0; 18]);
    let half = [
        0.0, 1.0, 3.0, 3.0, 2.0, 3.0, 8.0, 15.0, 12.0, 7.0, 9.0, 21.0, 36.0, 27.0, 15.0, 9.0, 20.0, 33.0, 24.0, 13.0,
        6.0, 13.0, 21.0, 15.0, 8.0,
    ];
    assert_near(&run(&plain("ConvTranspose"), &[&x, &w]), &[1, 2, 5, 5], &[half, half].concat());
    let shape_of = |put: &dyn Fn(&mut Attributes)| {
        let op = op("ConvTranspose", |attributes| {
            attributes.put("strides", &vec![3i64, 2]);
            put(attributes);
        });
        run(&op, &[&x, &w]).shape().to_vec()
    };
    assert_eq!(shape_of(&|_| {}), [1, 2, 9, 7]);
    assert_eq!(shape_of(&|attributes| attributes.put("output_shape", &vec![10i64, 8])), [1, 2, 10, 8]);
    assert_eq!(shape_of(&|attributes| attributes.put("output_padding", &vec![1i64, 1])), [1, 2, 10, 8]);
    assert_eq!(shape_of(&|attributes| attributes.put("auto_pad", &"SAME_UPPER".to_owned())), [1, 2, 9, 6]);
    assert_eq!(shape_of(&|attributes| attributes.put("pads", &vec![1i64, 2, 1, 2])), [1, 2, 7, 3]);
    let grouped = op("ConvTranspose", |attributes| attributes.put("group", &2i64));
    let result =
        run(&grouped, &[&counting(&[1, 2, 2]), &f32s(&[2, 1, 2], &[1.0, 10.0, 2.0, 20.0]), &f32s(&[2], &[0.5, 0.0])]);
    assert_near(&result, &[1, 2, 3], &[1.5, 12.5, 20.5, 6.0, 68.0, 80.0]);
}

#[test]
fn blocks_of_taps_are_joined() {
    // More taps than a block holds, and a number of windows that is not a multiple of anything.
    let (channels, length) = (7, 20_011);
    let x = f32s(&[1, channels, length], &(0..channels * length).map(|place| (place % 11) as f32).collect::<Vec<_>>());
    let w = f32s(&[2, channels, 3], &(0..2 * channels * 3).map(|place| (place % 5) as f32 - 2.0).collect::<Vec<_>>());
    let result = run(&plain("Conv"), &[&x, &w]);
    let (x, w) = (x.to_f64s().unwrap(), w.to_f64s().unwrap());
    let values = result.to_f64s().unwrap();
    for (feature, window) in [(0, 0), (1, 5000), (1, length - 3)] {
        let expected: f64 = (0..channels * 3)
            .map(|place| x[place / 3 * length + window + place % 3] * w[feature * channels * 3 + place])
            .sum();
        assert_eq!(values[feature * (length - 2) + window], expected);
    }
}
