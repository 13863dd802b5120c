use super::*;

#[test]
fn batch_normalization() {
    let x = counting(&[2, 2, 2]);
    let (scale, bias) = (f32s(&[2], &[2.0, 3.0]), f32s(&[2], &[0.5, -0.5]));
    let (mean, variance) = (f32s(&[2], &[1.0, 2.0]), f32s(&[2], &[3.0, 4.0]));
    let expected =
        [0.5, 1.654_698_614, 0.999_998_125, 2.499_996_25, 5.118_794_456, 6.273_493_069, 6.999_990_625, 8.499_988_75];
    let inputs = [&x, &scale, &bias, &mean, &variance];
    assert_near(&run(&plain("BatchNormalization"), &inputs), &[2, 2, 2], &expected);
    let (one, zero) = (f32s(&[2], &[1.0; 2]), f32s(&[2], &[0.0; 2]));
    let training = with("BatchNormalization", "training_mode", true);
    let results = run_all(&training, &[&x, &one, &zero, &mean, &variance], 3).unwrap();
    let (near, far) = (0.727_606_019, 1.212_676_699);
    assert_near(&results[0], &[2, 2, 2], &[-far, -near, -far, -near, near, far, near, far]);
    assert_near(&results[1], &[2], &[1.25, 2.35]);
    assert_near(&results[2], &[2], &[3.125, 4.025]);
    assert!(run_all(&plain("BatchNormalization"), &[&x, &scale, &bias, &mean, &counting(&[3])], 1).is_err());
}

const STANDARD: [f64; 4] = [-1.069_043_44, -0.534_521_72, 0.0, 1.603_565_161];

#[test]
fn normalizations_of_groups() {
    let x = f32s(&[1, 2, 4], &[1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 60.0]);
    let (scale, bias) = (f32s(&[2], &[1.0, 2.0]), f32s(&[2], &[0.0, 1.0]));
    let second = [-1.138_09, -0.069_045, 1.0, 4.207_135];
    let expected = [&STANDARD[..], &second].concat();
    assert_near(&run(&plain("InstanceNormalization"), &[&x, &scale, &bias]), &[1, 2, 4], &expected);
    assert_near(&run(&with("GroupNormalization", "num_groups", 2i64), &[&x, &scale, &bias]), &[1, 2, 4], &expected);
    let joined = run(
        &with("GroupNormalization", "num_groups", 1i64),
        &[&f32s(&[1, 2, 2], &[1.0, 2.0, 3.0, 6.0]), &scale, &bias],
    );
    assert_near(&joined, &[1, 2, 2], &[STANDARD[0], STANDARD[1], 1.0, 4.207_130_32]);
    assert!(run_all(&with("GroupNormalization", "num_groups", 3i64), &[&x, &scale, &bias], 1).is_err());
    assert!(run_all(&with("GroupNormalization", "num_groups", 0i64), &[&x, &scale, &bias], 1).is_err());
}

#[test]
fn layer_normalizations() {
    let x = f32s(&[2, 2, 2], &[1.0, 2.0, 3.0, 6.0, 1.0, 2.0, 3.0, 6.0]);
    let op = with("LayerNormalization", "axis", 1i64);
    let scale = f32s(&[2], &[1.0, 10.0]);
    let results = run_all(&op, &[&x, &scale, &f32s(&[], &[0.5])], 3).unwrap();
    let half = [STANDARD[0] + 0.5, 10.0 * STANDARD[1] + 0.5, 0.5, 10.0 * STANDARD[3] + 0.5];
    assert_near(&results[0], &[2, 2, 2], &[half, half].concat());
    assert_near(&results[1], &[2, 1, 1], &[3.0, 3.0]);
    assert_near(&results[2], &[2, 1, 1], &[0.534_521_72; 2]);
    let root = run(&with("RMSNormalization", "axis", 0i64), &[&f32s(&[4], &[1.0, 2.0, 3.0, 6.0]), &f32s(&[], &[1.0])]);
    assert_near(&root, &[4], &[0.282_842_599, 0.565_685_199, 0.848_527_798, 1.697_055_596]);
    assert!(run_all(&op, &[&x, &counting(&[3])], 1).is_err());
    assert!(run_all(&with("LayerNormalization", "axis", 3i64), &[&x, &scale], 1).is_err());
}

#[test]
fn other_normalizations() {
    let channels = f32s(&[1, 4, 1], &[1.0, 2.0, 3.0, 4.0]);
    let lrn = |size: i64, alpha: f32| {
        op("LRN", |attributes| {
            attributes.put("size", &size);
            attributes.put("alpha", &alpha);
            attributes.put("beta", &0.5f32);
        })
    };
    let odd = [0.816_496_581, 1.290_994_449, 1.519_109_051, 2.138_089_935];
    assert_near(&run(&lrn(3, 0.3), &[&channels]), &[1, 4, 1], &odd);
    // An even size reaches further up than down.
    let even = [0.755_928_946, 1.164_445_019, 1.376_494_403, 2.169_304_578];
    assert_near(&run(&lrn(2, 0.3), &[&channels]), &[1, 4, 1], &even);
    assert!(run_all(&lrn(i64::MAX, 0.3), &[&channels], 1).is_ok());
    assert!(run_all(&lrn(0, 0.3), &[&channels], 1).is_err());
    let x = f32s(&[2, 2], &[3.0, 0.0, -4.0, 0.0]);
    assert_near(&run(&with("LpNormalization", "axis", 0i64), &[&x]), &[2, 2], &[0.6, 0.0, -0.8, 0.0]);
    assert_near(&run(&with("LpNormalization", "p", 1i64), &[&x]), &[2, 2], &[1.0, 0.0, -1.0, 0.0]);
    let mvn = with("MeanVarianceNormalization", "axes", vec![0i64]);
    let expected = [-1.069_044_968, -0.534_522_484, 0.0, 1.603_567_451];
    assert_near(&run(&mvn, &[&f32s(&[4], &[1.0, 2.0, 3.0, 6.0])]), &[4], &expected);
}

#[test]
fn softmaxes() {
    let x = f32s(&[3, 1], &[1001.0, 1002.0, 1003.0]);
    assert_near(&run(&with("Softmax", "axis", 0i64), &[&x]), &[3, 1], &[0.090_030_573, 0.244_728_471, 0.665_240_956]);
    let logs = [-2.407_605_964, -1.407_605_964, -0.407_605_964];
    assert_near(&run(&with("LogSoftmax", "axis", 0i64), &[&x]), &[3, 1], &logs);
    assert_near(&run(&plain("Softmax"), &[&x]), &[3, 1], &[1.0; 3]);
    let ties = f32s(&[2, 3], &[1.0, 5.0, 5.0, 2.0, 2.0, 1.0]);
    assert_near(&run(&plain("Hardmax"), &[&ties]), &[2, 3], &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn dropout_is_the_identity_unless_it_trains() {
    let x = counting(&[3]);
    let results = run_all(&plain("Dropout"), &[&x], 2).unwrap();
    assert_eq!(results[0], x);
    assert_ints(&results[1], &[3], &[1, 1, 1]);
    let (half, none, yes) = (f32s(&[], &[0.5]), f32s(&[], &[0.0]), Tensor::from_bools(vec![], &[true]).unwrap());
    assert!(matches!(run_all(&plain("Dropout"), &[&x, &half, &yes], 1), Err(EvaluateError::Unsupported(_))));
    assert_eq!(run(&plain("Dropout"), &[&x, &none, &yes]), x);
}
