//! Inference over graphs, and validation.

use std::time::{Duration, Instant};

use slimnet_graph::graph::display_shape;
use slimnet_graph::infer::{GraphInferError, analyse, infer_graph};
use slimnet_graph::ops::OnnxNode;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::validate::{ValidateError, validate};
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor, Value, ValueId};

fn op(op_type: &str, attributes: &[(&str, i64)]) -> Op {
    let mut read = Attributes::default();
    for (name, value) in attributes {
        read.put(name, value);
    }
    Op::read(op_type, read).unwrap().unwrap()
}

fn other(captures: &[&str]) -> Op {
    Op::Other(Box::new(OnnxNode {
        domain: "some.where".into(),
        op_type: "Mystery".into(),
        overload: String::new(),
        attributes: Vec::new(),
        captures: captures.iter().map(|&name| name.to_owned()).collect(),
        reason: "custom domain".into(),
    }))
}

fn declare(graph: &mut Graph, name: &str, element_type: ElementType, shape: &[&str]) -> ValueId {
    let dims = shape.iter().map(|text| text.parse::<i64>().map_or_else(|_| Dim::parse(text), Dim::from)).collect();
    let mut value = Value::new(name);
    (value.element_type, value.shape) = (Some(element_type), Some(dims));
    graph.add_value(value).unwrap()
}

fn input(graph: &mut Graph, name: &str, element_type: ElementType, shape: &[&str]) -> ValueId {
    let id = declare(graph, name, element_type, shape);
    graph.add_input(id).unwrap();
    id
}

fn vector(graph: &mut Graph, name: &str, numbers: &[i64]) -> ValueId {
    graph.add_constant(name, Tensor::vector(numbers.to_vec()))
}

fn shape_of(graph: &Graph, id: ValueId) -> String {
    display_shape(graph.value(id).shape.as_ref().unwrap())
}

/// What exporters write to flatten: Shape, Gather, Unsqueeze, Concat, Reshape.
#[test]
fn shape_arithmetic_is_followed() {
    let mut graph = Graph::new("flatten");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "8", "4", "4"]);
    let (zero, minus) = (graph.add_constant("zero", Tensor::scalar(0i64)), vector(&mut graph, "minus", &[-1]));
    let axes = vector(&mut graph, "axes", &[0]);
    let shape = graph.apply("shape", op("Shape", &[]), &[x]);
    let batch = graph.apply("batch", op("Gather", &[]), &[shape, zero]);
    let listed = graph.apply("listed", op("Unsqueeze", &[]), &[batch, axes]);
    let target = graph.apply("target", op("Concat", &[("axis", 0)]), &[listed, minus]);
    let y = graph.apply("y", op("Reshape", &[]), &[x, target]);
    graph.add_output(y);
    let inference = infer_graph(&mut graph).unwrap();
    assert_eq!(shape_of(&graph, y), "[N, 128]");
    assert_eq!(inference.contents(target).unwrap(), [Dim::named("N"), Dim::from(-1i64)]);
    assert_eq!(inference.element_type(y), Some(ElementType::F32));
    validate(&graph).unwrap();
}

#[test]
fn the_file_counts_where_the_node_says_less() {
    let mut graph = Graph::new("unknown");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "3"]);
    let y = declare(&mut graph, "y", ElementType::F32, &["N", "7", "?lost"]);
    graph.add_node("mystery", other(&[]), vec![Some(x)], vec![Some(y)]).unwrap();
    let found = declare(&mut graph, "found", ElementType::I64, &["2", "count"]);
    graph.add_node("", op("NonZero", &[]), vec![Some(x)], vec![Some(found)]).unwrap();
    let lost = graph.apply("lost", op("NonZero", &[]), &[x]);
    // A number that is computed counts more than a name that is declared.
    let relu = declare(&mut graph, "relu", ElementType::F32, &["batch", "channels"]);
    graph.add_node("", op("Relu", &[]), vec![Some(x)], vec![Some(relu)]).unwrap();
    for output in [y, found, lost, relu] {
        graph.add_output(output);
    }
    infer_graph(&mut graph).unwrap();
    assert_eq!(shape_of(&graph, y), "[N, 7, ?lost]");
    assert_eq!(shape_of(&graph, found), "[2, count]");
    assert_eq!(shape_of(&graph, lost), "[2, ?lost.0]");
    assert_eq!(shape_of(&graph, relu), "[N, 3]");
    let once = graph.clone();
    infer_graph(&mut graph).unwrap();
    for (id, value) in graph.values() {
        assert_eq!(value.shape, once.value(id).shape, "a second pass changes nothing");
    }
}

