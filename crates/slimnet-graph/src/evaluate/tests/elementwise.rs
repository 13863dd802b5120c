use std::f64::consts::LN_2;

use super::*;

#[test]
fn functions_of_one_number() {
    let x = f32s(&[5], &[-2.0, -0.5, 0.0, 0.5, 2.0]);
    let cases: [(Op, [f64; 5]); 22] = [
        (plain("Abs"), [2.0, 0.5, 0.0, 0.5, 2.0]),
        (plain("Neg"), [2.0, 0.5, 0.0, -0.5, -2.0]),
        (plain("Sign"), [-1.0, -1.0, 0.0, 1.0, 1.0]),
        (plain("Relu"), [0.0, 0.0, 0.0, 0.5, 2.0]),
        (plain("Round"), [-2.0, 0.0, 0.0, 0.0, 2.0]),
        (plain("Ceil"), [-2.0, 0.0, 0.0, 1.0, 2.0]),
        (plain("Floor"), [-2.0, -1.0, 0.0, 0.0, 2.0]),
        (plain("Exp"), [0.135_335_28, 0.606_530_66, 1.0, 1.648_721_27, 7.389_056_1]),
        (plain("Erf"), [-0.995_322_27, -0.520_499_88, 0.0, 0.520_499_88, 0.995_322_27]),
        (plain("Sigmoid"), [0.119_202_92, 0.377_540_67, 0.5, 0.622_459_33, 0.880_797_08]),
        (plain("Softplus"), [0.126_928_01, 0.474_076_98, LN_2, 0.974_076_98, 2.126_928_01]),
        (plain("Softsign"), [-0.666_666_67, -0.333_333_33, 0.0, 0.333_333_33, 0.666_666_67]),
        (plain("HardSwish"), [-0.333_333_33, -0.208_333_33, 0.0, 0.291_666_67, 1.666_666_67]),
        (plain("HardSigmoid"), [0.1, 0.4, 0.5, 0.6, 0.9]),
        (plain("Mish"), [-0.252_501_48, -0.220_743_77, 0.0, 0.375_245_21, 1.943_958_96]),
        (plain("Gelu"), [-0.045_500_26, -0.154_268_77, 0.0, 0.345_731_23, 1.954_499_74]),
        (
            with("Gelu", "approximate", "tanh".to_owned()),
            [-0.045_402_31, -0.154_285_99, 0.0, 0.345_714_01, 1.954_597_69],
        ),
        (plain("LeakyRelu"), [-0.02, -0.005, 0.0, 0.5, 2.0]),
        (plain("Elu"), [-0.864_664_72, -0.393_469_34, 0.0, 0.5, 2.0]),
        (plain("Selu"), [-1.520_166_52, -0.691_758_19, 0.0, 0.525_350_5, 2.101_402]),
        (with("Celu", "alpha", 2.0f32), [-1.264_241_12, -0.442_398_43, 0.0, 0.5, 2.0]),
        (plain("ThresholdedRelu"), [0.0, 0.0, 0.0, 0.0, 2.0]),
    ];
    for (op, expected) in cases {
        assert_near(&run(&op, &[&x]), &[5], &expected);
    }
    assert_near(&run(&plain("Shrink"), &[&x]), &[5], &[-2.0, 0.0, 0.0, 0.0, 2.0]);
    assert_near(
        &run(&with("Swish", "alpha", 2.0f32), &[&x]),
        &[5],
        &[-0.035_972_42, -0.134_470_71, 0.0, 0.365_529_29, 1.964_027_58],
    );
}

#[test]
fn integers_wrap_and_halves_round_to_even() {
    let x = ints(ElementType::I8, &[3], &[-128, -1, 5]);
    assert_ints(&run(&plain("Neg"), &[&x]), &[3], &[-128, 1, -5]);
    assert_ints(&run(&plain("Abs"), &[&x]), &[3], &[-128, 1, 5]);
    assert_ints(&run(&plain("Relu"), &[&x]), &[3], &[0, 0, 5]);
    assert_ints(&run(&plain("Sign"), &[&x]), &[3], &[-1, -1, 1]);
    assert_ints(&run(&plain("BitwiseNot"), &[&x]), &[3], &[127, 0, -6]);
    assert_ints(&run(&plain("Add"), &[&x, &ints(ElementType::I8, &[], &[-1])]), &[3], &[127, -2, 4]);
    assert_ints(&run(&plain("Mul"), &[&x, &ints(ElementType::I8, &[], &[3])]), &[3], &[-128, -3, 15]);
    let halves = f32s(&[4], &[0.5, 1.5, -2.5, 2.4]);
    assert_near(&run(&plain("Round"), &[&halves]), &[4], &[0.0, 2.0, -2.0, 2.0]);
    let most = ints(ElementType::U64, &[1], &[-1]);
    assert_ints(&run(&plain("Mul"), &[&most, &most]), &[1], &[1]);
}

