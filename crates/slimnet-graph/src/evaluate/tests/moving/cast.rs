use super::{error_of, floats, one, strings};
use crate::ops::elementwise::{Cast, CastLike};
use crate::tensor::{ElementType, Tensor};

fn cast(data: &Tensor, to: ElementType) -> Tensor {
    one(Cast { saturate: true, to }, &[data])
}

#[test]
fn numbers_of_every_pair_of_types() {
    for from in ElementType::ALL {
        for to in ElementType::ALL {
            let numeric = |kind: ElementType| kind.is_integer() || kind.is_float() || kind == ElementType::Bool;
            if !numeric(from) || !numeric(to) {
                continue;
            }
            // 1 is in every type, and 0 in all but one.
            let data = Tensor::from_i128s(from, vec![1], vec![1]).unwrap();
            assert_eq!(cast(&data, to).to_i128s().unwrap(), [1], "{from} to {to}");
            assert_eq!(one(CastLike { saturate: true }, &[&data, &cast(&data, to)]).element_type(), to);
        }
    }
}

#[test]
fn what_does_not_fit() {
    let data = floats(&[-1.5, 300.0, 2.7, f32::NAN, f32::INFINITY]);
    assert_eq!(cast(&data, ElementType::U8).to_i64s().unwrap()[..4], [255, 44, 2, 0]);
    assert_eq!(cast(&data, ElementType::I4).to_i64s().unwrap()[..3], [-1, -4, 2]);
    assert_eq!(cast(&data, ElementType::Bool).to_i64s().unwrap(), [1, 1, 1, 1, 1]);
    assert_eq!(cast(&Tensor::vector(vec![200i16]), ElementType::I8).to_i64s().unwrap(), [-56]);
    assert_eq!(cast(&floats(&[1e30]), ElementType::F16).to_f64s().unwrap(), [f64::INFINITY]);
    let large = floats(&[1e6, -1e6]);
    assert_eq!(cast(&large, ElementType::F8E4M3FN).to_f64s().unwrap(), [448.0, -448.0]);
    let unsaturated = one(Cast { saturate: false, to: ElementType::F8E5M2 }, &[&large]);
    assert_eq!(unsaturated.to_f64s().unwrap(), [f64::INFINITY, f64::NEG_INFINITY]);
    let rounded_once = cast(&Tensor::vector(vec![(1i64 << 53) + (1 << 29) + 1]), ElementType::F32);
    assert_eq!(rounded_once.to_f64s().unwrap(), [9_007_200_328_482_816.0]);
}

#[test]
fn strings_to_numbers_and_back() {
    let text = strings(&[6], &["3.25", "1e-5", "1E8", "-INF", "+inf", "nan"]);
    let numbers = cast(&text, ElementType::F32).to_f64s().unwrap();
    assert_eq!(numbers[..5], [f64::from(3.25f32), f64::from(1e-5f32), 1e8, f64::NEG_INFINITY, f64::INFINITY]);
    assert!(numbers[5].is_nan());
    let largest = strings(&[2], &["9223372036854775807", "-5"]);
    assert_eq!(cast(&largest, ElementType::I64).to_i64s().unwrap(), [i64::MAX, -5]);
    assert_eq!(cast(&strings(&[1], &["100.5"]), ElementType::I32).to_i64s().unwrap(), [100]);
    let written = cast(&floats(&[0.1, -2.0, f32::INFINITY, f32::NAN]), ElementType::String);
    assert_eq!(written, strings(&[4], &["0.1", "-2", "INF", "NaN"]));
    assert_eq!(cast(&Tensor::vector(vec![-7i8]), ElementType::String), strings(&[1], &["-7"]));
    error_of(Cast { saturate: true, to: ElementType::F32 }, &[&strings(&[1], &["ten"])]);
    error_of(Cast { saturate: true, to: ElementType::Bool }, &[&strings(&[1], &["true"])]);
    let complex = Tensor::from_bytes(ElementType::Complex64, vec![1], vec![0; 8].into()).unwrap();
    error_of(Cast { saturate: true, to: ElementType::F32 }, &[&complex]);
}