#[test]
fn shapes_that_lie_are_named() {
    for (element_type, shape, expected) in [
        (ElementType::F32, vec!["N", "4"], "float32[N, 4], but Relu \"act\" computes float32[N, 3]"),
        (ElementType::F32, vec!["N"], "float32[N], but"),
        (ElementType::F16, vec!["N", "3"], "float16[N, 3], but"),
    ] {
        let mut graph = Graph::new("lie");
        let x = input(&mut graph, "x", ElementType::F32, &["N", "3"]);
        let y = declare(&mut graph, "y", element_type, &shape);
        graph.add_node("act", op("Relu", &[]), vec![Some(x)], vec![Some(y)]).unwrap();
        graph.add_output(y);
        let error = infer_graph(&mut graph).unwrap_err();
        assert!(matches!(error, GraphInferError::Contradiction { .. }));
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(graph.value(y).element_type, Some(element_type), "nothing is written");
    }
}

#[test]
fn a_node_that_does_not_fit_is_named_with_its_inputs() {
    let mut graph = Graph::new("misfit");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "3"]);
    let w = graph.add_constant("w", Tensor::from_values(vec![4, 5], vec![0f32; 20]).unwrap());
    let y = graph.apply("layer", op("MatMul", &[]), &[x, w]);
    graph.add_output(y);
    let error = validate(&graph).unwrap_err().to_string();
    assert!(error.starts_with("MatMul \"layer\": axis 0 of input 1"), "{error}");
    assert!(error.ends_with("\"x\" float32[N, 3], \"w\" float32[4, 5]"), "{error}");
}

#[test]
fn impossible_declarations_are_refused() {
    let huge = i64::MAX.to_string();
    for shape in [vec!["-3"], vec![huge.as_str(), "2"], vec!["0", huge.as_str(), huge.as_str()]] {
        let mut graph = Graph::new("huge");
        let x = input(&mut graph, "x", ElementType::F32, &shape);
        graph.add_output(x);
        assert!(matches!(analyse(&graph), Err(GraphInferError::Value { .. })), "{shape:?}");
    }
}

#[test]
fn validation_finds_what_is_missing() {
    let mut graph = Graph::new("missing");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "3"]);
    let y = graph.apply("y", op("Relu", &[]), &[x]);
    graph.add_output(y);
    validate(&graph).unwrap();

    let mut headless = graph.clone();
    headless.retain_inputs(|_| false);
    let error = validate(&headless).unwrap_err();
    assert!(matches!(error, ValidateError::NoSource { .. }));
    assert!(error.to_string().starts_with("Relu \"y\" reads \"x\""), "{error}");

    let mut endless = graph.clone();
    let dangling = endless.add_intermediate("dangling");
    endless.add_output(dangling);
    assert!(matches!(validate(&endless), Err(ValidateError::NoSource { .. })));

    let mut cyclic = graph.clone();
    let node = cyclic.value(y).producer().unwrap();
    cyclic.set_input(node, 0, Some(y));
    assert!(matches!(validate(&cyclic), Err(ValidateError::Infer(GraphInferError::Graph(_)))));

    let mut captured = graph.clone();
    let z = captured.add_intermediate("z");
    captured.add_node("body", other(&["a", "b"]), vec![Some(x)], vec![Some(z)]).unwrap();
    assert!(matches!(validate(&captured), Err(ValidateError::Captures { expected: 2, found: 1, .. })));

    let mut changed = graph.clone();
    let data = changed.add_constant("data", Tensor::vector(vec![1f32, 2.0]));
    changed.value_mut(data).data = Some(Tensor::vector(vec![1i64]));
    assert!(matches!(validate(&changed), Err(ValidateError::Broken { .. })));

    let mut renamed = graph.clone();
    renamed.value_mut(y).name.clear();
    assert!(matches!(validate(&renamed), Err(ValidateError::NoName(_))));
    renamed.value_mut(y).name = "x".into();
    assert!(matches!(validate(&renamed), Err(ValidateError::Broken { .. })));

    let mut relinked = graph;
    let node = relinked.value(y).producer().unwrap();
    relinked.remove_node(node);
    assert!(matches!(validate(&relinked), Err(ValidateError::NoSource { .. })));
}

#[test]
fn optional_inputs_and_outputs_may_be_absent() {
    let mut graph = Graph::new("optional");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "3"]);
    let limit = graph.add_constant("limit", Tensor::scalar(6f32));
    let (clipped, mask) = (graph.add_intermediate("clipped"), graph.add_intermediate("mask"));
    graph.add_node("", op("Clip", &[]), vec![Some(x), None, Some(limit)], vec![Some(clipped)]).unwrap();
    graph.add_node("", op("Dropout", &[]), vec![Some(clipped)], vec![None, Some(mask)]).unwrap();
    graph.add_output(mask);
    infer_graph(&mut graph).unwrap();
    assert_eq!(graph.value(mask).describe(), "mask bool[N, 3]");
    validate(&graph).unwrap();
}