#[test]
fn division_and_remainders() {
    let (a, b) = (ints(ElementType::I32, &[4], &[7, -7, 7, -7]), ints(ElementType::I32, &[4], &[3, 3, -3, -3]));
    assert_ints(&run(&plain("Div"), &[&a, &b]), &[4], &[2, -2, -2, 2]);
    assert_ints(&run(&plain("Mod"), &[&a, &b]), &[4], &[1, 2, -2, -1]);
    assert_ints(&run(&with("Mod", "fmod", true), &[&a, &b]), &[4], &[1, -1, 1, -1]);
    let zero = ints(ElementType::I32, &[1], &[0]);
    assert!(run_all(&plain("Div"), &[&a, &zero], 1).is_err());
    assert!(run_all(&plain("Mod"), &[&a, &zero], 1).is_err());
    let (a, b) = (f32s(&[2], &[-4.3, 1.0]), f32s(&[2], &[2.1, 0.0]));
    assert_near(&run(&plain("Div"), &[&a, &b]), &[2], &[-2.047_619_05, f64::INFINITY]);
    assert_near(&run(&with("Mod", "fmod", true), &[&a, &b]), &[2], &[-0.1, f64::NAN]);
    assert!(run_all(&plain("Mod"), &[&a, &b], 1).is_err());
}

#[test]
fn powers_have_the_type_of_the_base() {
    let base = ints(ElementType::I32, &[3], &[2, -3, 1]);
    assert_ints(&run(&plain("Pow"), &[&base, &ints(ElementType::I64, &[3], &[10, 3, -1])]), &[3], &[1024, -27, 1]);
    let result = run(&plain("Pow"), &[&base, &f32s(&[], &[0.5])]);
    assert_eq!(result.element_type(), ElementType::I32);
    assert_eq!(result.to_i64s().unwrap()[0], 1);
    assert_near(
        &run(&plain("Pow"), &[&f32s(&[2], &[4.0, 9.0]), &ints(ElementType::I32, &[], &[-1])]),
        &[2],
        &[0.25, 1.0 / 9.0],
    );
    assert!(
        run_all(&plain("Pow"), &[&ints(ElementType::I32, &[], &[0]), &ints(ElementType::I32, &[], &[-1])], 1).is_err()
    );
}

