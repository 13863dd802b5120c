//! No attribute, shape or content that a file can hold makes inference panic, whatever the operator.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slimnet_graph::infer::{Inferred, Known, analyse, infer_op};
use slimnet_graph::onnx::proto::attribute_proto::AttributeType;
use slimnet_graph::onnx::proto::{AttributeProto, TensorProto};
use slimnet_graph::ops::attribute::{AttributeError, Attributes};
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor};

/// Every attribute that any operator has.
const INTEGERS: &[&str] = &[
    "axis",
    "batch_axis",
    "batch_dims",
    "block_size",
    "blocksize",
    "ceil_mode",
    "count_include_pad",
    "end",
    "fmod",
    "group",
    "hidden_size",
    "k",
    "keepdims",
    "layout",
    "noop_with_empty_axes",
    "num_groups",
    "num_outputs",
    "output_dtype",
    "output_height",
    "output_width",
    "p",
    "sampling_ratio",
    "size",
    "start",
    "stash_type",
    "time_axis",
    "to",
    "dtype",
    "training_mode",
    "transA",
    "transB",
    "allowzero",
];
const LISTS: &[&str] =
    &["axes", "dilations", "kernel_shape", "output_padding", "output_shape", "pads", "perm", "strides"];
const WORDS: &[(&str, &[&str])] = &[
    ("auto_pad", &["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    ("direction", &["forward", "bidirectional", "LEFT"]),
    ("mode", &["constant", "reflect", "edge", "wrap", "nearest", "linear", "cubic", "DCR", "avg"]),
    ("coordinate_transformation_mode", &["tf_crop_and_resize", "half_pixel"]),
    ("keep_aspect_ratio_policy", &["stretch", "not_larger", "not_smaller"]),
    ("equation", &["ij,jk->ik", "...i,i...->...", "ii", ",", "->", "", "i,j->ijk", "a.b->.", "....->", "é->é"]),
];

fn hostile_integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -4i64..8,
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 1 << 31, -(1 << 31), 1 << 62]),
        1 => any::<i64>(),
    ]
}

fn hostile_dim() -> impl Strategy<Value = Dim> {
    prop_oneof![
        6 => (0i64..9).prop_map(Dim::from),
        2 => prop::sample::select(vec!["N", "N + 1", "2*N", "?x", "-1*N + 3", "9223372036854775807*N"])
            .prop_map(Dim::parse),
        1 => hostile_integer().prop_map(Dim::from),
    ]
}

fn hostile_dims(most: usize) -> impl Strategy<Value = Vec<Dim>> {
    prop::collection::vec(hostile_dim(), 0..=most)
}

/// An input: absent, or with type, shape, contents and data each perhaps known and not even consistent.
#[derive(Debug, Clone)]
struct Input {
    element_type: Option<ElementType>,
    shape: Option<Vec<Dim>>,
    contents: Option<Vec<Dim>>,
    data: Option<Tensor>,
}

impl Input {
    fn known(&self) -> Known<'_> {
        Known {
            element_type: self.element_type,
            shape: self.shape.as_deref(),
            data: self.data.as_ref(),
            contents: self.contents.as_deref(),
        }
    }
}

fn input() -> impl Strategy<Value = Option<Input>> {
    let common = prop::sample::select(vec![ElementType::F32, ElementType::I64]);
    let element_type = prop_oneof![4 => common, 1 => prop::sample::select(ElementType::ALL.to_vec())];
    let anything = (prop::option::weighted(0.7, element_type), prop::option::weighted(0.9, hostile_dims(5)))
        .prop_map(|(element_type, shape)| Input { element_type, shape, contents: None, data: None });
    let listed = prop::collection::vec(hostile_dim(), 0..6).prop_map(|contents| Input {
        element_type: Some(ElementType::I64),
        shape: Some(vec![Dim::from(contents.len())]),
        contents: Some(contents),
        data: None,
    });
    let held = prop::collection::vec(hostile_integer(), 0..6).prop_map(|numbers| with_data(Tensor::vector(numbers)));
    let number = hostile_integer().prop_map(|number| with_data(Tensor::scalar(number)));
    let real = any::<f32>().prop_map(|number| with_data(Tensor::scalar(number)));
    let reals = prop::collection::vec(any::<f32>(), 0..6).prop_map(|numbers| with_data(Tensor::vector(numbers)));
    prop::option::weighted(0.9, prop_oneof![6 => anything, 2 => listed, 2 => held, 1 => number, 1 => real, 1 => reals])
}

