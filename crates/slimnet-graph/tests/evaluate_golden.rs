//! The reference evaluator against ONNX Runtime on small data (`golden/evaluate.py` writes the values).

use serde_json::Value;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::{ElementType, Op, Tensor};

fn integers(values: &[Value]) -> Vec<i64> {
    values.iter().map(|value| value.as_i64().unwrap()).collect()
}

fn tensor(json: &Value) -> Option<Tensor> {
    let element_type = ElementType::from_onnx(json.get("type")?.as_i64().unwrap() as i32).unwrap();
    let shape = integers(json["shape"].as_array().unwrap()).into_iter().map(|length| length as usize).collect();
    let values = json["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    Some(Tensor::from_f64s(element_type, shape, values).unwrap())
}

fn put(attributes: &mut Attributes, name: &str, value: &Value) {
    match value {
        Value::Number(number) if number.is_i64() => attributes.put(name, &number.as_i64().unwrap()),
        Value::Number(number) => attributes.put(name, &(number.as_f64().unwrap() as f32)),
        Value::String(text) => attributes.put(name, text),
        Value::Array(list) if list[0].is_string() => {
            attributes.put(name, &list.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>());
        }
        Value::Array(list) if list[0].is_i64() => attributes.put(name, &integers(list)),
        Value::Array(list) => {
            attributes.put(name, &list.iter().map(|number| number.as_f64().unwrap() as f32).collect::<Vec<_>>());
        }
        other => panic!("attribute {other}"),
    }
}

#[test]
fn as_onnx_runtime() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/evaluate.json")).unwrap();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut attributes = Attributes::default();
        for (name, value) in case["attributes"].as_object().unwrap() {
            put(&mut attributes, name, value);
        }
        let op = Op::read(case["op"].as_str().unwrap(), attributes).unwrap().unwrap();
        let inputs: Vec<_> = case["inputs"].as_array().unwrap().iter().map(tensor).collect();
        let expected: Vec<_> = case["outputs"].as_array().unwrap().iter().map(|json| tensor(json).unwrap()).collect();
        let inputs: Vec<_> = inputs.iter().map(Option::as_ref).collect();
        match evaluate_op(&op, &inputs, expected.len(), 1 << 20) {
            Err(error) => wrong.push(format!("case {number}: {op:?}: {error}")),
            Ok(found) => {
                for (slot, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    if !near(found, expected) {
                        wrong.push(format!("case {number}, output {slot}: {op:?}: {found:?} instead of {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn near(found: &Tensor, expected: &Tensor) -> bool {
    let tolerance = if expected.element_type().is_float() { 1e-5 } else { 0.0 };
    let pairs = found.to_f64s().unwrap().into_iter().zip(expected.to_f64s().unwrap());
    found.element_type() == expected.element_type()
        && found.shape() == expected.shape()
        && pairs.into_iter().all(|(found, expected)| {
            (found - expected).abs() <= tolerance * expected.abs().max(1.0) || (found.is_nan() && expected.is_nan())
        })
}