/// A chain of additions with one shared operand: a table or set searched for each node would be felt.
#[test]
fn time_is_linear() {
    let seconds = |nodes: usize| {
        let mut graph = Graph::new("chain");
        let x = input(&mut graph, "x", ElementType::F32, &["N", "64"]);
        let bias = graph.add_constant("bias", Tensor::vector(vec![0f32; 64]));
        let mut last = x;
        for place in 0..nodes {
            last = graph.apply(&format!("n{place}"), op("Add", &[]), &[last, bias]);
        }
        graph.add_output(last);
        let start = Instant::now();
        infer_graph(&mut graph).unwrap();
        validate(&graph).unwrap();
        assert_eq!(shape_of(&graph, last), "[N, 64]");
        start.elapsed()
    };
    let limit = if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_secs(2) };
    let taken = seconds(100_000);
    assert!(taken < limit, "{taken:?}");
}

/// What exporters write for pads: reversed pairs in a matrix, flattened; and for sizes: a product with a real scale.
#[test]
fn constants_pass_through_matrices_and_real_numbers() {
    let mut graph = Graph::new("constants");
    let x = input(&mut graph, "x", ElementType::F32, &["N", "3", "10", "12"]);
    let pairs = graph.add_constant("pairs", Tensor::from_values(vec![2, 2], vec![1i64, 2, 3, 4]).unwrap());
    let (flat, axes) = (vector(&mut graph, "flat", &[-1]), vector(&mut graph, "axes", &[3, 2]));
    let turned = graph.apply("turned", op("Transpose", &[]), &[pairs]);
    let pads = graph.apply("pads", op("Reshape", &[]), &[turned, flat]);
    let padded = graph.add_intermediate("padded");
    let inputs = vec![Some(x), Some(pads), None, Some(axes)];
    graph.add_node("pad", op("Pad", &[]), inputs, vec![Some(padded)]).unwrap();

    let spatial = graph.apply("spatial", op("Shape", &[("start", 2)]), &[padded]);
    let scale = graph.add_constant("scale", Tensor::scalar(0.5f32));
    let real = graph.apply("real", op("Cast", &[("to", 1)]), &[spatial]);
    let scaled = graph.apply("scaled", op("Mul", &[]), &[real, scale]);
    let sizes = graph.apply("sizes", op("Cast", &[("to", 7)]), &[scaled]);
    let resized = graph.add_intermediate("resized");
    let mut read = Attributes::default();
    read.put("axes", &vec![2i64, 3]);
    let resize = Op::read("Resize", read).unwrap().unwrap();
    graph.add_node("resize", resize, vec![Some(padded), None, None, Some(sizes)], vec![Some(resized)]).unwrap();
    graph.add_output(resized);

    let inference = infer_graph(&mut graph).unwrap();
    // Transposed, the pairs are the begins (1, 3) and the ends (2, 4) of axes 3 and 2.
    assert_eq!(inference.constant(pads), Some(&Tensor::vector(vec![1i64, 3, 2, 4])));
    assert_eq!(shape_of(&graph, padded), "[N, 3, 17, 15]");
    assert_eq!(shape_of(&graph, resized), "[N, 3, 8, 7]");
}

/// Contents, names and axes that grew with the graph would cost its square.
#[test]
fn memory_stays_linear() {
    let mut graph = Graph::new("greedy");
    let mut last = vector(&mut graph, "long", &vec![7; 1024]);
    for place in 0..5000 {
        last = graph.apply(&format!("same{place}"), op("Neg", &[]), &[last]);
    }
    graph.add_output(last);
    let inference = infer_graph(&mut graph).unwrap();
    let kept: usize = graph.values().filter_map(|(id, _)| inference.contents(id)).map(<[Dim]>::len).sum();
    assert!((1 << 19..=1 << 20).contains(&kept), "{kept}");

    let mut graph = Graph::new("named");
    let mut last = input(&mut graph, "x", ElementType::F32, &["d"]);
    for place in 0..5000 {
        let next = input(&mut graph, &format!("x{place}"), ElementType::F32, &[&format!("d{place}")]);
        last = graph.apply(&format!("sum{place}"), op("Concat", &[("axis", 0)]), &[last, next]);
    }
    graph.add_output(last);
    infer_graph(&mut graph).unwrap();
    assert!(graph.values().all(|(_, value)| value.shape.as_ref().unwrap()[0].names().count() <= 8));

    let mut graph = Graph::new("wide");
    let x = input(&mut graph, "x", ElementType::F32, &[]);
    let shape = input(&mut graph, "shape", ElementType::I64, &["1000000"]);
    let y = graph.apply("y", op("Reshape", &[]), &[x, shape]);
    graph.add_output(y);
    let error = infer_graph(&mut graph).unwrap_err().to_string();
    assert!(error.contains("axes of output 0: expected at most 16"), "{error}");
}