/// An input with small data.
fn constant() -> impl Strategy<Value = Option<Input>> {
    let shape =
        prop::sample::select(vec![vec![], vec![1], vec![2], vec![4], vec![2, 2], vec![1, 3, 2], vec![0], vec![2, 0]]);
    let element_type = prop_oneof![
        6 => prop::sample::select(vec![ElementType::I64, ElementType::F32]),
        2 => prop::sample::select(vec![ElementType::I32, ElementType::Bool, ElementType::I8, ElementType::U64]),
    ];
    let numbers = prop::collection::vec(hostile_integer(), 8);
    let input = (shape, element_type, numbers).prop_map(|(shape, element_type, mut numbers)| {
        numbers.truncate(shape.iter().product());
        let numbers = numbers.into_iter().map(i128::from).collect();
        with_data(Tensor::from_i128s(element_type, shape, numbers).unwrap())
    });
    prop::option::weighted(0.95, input)
}

fn with_data(data: Tensor) -> Input {
    let shape = data.shape().iter().map(|&length| Dim::from(length)).collect();
    Input { element_type: Some(data.element_type()), shape: Some(shape), contents: None, data: Some(data) }
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(r#type.into()), ..AttributeProto::default() }
}

fn attributes() -> impl Strategy<Value = Vec<AttributeProto>> {
    let integers = INTEGERS.iter().map(|&name| {
        prop::option::weighted(0.7, hostile_integer())
            .prop_map(move |value| value.map(|i| AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }))
            .boxed()
    });
    let lists = LISTS.iter().map(|&name| {
        prop::option::weighted(0.4, prop::collection::vec(hostile_integer(), 0..6))
            .prop_map(move |value| value.map(|ints| AttributeProto { ints, ..attribute(name, AttributeType::Ints) }))
            .boxed()
    });
    let words = WORDS.iter().map(|&(name, choices)| {
        prop::option::weighted(0.6, prop::sample::select(choices))
            .prop_map(move |value| {
                value.map(|text| AttributeProto { s: Some(text.into()), ..attribute(name, AttributeType::String) })
            })
            .boxed()
    });
    let tensor = TensorProto { dims: vec![1], data_type: Some(7), int64_data: vec![i64::MIN], ..Default::default() };
    let value = AttributeProto { t: Some(tensor.into()), ..attribute("value", AttributeType::Tensor) };
    let all: Vec<_> = integers.chain(lists).chain(words).chain([Just(Some(value)).boxed()]).collect();
    all.prop_map(|attributes| attributes.into_iter().flatten().collect())
}