#[test]
fn broadcasting() {
    let (row, column) = (f32s(&[3], &[1.0, 2.0, 3.0]), f32s(&[2, 1], &[10.0, 20.0]));
    assert_near(&run(&plain("Add"), &[&column, &row]), &[2, 3], &[11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
    let (a, b) = (counting(&[2, 1, 2]), counting(&[3, 1]));
    let expected = [1.0, 2.0, 2.0, 4.0, 3.0, 6.0, 3.0, 4.0, 6.0, 8.0, 9.0, 12.0];
    assert_near(&run(&plain("Mul"), &[&a, &b]), &[2, 3, 2], &expected);
    assert_near(&run(&plain("Add"), &[&f32s(&[0, 3], &[]), &row]), &[0, 3], &[]);
    assert!(run_all(&plain("Add"), &[&row, &counting(&[2])], 1).is_err());
    assert!(run_all(&plain("Add"), &[&row, &i64s(&[1])], 1).is_err());
    assert_near(
        &run(&plain("PRelu"), &[&f32s(&[2, 2], &[-1.0, 2.0, -3.0, 4.0]), &f32s(&[2, 1], &[0.1, 0.2])]),
        &[2, 2],
        &[-0.1, 2.0, -0.6, 4.0],
    );
    assert!(run_all(&plain("PRelu"), &[&row, &counting(&[2, 3])], 1).is_err());
}

#[test]
fn comparisons_and_logic() {
    let big = ints(ElementType::I64, &[2], &[i64::MAX, i64::MAX - 1]);
    let max = ints(ElementType::I64, &[], &[i64::MAX]);
    // In f64 the two would be one.
    assert_ints(&run(&plain("Equal"), &[&big, &max]), &[2], &[1, 0]);
    assert_ints(&run(&plain("Less"), &[&big, &max]), &[2], &[0, 1]);
    let nan = f32s(&[2], &[f32::NAN, 1.0]);
    for (name, expected) in
        [("Equal", [0, 1]), ("LessOrEqual", [0, 1]), ("GreaterOrEqual", [0, 1]), ("Greater", [0, 0])]
    {
        let result = run(&plain(name), &[&nan, &nan]);
        assert_eq!(result.element_type(), ElementType::Bool);
        assert_ints(&result, &[2], &expected);
    }
    assert_ints(&run(&plain("IsNaN"), &[&nan]), &[2], &[1, 0]);
    let infinite = f32s(&[3], &[f32::NEG_INFINITY, f32::INFINITY, 0.0]);
    assert_ints(&run(&plain("IsInf"), &[&infinite]), &[3], &[1, 1, 0]);
    assert_ints(&run(&with("IsInf", "detect_negative", false), &[&infinite]), &[3], &[0, 1, 0]);
    let (a, b) = (
        Tensor::from_bools(vec![4], &[false, false, true, true]),
        Tensor::from_bools(vec![4], &[false, true, false, true]),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ints(&run(&plain("And"), &[&a, &b]), &[4], &[0, 0, 0, 1]);
    assert_ints(&run(&plain("Or"), &[&a, &b]), &[4], &[0, 1, 1, 1]);
    assert_ints(&run(&plain("Xor"), &[&a, &b]), &[4], &[0, 1, 1, 0]);
    assert_ints(&run(&plain("Not"), &[&a]), &[4], &[1, 1, 0, 0]);
    assert_ints(&run(&plain("Equal"), &[&a, &b]), &[4], &[1, 0, 0, 1]);
    let words =
        |words: [&str; 2]| Tensor::from_strings(vec![2], words.map(|word| word.as_bytes().to_vec()).to_vec()).unwrap();
    assert_ints(&run(&plain("Equal"), &[&words(["a", "b"]), &words(["a", "c"])]), &[2], &[1, 0]);
}

#[test]
fn bits() {
    let x = ints(ElementType::U8, &[3], &[0b1010, 0xFF, 1]);
    let y = ints(ElementType::U8, &[3], &[0b0110, 3, 9]);
    assert_ints(&run(&plain("BitwiseAnd"), &[&x, &y]), &[3], &[0b0010, 3, 1]);
    assert_ints(&run(&plain("BitwiseOr"), &[&x, &y]), &[3], &[0b1110, 0xFF, 9]);
    assert_ints(&run(&plain("BitwiseXor"), &[&x, &y]), &[3], &[0b1100, 0xFC, 8]);
    assert_ints(&run(&with("BitShift", "direction", "LEFT".to_owned()), &[&x, &y]), &[3], &[0x80, 0xF8, 0]);
    assert_ints(&run(&with("BitShift", "direction", "RIGHT".to_owned()), &[&x, &y]), &[3], &[0, 0x1F, 0]);
    let (one, far) = (ints(ElementType::U64, &[1], &[1]), ints(ElementType::U64, &[1], &[-1]));
    assert_ints(&run(&with("BitShift", "direction", "LEFT".to_owned()), &[&one, &far]), &[1], &[0]);
}

#[test]
fn extremes_keep_nan() {
    let (a, b) = (f32s(&[3], &[f32::NAN, 1.0, 3.0]), f32s(&[3], &[0.0, f32::NAN, 2.0]));
    assert_near(&run(&plain("Max"), &[&a, &b]), &[3], &[f64::NAN, f64::NAN, 3.0]);
    assert_near(&run(&plain("Min"), &[&a, &b]), &[3], &[f64::NAN, f64::NAN, 2.0]);
    assert_near(&run(&plain("Relu"), &[&a]), &[3], &[f64::NAN, 1.0, 3.0]);
    let c = counting(&[2, 1]);
    assert_near(&run(&plain("Sum"), &[&c, &c, &f32s(&[2], &[1.0, 2.0])]), &[2, 2], &[3.0, 4.0, 5.0, 6.0]);
    assert_near(&run(&plain("Mean"), &[&c, &f32s(&[2], &[1.0, 2.0])]), &[2, 2], &[1.0, 1.5, 1.5, 2.0]);
    assert_ints(&run(&plain("Max"), &[&i64s(&[1, 5]), &i64s(&[3])]), &[2], &[3, 5]);
}

#[test]
fn clipping() {
    let x = f32s(&[4], &[-3.0, 0.5, 3.0, f32::NAN]);
    let (low, high) = (f32s(&[], &[-1.0]), f32s(&[], &[1.0]));
    assert_near(&run(&plain("Clip"), &[&x, &low, &high]), &[4], &[-1.0, 0.5, 1.0, f64::NAN]);
    assert_near(&run(&plain("Clip"), &[&x, &high, &low]), &[4], &[-1.0, -1.0, -1.0, f64::NAN]);
    let only_high = evaluate_op(&plain("Clip"), &[Some(&x), None, Some(&high)], 1, LIMIT).unwrap();
    assert_near(&only_high[0], &[4], &[-3.0, 0.5, 1.0, f64::NAN]);
    let big = i64s(&[i64::MAX, 5]);
    assert_ints(&run(&plain("Clip"), &[&big, &ints(ElementType::I64, &[], &[6])]), &[2], &[i64::MAX, 6]);
    assert!(run_all(&plain("Clip"), &[&x, &f32s(&[2], &[0.0, 0.0])], 1).is_err());
}

#[test]
fn half_precision_is_rounded_once() {
    // 1/3 in f16, from an exact quotient.
    let (a, b) = (
        Tensor::from_f64s(ElementType::F16, vec![1], vec![1.0]),
        Tensor::from_f64s(ElementType::F16, vec![1], vec![3.0]),
    );
    let result = run(&plain("Div"), &[&a.unwrap(), &b.unwrap()]);
    assert_eq!(result.element_type(), ElementType::F16);
    assert_eq!(result.to_f64s().unwrap(), [0.333_251_953_125]);
}