/// Names of the attributes that an operator has.
fn names_of(op_type: &str) -> BTreeSet<&'static str> {
    let integers = INTEGERS.iter().map(|&name| (name, AttributeType::Int));
    let lists = LISTS.iter().map(|&name| (name, AttributeType::Ints));
    let words = WORDS.iter().map(|&(name, _)| (name, AttributeType::String));
    let all = integers.chain(lists).chain(words).chain([("value", AttributeType::Tensor)]);
    // Without others, an attribute that the operator lacks is the one that is not known.
    all.filter(|&(name, r#type)| {
        let read = Op::read(op_type, Attributes::new(&[attribute(name, r#type)])).unwrap();
        !matches!(read, Err(AttributeError::Unknown(unknown)) if unknown == name)
    })
    .map(|(name, _)| name)
    .collect()
}

/// The operator with those of the attributes that it has and takes.
fn read(op_type: &str, names: &BTreeSet<&str>, attributes: &[AttributeProto]) -> Option<Op> {
    let mut left: Vec<_> = attributes.iter().filter(|attribute| names.contains(attribute.name())).cloned().collect();
    loop {
        match Op::read(op_type, Attributes::new(&left))? {
            Ok(op) => return Some(op),
            Err(AttributeError::Missing(_)) => return None,
            Err(AttributeError::Unknown(name) | AttributeError::Wrong { name, .. }) => {
                left.retain(|attribute| attribute.name() != name);
            }
        }
    }
}

fn check_result(results: &[Inferred], outputs: usize) {
    assert_eq!(results.len(), outputs);
    for result in results {
        for dim in result.shape.iter().flatten() {
            assert!(dim.constant().is_none_or(|length| length >= 0), "{result:?}");
        }
        if let Some(contents) = &result.contents {
            let count: usize = result.shape.as_ref().unwrap().iter().map(|dim| dim.known().unwrap()).product();
            assert_eq!(contents.len(), count);
        }
    }
}

/// Calls `check` with random operators, as many inputs as `input` gives, and a number of outputs.
fn for_each_case(
    cases: u32,
    input: impl Strategy<Value = Option<Input>>,
    mut check: impl FnMut(&'static str, &Op, &[Option<Input>], usize),
) {
    let operators: Vec<_> = Op::known_types().into_iter().map(|op_type| (op_type, names_of(op_type))).collect();
    let cases = if cfg!(debug_assertions) { cases } else { cases * 5 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = (attributes(), prop::collection::vec(input, 1..9), 0usize..4);
    let check = RefCell::new(&mut check);
    let result = runner.run(&case, |(attributes, inputs, outputs)| {
        for (op_type, names) in &operators {
            let Some(op) = read(op_type, names, &attributes) else { continue };
            // An operator with few inputs would otherwise be refused for their number alone.
            for count in 1..=inputs.len() {
                (check.borrow_mut())(op_type, &op, &inputs[..count], outputs);
            }
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn inference_never_panics() {
    let (mut accepted, mut refused) = (BTreeSet::new(), 0usize);
    for_each_case(400, input(), |op_type, op, inputs, outputs| {
        let known: Vec<_> = inputs.iter().map(|input| input.as_ref().map(Input::known)).collect();
        let mut number = 0usize;
        let mut fresh = || {
            number += 1;
            Dim::unknown(&number.to_string())
        };
        match infer_op(op, &known, outputs, &mut fresh) {
            Ok(results) => {
                check_result(&results, outputs);
                accepted.insert(op_type);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    });
    // The generator must get past the first checks, or it proves nothing.
    let operators = Op::known_types().len();
    assert!(accepted.len() * 10 > operators * 7, "only {accepted:?} were ever accepted");
    assert!(refused > 1000);
}

/// Over a graph, nodes that read data alone are evaluated too.
#[test]
fn inference_over_constants_never_panics() {
    let mut computed = BTreeSet::new();
    for_each_case(200, constant(), |op_type, op, inputs, outputs| {
        let mut graph = Graph::new("one node");
        let add = |input: &Input, graph: &mut Graph| graph.add_constant("data", input.data.clone().unwrap());
        let inputs = inputs.iter().map(|input| input.as_ref().map(|input| add(input, &mut graph))).collect();
        let outputs: Vec<_> = (0..outputs).map(|_| graph.add_intermediate("result")).collect();
        graph.add_node("node", op.clone(), inputs, outputs.iter().copied().map(Some).collect()).unwrap();
        if let Ok(inference) = analyse(&graph) {
            let found = outputs.iter().any(|&output| inference.constant(output).is_some());
            computed.extend(found.then_some(op_type));
        }
    });
    assert!(computed.len() > 40, "only {computed:?} were ever computed");
}
