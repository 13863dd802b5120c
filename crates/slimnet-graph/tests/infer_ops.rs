//! Shape inference of single operators, as tables: operator with attributes, inputs, and what comes out.
//!
//! Inputs and outputs are written `type[shape]=contents`, `-` for an absent input and `?` for an unknown type or shape;
//! a length that nothing is known of shows as `?` and the number of the call that made it. An error is written
//! `error: part of its text`.

use slimnet_graph::graph::display_shape;
use slimnet_graph::infer::{Inferred, Known, infer_op};
use slimnet_graph::ops::attribute::{AttributeError, Attributes};
use slimnet_graph::{Dim, ElementType, Op};

fn parse_op(text: &str) -> Result<Op, AttributeError> {
    let mut words = text.split_whitespace();
    let op_type = words.next().unwrap();
    let mut attributes = Attributes::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        if let Some(list) = value.strip_prefix('[') {
            let list = list.trim_end_matches(']');
            let numbers: Vec<i64> =
                list.split(',').filter(|text| !text.is_empty()).map(|n| n.parse().unwrap()).collect();
            attributes.put(name, &numbers);
        } else if let Ok(number) = value.parse::<i64>() {
            attributes.put(name, &number);
        } else {
            attributes.put(name, &value.to_owned());
        }
    }
    Op::read(op_type, attributes).unwrap_or_else(|| panic!("{op_type} is not known"))
}

fn parse_dims(text: &str) -> Vec<Dim> {
    let dims = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    dims.map(|text| text.parse::<i64>().map_or_else(|_| Dim::parse(text), Dim::from)).collect()
}

fn parse_type(text: &str) -> Inferred {
    let (kind, contents) = match text.split_once('=') {
        Some((kind, contents)) => (kind, Some(parse_dims(contents))),
        None => (text, None),
    };
    let (name, shape) = match kind.split_once('[') {
        Some((name, shape)) => (name, Some(parse_dims(shape.trim_end_matches(']')))),
        None => (kind, None),
    };
    let element_type = ElementType::ALL.into_iter().find(|element_type| element_type.to_string() == name);
    assert!(element_type.is_some() || name == "?", "{name}");
    Inferred { element_type, shape, contents }
}

fn show(result: &Inferred) -> String {
    let mut text = result.element_type.map_or_else(|| "?".into(), |element_type| element_type.to_string());
    if let Some(shape) = &result.shape {
        text += &display_shape(shape);
    }
    if let Some(contents) = &result.contents {
        text += &format!("={}", display_shape(contents).trim_matches(['[', ']']));
    }
    text
}

/// The text with each of its numbers in turn replaced by a hostile one.
fn mutants(text: &str) -> impl Iterator<Item = String> + '_ {
    let digit = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let apart = |place: usize| place == 0 || !text.as_bytes()[place - 1].is_ascii_alphanumeric();
    let starts = (0..text.len()).filter(move |&place| digit(place) && apart(place));
    starts.flat_map(move |start| {
        let end = (start..).find(|&place| !digit(place)).unwrap();
        let negated = text[..start].ends_with('-');
        let numbers = HOSTILE.iter().filter(move |&&number| number >= 0 || !negated);
        numbers.map(move |number| format!("{}{number}{}", &text[..start], &text[end..]))
    })
}

const HOSTILE: [i64; 9] = [0, 1, 2, 1 << 31, 1 << 62, i64::MAX - 1, i64::MAX, i64::MIN, -1];

fn infer(op: &str, inputs: &str, outputs: usize) -> String {
    infer_parsed(&parse_op(op).unwrap(), inputs, outputs)
}

fn infer_parsed(op: &Op, inputs: &str, outputs: usize) -> String {
    let types: Vec<Option<Inferred>> = inputs
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| (text != "-").then(|| parse_type(text)))
        .collect();
    let known: Vec<_> = types
        .iter()
        .map(|types| {
            types.as_ref().map(|types| Known {
                element_type: types.element_type,
                shape: types.shape.as_deref(),
                data: None,
                contents: types.contents.as_deref(),
            })
        })
        .collect();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        Dim::unknown(&(number - 1).to_string())
    };
    match infer_op(op, &known, outputs, &mut fresh) {
        Ok(results) => results.iter().map(show).collect::<Vec<_>>().join("; "),
        Err(error) => format!("error: {error}"),
    }
}

#[track_caller]
fn check(table: &[(&str, &str, &str)]) {
    for (op, inputs, expected) in table {
        let outputs = expected.split("; ").count();
        // Each "; " at the end of an error asks for one more output.
        let expected = expected.trim_end_matches("; ");
        let found = infer(op, inputs, outputs);
        let holds = if expected.starts_with("error: ") { found.contains(expected) } else { found == expected };
        assert!(holds, "{op} ({inputs})\n expected {expected}\n    found {found}");
        // Whatever a single number becomes, the answer is a type or an error.
        for mutant in mutants(inputs) {
            infer(op, &mutant, outputs);
        }
        for mutant in mutants(op).filter_map(|mutant| parse_op(&mutant).ok()) {
            infer_parsed(&mutant, inputs, outputs);
        }
    }
}

#[test]
fn elementwise() {
    check(&[
        ("Relu", "float32[N, 3]", "float32[N, 3]"),
        ("Relu", "?", "?"),
        ("Relu", "string[3]", "error: element type of input 0: expected a numeric type, found string"),
        ("Relu", "-", "error: input 0 is missing"),
        ("Relu", "float32[1]; float32[1]", "error: number of inputs"),
        ("Sigmoid", "int32[1]", "error: element type of input 0"),
        ("IsNaN", "float16[2]", "bool[2]"),
        ("Not", "bool[2]=0, 1", "bool[2]=1, 0"),
        ("Neg", "int64[2]=N, 3", "int64[2]=-1*N, -3"),
        ("Identity", "string[4]", "string[4]"),
        ("Add", "float32[N, 3, 1]; float32[5]", "float32[N, 3, 5]"),
        ("Add", "float32[N, 3]; float32[M, 1]", "float32[?0, 3]"),
        ("Add", "float32[N, 3]; float32[7, 3]", "float32[7, 3]"),
        ("Add", "float32[N]; float32[1]", "float32[N]"),
        ("Add", "float32[2, 3]; float32[4]", "error: axis 1 of input 1, broadcast to 2 axes: expected 1 or 3, found 4"),
        ("Add", "float32[2]; float64[2]", "error: element type of input 1: expected float32"),
        ("Add", "?[2]; float64[2]", "float64[2]"),
        ("Add", "float32[2]; float32", "float32"),
        ("Add", "float32[2]; -", "error: input 1 is missing"),
        ("Add", "int64[2]=N, 3; int64[]=1", "int64[2]=N + 1, 4"),
        ("Add", "int8[1]=127; int8[1]=1", "int8[1]"),
        ("Sub", "uint8[1]=1; uint8[1]=2", "uint8[1]"),
        ("Div", "int64[]=2*N + 1; int64[]=2", "int64[]=N"),
        ("Div", "int64[]=N + 1; int64[]=2", "int64[]"),
        ("Div", "int64[]=-7; int64[]=2", "int64[]=-3"),
        ("Div", "int64[]=7; int64[]=0", "int64[]"),
        ("Mul", "int64[1]=N; int64[1]=N", "int64[1]"),
        ("Mul", "int64[1]=9223372036854775807; int64[1]=2", "int64[1]"),
        ("Equal", "int64[2]=N, 3; int64[2]=N + 1, 3", "bool[2]=0, 1"),
        ("Equal", "int64[1]=N; int64[1]=3", "bool[1]"),
        ("Greater", "float32[2]; float32[2]", "bool[2]"),
        ("Pow", "float32[N]; int64[]", "float32[N]"),
        ("PRelu", "float32[N, 8, 4, 4]; float32[8, 1, 1]", "float32[N, 8, 4, 4]"),
        ("PRelu", "float32[2, 1]; float32[2, 3]", "error: shape of input 1"),
        ("And", "float32[1]; float32[1]", "error: element type of input 0: expected bool"),
        ("Max", "float32[2]; float32[3, 1]; float32[1]", "float32[3, 2]"),
        ("Max", "int64[]=N + 2; int64[]=N", "int64[]=N + 2"),
        ("Min", "int64[]=5; int64[]=3; int64[]=4", "int64[]=3"),
        ("Clip", "float32[N]; float32[]; float32[]", "float32[N]"),
        ("Clip", "float32[N]; -; float32[2]", "error: shape of input 2: expected one element"),
        ("Mod", "int64[]=-7; int64[]=3", "int64[]=2"),
        ("Mod fmod=1", "int64[]=-7; int64[]=3", "int64[]=-1"),
        ("Mod", "float32[1]; float32[1]", "error: element type of input 0"),
        ("BitShift direction=LEFT", "int32[1]; int32[1]", "error: element type of input 0"),
        ("Where", "bool[2]=1, 0; int64[2]=N, 2; int64[]=7", "int64[2]=N, 7"),
        ("Where", "float32[2]; int64[2]; int64[2]", "error: element type of input 0"),
        ("Cast to=6", "int64[1]=N", "int32[1]=N"),
        ("Cast to=3", "int64[1]=300", "int8[1]"),
        ("Cast to=1", "int64[1]=3", "float32[1]"),
        ("Cast to=9", "int64[2]=3, 0", "bool[2]=1, 0"),
        ("CastLike", "float32[N]; float16[1]", "float16[N]"),
    ]);
}

#[test]
fn convolution() {
    check(&[
        ("Conv", "float32[N, 3, 32, 32]; float32[8, 3, 3, 3]", "float32[N, 8, 30, 30]"),
        ("Conv pads=[1,1,1,1] strides=[2,2]", "float32[N, 3, 33, 32]; float32[8, 3, 3, 3]", "float32[N, 8, 17, 16]"),
        ("Conv pads=[1,1,1,1]", "float32[N, 3, H, W]; float32[8, 3, 3, 3]; float32[8]", "float32[N, 8, H, W]"),
        ("Conv strides=[2,2]", "float32[N, 3, 2*H, W]; float32[8, 3, 2, 2]", "float32[N, 8, H, ?0]"),
        ("Conv dilations=[2,2]", "float32[1, 3, 9, H]; float32[8, 3, 3, 3]", "float32[1, 8, 5, H - 4]"),
        ("Conv auto_pad=SAME_UPPER strides=[2]", "float32[1, 3, 7]; float32[8, 3, 3]", "float32[1, 8, 4]"),
        ("Conv auto_pad=SAME_LOWER", "float32[1, 3, H]; float32[8, 3, 3]", "float32[1, 8, H]"),
        ("Conv auto_pad=VALID", "float32[1, 3, 7]; float32[8, 3, 3]", "float32[1, 8, 5]"),
        ("Conv group=4", "float32[1, 8, 4, 4]; float32[12, 2, 1, 1]", "float32[1, 12, 4, 4]"),
        (
            "Conv group=3",
            "float32[1, 8, 4, 4]; float32[12, 2, 1, 1]",
            "error: axis 1 of input 0 (channels): expected 6",
        ),
        ("Conv group=4", "float32[1, 8, 4, 4]; float32[10, 2, 1, 1]", "error: axis 0 of input 1 (output channels)"),
        ("Conv group=0", "float32[1, 8, 4, 4]; float32[10, 2, 1, 1]", "error: group: expected at least 1, found 0"),
        ("Conv", "float32[1, 3, 4, 4]; float32[8, 3, 5, 5]", "error: spatial axis 0: expected at least the window's 5"),
        ("Conv kernel_shape=[5,5]", "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]", "error: axis 0 of kernel_shape"),
        (
            "Conv strides=[0,1]",
            "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]",
            "error: strides: expected numbers of at least 1",
        ),
        ("Conv strides=[1]", "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]", "error: strides: expected 2 numbers"),
        ("Conv pads=[1,1]", "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]", "error: pads: expected 4 numbers"),
        ("Conv pads=[-1,0,0,0]", "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]", "error: pads"),
        ("Conv", "float32[1, 3, 9]; float32[8, 3, 3, 3]", "error: rank of input 1: expected 3"),
        (
            "Conv",
            "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]; float32[7]",
            "error: axis 0 of input 2: expected 8, found 7",
        ),
        ("Conv", "string[1, 3, 9, 9]; string[8, 3, 3, 3]", "error: element type of input 0"),
        ("Conv", "float32; float32[8, 3, 3, 3]", "float32"),
        ("Conv", "float32[N, 3, 9, 9]; float32", "float32[N, ?0, ?1, ?2]"),
        ("Conv kernel_shape=[3,3]", "float32[N, 3, 9, 9]; float32", "float32[N, ?0, 7, 7]"),
        (
            "Conv pads=[9223372036854775807,0,9223372036854775807,0]",
            "float32[1, 3, 9, 9]; float32[8, 3, 3, 3]",
            "error: spatial axis 0",
        ),
        ("ConvTranspose strides=[2,2]", "float32[N, 8, H, 5]; float32[8, 4, 2, 3]", "float32[N, 4, 2*H, 11]"),
        (
            "ConvTranspose strides=[2,2] pads=[1,1,1,1] output_padding=[1,1] group=2",
            "float32[N, 8, 5, 5]; float32[8, 4, 3, 3]",
            "float32[N, 8, 10, 10]",
        ),
        ("ConvTranspose output_shape=[10,8]", "float32[N, 8, 5, 5]; float32[8, 4, 3, 3]", "float32[N, 4, 10, 8]"),
        ("ConvTranspose auto_pad=SAME_UPPER strides=[2]", "float32[1, 8, 5]; float32[8, 4, 3]", "float32[1, 4, 10]"),
        ("ConvTranspose", "float32[N, 7, 5, 5]; float32[8, 4, 3, 3]", "error: axis 1 of input 0 (channels)"),
        ("ConvInteger", "uint8[1, 1, 3, 3]; uint8[1, 1, 2, 2]; uint8[]", "int32[1, 1, 2, 2]"),
        ("ConvInteger", "float32[1, 1, 3, 3]; uint8[1, 1, 2, 2]", "error: element type of input 0"),
        (
            "QLinearConv",
            "uint8[1, 3, 7, 7]; float32[]; uint8[]; int8[4, 3, 1, 1]; float32[4]; int8[4]; float32[]; uint8[]; int32[4]",
            "uint8[1, 4, 7, 7]",
        ),
    ]);
}

#[test]
fn pooling() {
    check(&[
        ("MaxPool kernel_shape=[2,2] strides=[2,2]", "float32[N, 3, 8, 9]", "float32[N, 3, 4, 4]; int64[N, 3, 4, 4]"),
        ("MaxPool kernel_shape=[3,3] strides=[2,2] ceil_mode=1", "float32[N, 3, 8, 9]", "float32[N, 3, 4, 4]"),
        // The fourth window would start in the padding at the end.
        ("MaxPool kernel_shape=[1] strides=[2] ceil_mode=1", "float32[1, 1, 6]", "float32[1, 1, 3]"),
        ("AveragePool kernel_shape=[3,3] pads=[1,1,1,1]", "float32[N, 3, H, W]", "float32[N, 3, H, W]"),
        ("AveragePool kernel_shape=[2,2] strides=[2,2]", "float32[N, 3, 2*H, 8]", "float32[N, 3, H, 4]"),
        ("AveragePool kernel_shape=[2,2] pads=[2,0,0,0]", "float32[N, 3, 8, 8]", "error: pads"),
        ("AveragePool kernel_shape=[]", "float32[N, 3, 8, 8]", "error: kernel_shape"),
        ("AveragePool kernel_shape=[0,1]", "float32[N, 3, 8, 8]", "error: kernel_shape"),
        ("LpPool kernel_shape=[2] p=0", "float32[N, 3, 8]", "error: p:"),
        ("LpPool kernel_shape=[2]", "float32[N, 3, 8]", "float32[N, 3, 7]"),
        ("GlobalAveragePool", "float32[N, C, H, W]", "float32[N, C, 1, 1]"),
        ("GlobalMaxPool", "float32[3]", "error: rank of input 0: expected at least 2"),
        ("GlobalLpPool", "float32[N, C, H]", "float32[N, C, 1]"),
    ]);
}

#[test]
fn normalization() {
    let channels = "float32[8]; float32[8]; float32[8]; float32[8]";
    let batch = |channels: &str| format!("float32[N, 8, 4]; {channels}");
    check(&[
        ("BatchNormalization", &batch(channels), "float32[N, 8, 4]"),
        ("BatchNormalization training_mode=1", &batch(channels), "float32[N, 8, 4]; float32[8]; float32[8]"),
        ("BatchNormalization", &batch(channels), "error: number of outputs; "),
        (
            "BatchNormalization",
            &batch("float32[8]; float32[7]; float32[8]; float32[8]"),
            "error: axis 0 of input 2 (channels): expected 7, found 8",
        ),
        ("InstanceNormalization", "float32[N, 8, H]; float32[8]; float32[8]", "float32[N, 8, H]"),
        ("LayerNormalization", "float32[N, T, 64]; float32[64]; float32[64]", "float32[N, T, 64]; float32[N, T, 1]"),
        ("LayerNormalization axis=3", "float32[N, T, 64]; float32[64]", "error: axis: expected an axis of 3 axes"),
        ("LayerNormalization", "float32[N, T, 64]; float32[63]", "error: shape of input 1"),
        ("LayerNormalization stash_type=7", "float32[N, T, 64]; float32[64]", "error: stash_type"),
        ("GroupNormalization num_groups=4", "float32[N, 8, 4]; float32[8]; float32[8]", "float32[N, 8, 4]"),
        ("GroupNormalization num_groups=3", "float32[N, 8, 4]; float32[8]; float32[8]", "error: channels of input 0"),
        ("GroupNormalization num_groups=0", "float32[N, 8, 4]; float32[8]; float32[8]", "error: num_groups"),
        ("RMSNormalization", "float16[N, 8]; float16[8]", "float16[N, 8]"),
        ("LRN size=5", "float32[N, 8, 4, 4]", "float32[N, 8, 4, 4]"),
        ("LpNormalization p=3", "float32[N, 8]", "error: p: expected 1 or 2"),
        ("MeanVarianceNormalization", "float32[N, 8]", "error: axes: expected an axis of 2 axes, found 2"),
        ("Softmax axis=-3", "float32[N, 8]", "error: axis: expected an axis of 2 axes, found -3"),
        ("LogSoftmax", "float32[N, 8]", "float32[N, 8]"),
        ("Dropout", "float32[N, 8]; float32[]; bool[]", "float32[N, 8]; bool[N, 8]"),
    ]);
}

#[test]
fn product() {
    check(&[
        ("MatMul", "float32[N, 3]; float32[3, 5]", "float32[N, 5]"),
        ("MatMul", "float32[B, 8, N, 3]; float32[3, 5]", "float32[B, 8, N, 5]"),
        ("MatMul", "float32[3]; float32[3]", "float32[]"),
        ("MatMul", "float32[B, N, 3]; float32[3]", "float32[B, N]"),
        ("MatMul", "float32[3]; float32[7, 3, 5]", "float32[7, 5]"),
        (
            "MatMul",
            "float32[N, 3]; float32[4, 5]",
            "error: axis 0 of input 1 (the contracted axis): expected 4, found 3",
        ),
        ("MatMul", "float32[]; float32[4, 5]", "error: rank of input 0"),
        ("Gemm transB=1", "float32[N, 3]; float32[5, 3]; float32[5]", "float32[N, 5]"),
        ("Gemm transA=1", "float32[3, N]; float32[3, 5]", "float32[N, 5]"),
        ("Gemm", "float32[N, 3]; float32[3, 5]; float32[2, N, 5]", "error: shape of input 2"),
        ("Gemm", "float32[3]; float32[3, 5]", "error: rank of input 0: expected 2"),
        ("Einsum equation=bij,bjk->bik", "float32[B, 3, 4]; float32[B, 4, 5]", "float32[B, 3, 5]"),
        ("Einsum equation=...ij,jk", "float32[B, C, 3, 4]; float32[4, 5]", "float32[B, C, 3, 5]"),
        ("Einsum equation=ij->ji", "float32[2, N]", "float32[N, 2]"),
        ("Einsum equation=ii->i", "float32[2, 3]", "error: axis 1 (i) of input 0"),
        ("Einsum equation=ij,jk->ii", "float32[2, 3]; float32[3, 4]", "error: equation"),
        ("Einsum equation=ij,jk->iz", "float32[2, 3]; float32[3, 4]", "error: equation"),
        ("Einsum equation=ij", "float32[2, 3]; float32[3, 4]", "error: number of inputs"),
        ("Einsum equation=i1j->ij", "float32[2, 3]", "error: equation"),
        ("MatMulInteger", "uint8[N, 3]; int8[3, 5]; uint8[]; int8[5]", "int32[N, 5]"),
        ("MatMulInteger", "uint8[N, 3]; int8[3, 5]; uint8[]; int8[4]", "error: axis 0 of input 3"),
        (
            "QLinearMatMul",
            "uint8[2, 4]; float32[]; uint8[]; int8[4, 3]; float32[]; int8[]; float32[]; int8[]",
            "int8[2, 3]",
        ),
    ]);
}

#[test]
fn reduction() {
    check(&[
        ("ReduceMean", "float32[N, C, H, W]; int64[2]=2, 3", "float32[N, C, 1, 1]"),
        ("ReduceMean keepdims=0", "float32[N, C, H, W]; int64[2]=-1, -2", "float32[N, C]"),
        ("ReduceSum", "float32[N, C]", "float32[1, 1]"),
        ("ReduceSum noop_with_empty_axes=1", "float32[N, C]", "float32[N, C]"),
        ("ReduceSum keepdims=0", "float32[N, C, 3]; int64[2]", "float32[?0]"),
        ("ReduceSum", "float32[N, C, 3]; int64[K]", "float32[?0, ?1, ?2]"),
        ("ReduceSum", "float32[N, C]; int64[1]=2", "error: axes (input 1): expected an axis of 2 axes, found 2"),
        ("ReduceSum", "float32[N, C]; int64[2]=1, -1", "error: axes (input 1): expected each axis once"),
        ("ReduceProd keepdims=0", "int64[3]=N, 3, 4", "int64[]=12*N"),
        ("ReduceMax", "int64[3]=1, 9, 4", "int64[1]=9"),
        ("ArgMax axis=1 keepdims=0", "float32[N, 10]", "int64[N]"),
        ("ArgMin axis=2", "float32[N, 10]", "error: axis: expected an axis of 2 axes"),
        ("TopK", "float32[N, 10]; int64[1]=3", "float32[N, 3]; int64[N, 3]"),
        ("TopK", "float32[N, 10]; int64[1]=11", "error: input 1 (k): expected at most 10"),
        ("TopK", "float32[N, 10]; int64[1]=-1", "error: input 1 (k): expected at least 0"),
        ("TopK axis=0", "float32[N, 10]; int64[1]", "float32[?0, 10]; int64[?0, 10]"),
        ("CumSum", "float32[N, 10]; int32[]=1", "float32[N, 10]"),
        ("CumSum", "float32[N, 10]; int64[]=2", "error: input 1 (axis)"),
    ]);
}

#[test]
fn layout() {
    check(&[
        ("Reshape", "float32[N, 3, 32, 32]; int64[2]=-1, 3072", "float32[N, 3072]"),
        ("Reshape", "float32[N, 3, 32, 32]; int64[2]=0, -1", "float32[N, 3072]"),
        ("Reshape", "float32[N, T, 64]; int64[4]=0, 0, 4, 16", "float32[N, T, 4, 16]"),
        ("Reshape", "float32[N, T, 64]; int64[4]=N, T, 4, -1", "float32[N, T, 4, 16]"),
        ("Reshape", "float32[N, T, 64]; int64[2]=-1, 64", "float32[?0, 64]"),
        ("Reshape", "float32[N, T, 64]; int64[3]=-1, T, 32", "float32[2*N, T, 32]"),
        ("Reshape", "float32[2, 3]; int64[1]=7", "error: elements of input 0: expected as many as [7] needs"),
        ("Reshape", "float32[2, 3]; int64[2]=-1, 4", "error: elements of input 0"),
        ("Reshape", "float32[2, 3]; int64[2]=-1, -1", "error: input 1 (shape): expected -1 at most once"),
        ("Reshape", "float32[2, 3]; int64[2]=-2, 3", "error: element 0 of input 1 (shape)"),
        ("Reshape", "float32[2]; int64[2]=2, 0", "error: element 1 of input 1 (shape)"),
        ("Reshape allowzero=1", "float32[0, 3]; int64[2]=0, 7", "float32[0, 7]"),
        ("Reshape allowzero=1", "float32[0, 3]; int64[2]=0, -1", "error: input 1 (shape)"),
        ("Reshape", "float32[2, 3]; int64[4]", "float32[?0, ?1, ?2, ?3]"),
        ("Reshape", "float32; int64[2]=0, -1", "float32[?0, ?1]"),
        ("Reshape", "float32[2, 3]; int64", "float32"),
        ("Reshape", "int64[1]=N; int64[0]=", "int64[]=N"),
        ("Flatten", "float32[N, 3, 4]", "float32[N, 12]"),
        ("Flatten axis=0", "float32[N, T, 4]", "float32[1, ?0]"),
        ("Flatten axis=3", "float32[2, 3, 4]", "float32[24, 1]"),
        ("Flatten axis=4", "float32[2, 3, 4]", "error: axis"),
        ("Squeeze", "float32[1, N, 1]; int64[1]=0", "float32[N, 1]"),
        ("Squeeze", "float32[1, 3, 1]", "float32[3]"),
        ("Squeeze", "float32[1, N, 1]", "float32"),
        ("Squeeze", "float32[1, 3]; int64[1]=1", "error: axis 1 of input 0: expected 1, found 3"),
        ("Squeeze", "int64[1]=N; int64[1]=0", "int64[]=N"),
        ("Unsqueeze", "float32[N, 3]; int64[2]=0, -1", "float32[1, N, 3, 1]"),
        ("Unsqueeze", "float32[N, 3]; int64[2]=0, -4", "error: axes (input 1): expected each axis once"),
        ("Unsqueeze", "float32[N, 3]; int64[1]=3", "error: axes (input 1): expected an axis of 3 axes, found 3"),
        ("Unsqueeze", "int64[]=N; int64[1]=0", "int64[1]=N"),
        ("Transpose", "float32[2, N, 4]", "float32[4, N, 2]"),
        ("Transpose perm=[0,2,1]", "float32[2, N, 4]", "float32[2, 4, N]"),
        ("Transpose perm=[0,2]", "float32[2, N, 4]", "error: perm: expected 3 axes"),
        ("Transpose perm=[0,0,1]", "float32[2, N, 4]", "error: perm: expected each axis once"),
        ("Transpose perm=[0,3,1]", "float32[2, N, 4]", "error: perm"),
        ("Expand", "float32[3, 1]; int64[3]=N, 1, 5", "float32[N, 3, 5]"),
        ("Expand", "float32[3]; int64[1]=4", "error: axis 0 of input 0"),
        ("Expand", "float32[3, 1]; int64[2]", "float32[3, ?1]"),
        ("Expand", "int64[1]=N; int64[1]=3", "int64[3]=N, N, N"),
        ("Expand", "float32[3]; int64[1]=-1", "error: input 1 (shape)"),
        ("Concat axis=1", "float32[N, 3]; float32[N, C]; float32[N, 2]", "float32[N, C + 5]"),
        ("Concat axis=1", "float32[N, 3]; float32[4, 3]", "float32[4, 6]"),
        ("Concat axis=1", "float32[2, 3]; float32[4, 3]", "error: axis 0 of input 1: expected 4, found 2"),
        ("Concat axis=2", "float32[2, 3]", "error: axis"),
        ("Concat axis=0", "float32[2, 3]; float32[2]", "error: rank of input 1"),
        ("Concat axis=0", "float32[2]; int64[2]", "error: element type of input 1"),
        ("Concat axis=0", "int64[1]=N; int64[2]=3, 4", "int64[3]=N, 3, 4"),
        ("Tile", "float32[N, 3]; int64[2]=2, 4", "float32[2*N, 12]"),
        ("Tile", "float32[N, 3]; int64[1]=2", "error: length of input 1 (repeats)"),
        ("Tile", "float32[N, 3]; int64[2]=-1, 1", "error: input 1 (repeats)"),
        ("DepthToSpace blocksize=2", "float32[N, 8, H, 3]", "float32[N, 2, 2*H, 6]"),
        ("DepthToSpace blocksize=3", "float32[N, 8, H, 3]", "error: axis 1 of input 0: expected a multiple of 9"),
        ("DepthToSpace blocksize=0", "float32[N, 8, H, 3]", "error: blocksize"),
        ("SpaceToDepth blocksize=2", "float32[N, 2, 2*H, 6]", "float32[N, 8, H, 3]"),
        ("SpaceToDepth blocksize=4", "float32[N, 2, 4, 6]", "error: axis 3 of input 0"),
        ("Trilu", "float32[N, N]; int64[]", "float32[N, N]"),
        ("Trilu", "float32[N]", "error: rank of input 0"),
        ("ReverseSequence", "float32[T, N, 3]; int64[N]", "float32[T, N, 3]"),
        ("ReverseSequence time_axis=1", "float32[T, N, 3]; int64[N]", "error: batch_axis and time_axis"),
    ]);
}

#[test]
fn cutting() {
    let end = i64::MAX;
    let slice = |data: &str, start: &str, end: &str| format!("{data}; int64[1]={start}; int64[1]={end}; int64[1]=0");
    let stepped = |data: &str, start: &str, end: &str, step: &str| {
        format!("{data}; int64[1]={start}; int64[1]={end}; int64[1]=0; int64[1]={step}")
    };
    let (first, last) = (i64::MIN.to_string(), end.to_string());
    check(&[
        ("Slice", &slice("float32[10, 3]", "2", "7"), "float32[5, 3]"),
        ("Slice", &slice("float32[10, 3]", "-3", &last), "float32[3, 3]"),
        ("Slice", &slice("float32[10, 3]", "7", "2"), "float32[0, 3]"),
        ("Slice", &stepped("float32[10]", "0", &last, "3"), "float32[4]"),
        ("Slice", &stepped("float32[10]", "-1", &first, "-1"), "float32[10]"),
        ("Slice", &stepped("float32[10]", "8", "1", "-3"), "float32[3]"),
        ("Slice", &stepped("float32[10]", &last, &first, &first), "float32[1]"),
        ("Slice", &stepped("float32[10]", "0", "5", "0"), "error: input 4 (steps)"),
        ("Slice", &slice("float32[N, 3]", "0", &last), "float32[N, 3]"),
        ("Slice", &slice("float32[N, 3]", "1", &last), "float32[N - 1, 3]"),
        ("Slice", &slice("float32[N, 3]", "0", "-1"), "float32[N - 1, 3]"),
        ("Slice", &slice("float32[?x, 3]", "1", &last), "float32[?0, 3]"),
        ("Slice", &slice("float32[N, 3]", "0", "5"), "float32[?0, 3]"),
        ("Slice", &slice("float32[N, 3]", "-2", &last), "float32[?0, 3]"),
        ("Slice", &slice("float32[N + 4, 3]", "0", "5"), "float32[5, 3]"),
        ("Slice", &slice("float32[N + 4, 3]", "-2", &last), "float32[2, 3]"),
        ("Slice", &slice("float32[N + 4, 3]", "1", "N"), "float32[N - 1, 3]"),
        ("Slice", &stepped("float32[2*N]", "0", &last, "2"), "float32[N]"),
        ("Slice", &stepped("float32[2*N]", "1", &last, "2"), "float32[N]"),
        ("Slice", &stepped("float32[N]", "-1", &first, "-1"), "float32[N]"),
        ("Slice", &stepped("float32[N]", "-2", &first, "-1"), "float32[?0]"),
        ("Slice", &slice("int64[4]=N, 3, 4, 5", "1", "3"), "int64[2]=3, 4"),
        ("Slice", &stepped("int64[4]=N, 3, 4, 5", "-1", &first, "-2"), "int64[2]=5, 3"),
        ("Slice", "float32[4, 5]; int64[1]; int64[1]; int64[1]=1", "float32[4, ?0]"),
        ("Slice", "float32[4, 5]; int64[1]; int64[1]; int64[1]", "float32[?0, ?1]"),
        ("Slice", "float32[4, 5]; int64[1]=1; int64[2]=2, 2", "error: length of input 2"),
        ("Slice", "float32[4, 5]; int64[1]=1; int64[1]=2; int64[1]=2", "error: axes (input 3)"),
        ("Split axis=1", "float32[N, 6]; int64[3]=1, 2, 3", "float32[N, 1]; float32[N, 2]; float32[N, 3]"),
        ("Split axis=1", "float32[N, 6]; int64[2]=1, 2", "error: sum of input 1 (split): expected 6, found [1, 2]; "),
        ("Split axis=1", "float32[N, 6]; int64[2]=7, -1", "error: input 1 (split): expected lengths of at least 0; "),
        ("Split axis=1 num_outputs=2", "float32[N, 5]", "float32[N, 3]; float32[N, 2]"),
        ("Split axis=1 num_outputs=3", "float32[N, 5]", "error: number of outputs"),
        ("Split num_outputs=2", "float32[2*N]", "float32[N]; float32[N]"),
        ("Split num_outputs=2", "float32[N]", "float32[?0]; float32[?1]"),
        ("Split", "int64[3]=N, 3, 4; int64[2]=1, 2", "int64[1]=N; int64[2]=3, 4"),
        ("Pad", "float32[N, 3]; int64[4]=0, 1, 0, 2", "float32[N, 6]"),
        ("Pad", "float32[N, 3]; int64[4]=1, -1, 0, 0", "float32[N + 1, 2]"),
        ("Pad", "float32[N, 3]; int64[4]=0, -4, 0, 0", "error: axis 1 of input 0"),
        ("Pad", "float32[N, 3]; int64[3]=0, 1, 0", "error: length of input 1 (pads)"),
        ("Pad", "float32[N, 3]; int64[2]=1, 1; -; int64[1]=-1", "float32[N, 5]"),
        ("Pad mode=edge", "float32[N, 0]; int64[4]=0, 1, 0, 0", "error: axis 1 of input 0: expected elements"),
        ("Pad", "float32[N, 3]; int64[4]", "float32[?0, ?1]"),
        ("CenterCropPad", "float32[10, N]; int64[2]=5, 7", "float32[5, 7]"),
        ("CenterCropPad axes=[1]", "float32[10, N]; int64[1]=7", "float32[10, 7]"),
        ("CenterCropPad axes=[1]", "float32[10, N]; int64[2]=7, 7", "error: length of input 1 (shape)"),
    ]);
}

#[test]
fn index() {
    check(&[
        ("Gather", "float32[10, D]; int64[N, T]", "float32[N, T, D]"),
        ("Gather axis=1", "float32[10, D]; int64[]", "float32[10]"),
        ("Gather axis=2", "float32[10, D]; int64[]", "error: axis"),
        ("Gather", "int64[3]=N, 3, 4; int64[]=-1", "int64[]=4"),
        ("Gather", "int64[3]=N, 3, 4; int64[2]=0, 1", "int64[2]=N, 3"),
        ("Gather", "int64[3]=N, 3, 4; int64[1]=3", "error: input 1 (indices): expected indices within the 3 of axis 0"),
        ("Gather", "float32[10, D]; float32[N]", "error: element type of input 1"),
        ("GatherElements axis=1", "float32[N, 5]; int64[N, 7]", "float32[N, 7]"),
        ("GatherElements axis=0", "float32[N, 5]; int64[N, 7]", "error: axis 1 of input 1 (indices)"),
        ("GatherND", "float32[4, 5, 6]; int64[N, 2]", "float32[N, 6]"),
        ("GatherND batch_dims=1", "float32[4, 5, 6]; int64[4, 1]", "float32[4, 6]"),
        ("GatherND", "float32[4, 5, 6]; int64[N, 4]", "error: last axis of input 1 (indices)"),
        ("GatherND batch_dims=2", "float32[4, 5, 6]; int64[4, 1]", "error: batch_dims"),
        ("ScatterElements", "float32[4, 5]; int64[2, 5]; float32[2, 5]", "float32[4, 5]"),
        ("ScatterElements", "float32[4, 5]; int64[2, 5]; float32[3, 5]", "error: axis 0 of input 2"),
        ("ScatterND", "float32[4, 5]; int64[2, 1]; float32[2, 5]", "float32[4, 5]"),
        ("ScatterND", "float32[4, 5]; int64[2, 1]; float32[2, 4]", "error: axis 1 of input 2"),
        ("Compress axis=1", "float32[4, 5]; bool[5]=1, 0, 1, 0, 0", "float32[4, 2]"),
        ("Compress", "float32[4, 5]; bool[5]", "float32[?0]"),
        ("Compress axis=0", "float32[4, 5]; bool[5]", "error: length of input 1 (condition)"),
        ("OneHot", "int64[N]; int64[]=10; float32[2]", "float32[N, 10]"),
        ("OneHot axis=0", "int64[N]; int64[1]; float32[2]", "float32[?0, N]"),
        ("OneHot", "int64[N]; int64[]=10; float32[3]", "error: axis 0 of input 2"),
        ("NonZero", "float32[N, 3]", "int64[2, ?0]"),
        ("Range", "int64[]=2; int64[]=11; int64[]=3", "int64[3]=2, 5, 8"),
        ("Range", "int64[]=5; int64[]=1; int64[]=-2", "int64[2]=5, 3"),
        ("Range", "int64[]=0; int64[]=N; int64[]=1", "int64[N]"),
        ("Range", "int64[]=0; int64[]=N; int64[]=0", "error: input 2 (delta)"),
        ("Range", "float32[]; float32[]; float32[]", "float32[?0]"),
        ("Shape", "float32[N, 3, H]", "int64[3]=N, 3, H"),
        ("Shape start=-1", "float32[N, 3, H]", "int64[1]=H"),
        ("Shape start=1 end=-9", "float32[N, 3, H]", "int64[0]="),
        ("Shape", "float32", "int64[?0]"),
        ("Size", "float32[N, 3]", "int64[]=3*N"),
        ("Size", "float32[N, M]", "int64[]"),
        ("ConstantOfShape", "int64[2]=N, 3", "float32[N, 3]"),
        ("ConstantOfShape", "int64[2]=-1, 3", "error: axis 0 of output 0"),
        ("ConstantOfShape", "int64[2]=4611686018427387904, 4611686018427387904", "error: shape of output 0"),
        ("EyeLike dtype=7", "float32[3, N]", "int64[3, N]"),
        ("EyeLike", "float32[3]", "error: rank of input 0"),
    ]);
}

#[test]
fn vision() {
    check(&[
        ("Resize", "float32[N, 3, 8, 8]; -; -; int64[4]=N, 3, 16, 20", "float32[N, 3, 16, 20]"),
        ("Resize axes=[2,3]", "float32[N, 3, H, W]; -; -; int64[2]=16, 20", "float32[N, 3, 16, 20]"),
        ("Resize", "float32[N, 3, 8, 8]; -; -; int64[3]=1, 3, 16", "error: length of input 3"),
        ("Resize", "float32[N, 3, 8, 8]; -; float32[0]; int64[4]", "float32[?0, ?1, ?2, ?3]"),
        (
            "Resize",
            "float32[N, 3, 8, 8]",
            "error: inputs 2 (scales) and 3 (sizes): expected one of them, found neither",
        ),
        ("Resize", "float32[N, 3, 8, 8]; -; float32[4]; int64[4]", "error: inputs 2 (scales) and 3 (sizes)"),
        (
            "Resize axes=[0,1] keep_aspect_ratio_policy=not_larger",
            "float32[4, 10]; -; -; int64[2]=8, 15",
            "float32[6, 15]",
        ),
        (
            "Resize axes=[0,1] keep_aspect_ratio_policy=not_smaller",
            "float32[4, 10]; -; -; int64[2]=8, 15",
            "float32[8, 20]",
        ),
        ("GridSample", "float32[N, 3, 8, 8]; float32[N, 5, 6, 2]", "float32[N, 3, 5, 6]"),
        ("GridSample", "float32[N, 3, 8, 8]; float32[N, 5, 6, 3]", "error: last axis of input 1 (grid)"),
        ("GridSample mode=cubic", "float32[N, 3, 8, 8, 8]; float32[N, 5, 6, 7, 3]", "error: rank of input 0"),
        (
            "RoiAlign output_height=7 output_width=6",
            "float32[N, 3, 8, 8]; float32[R, 4]; int64[R]",
            "float32[R, 3, 7, 6]",
        ),
        ("RoiAlign output_height=0", "float32[N, 3, 8, 8]; float32[R, 4]; int64[R]", "error: output_height"),
        ("NonMaxSuppression", "float32[B, S, 4]; float32[B, C, S]; int64[1]", "int64[?0, 3]"),
        ("NonMaxSuppression", "float32[B, 9, 4]; float32[B, C, 8]", "error: axis 2 of input 1 (scores)"),
    ]);
}

#[test]
fn recurrent() {
    let inputs = "float32[T, N, 6]; float32[1, 20, 6]; float32[1, 20, 5]; float32[1, 40]";
    let both = "float32[T, N, 6]; float32[2, 15, 6]; float32[2, 15, 5]";
    check(&[
        ("LSTM hidden_size=5", inputs, "float32[T, 1, N, 5]; float32[1, N, 5]; float32[1, N, 5]"),
        ("LSTM", inputs, "float32[T, 1, N, 5]"),
        ("LSTM hidden_size=4", inputs, "error: axis 2 of input 2 (hidden size)"),
        ("LSTM hidden_size=9223372036854775807", "float32[T, N, 6]; float32; float32", "error: hidden_size"),
        ("LSTM layout=1", inputs, "float32[T, N, 1, 5]; float32[T, 1, 5]"),
        ("GRU direction=bidirectional", both, "float32[T, 2, N, 5]; float32[2, N, 5]"),
        ("GRU", both, "error: axis 0 of input 1: expected 1, found 2"),
        (
            "RNN",
            "float32[T, N, 6]; float32[1, 5, 7]; float32[1, 5, 5]",
            "error: axis 2 of input 1: expected 6, found 7",
        ),
        ("RNN", "float32[T, N, 6]; float32[1, 5, 6]; float32[1, 5, 5]; -; int32[N]", "float32[T, 1, N, 5]"),
    ]);
}

#[test]
fn quantization() {
    check(&[
        ("QuantizeLinear", "float32[N, 8]; float32[]; int8[]", "int8[N, 8]"),
        ("QuantizeLinear", "float32[N, 8]; float32[8]", "uint8[N, 8]"),
        ("QuantizeLinear output_dtype=22", "float32[N, 8]; float32[8]", "int4[N, 8]"),
        ("QuantizeLinear output_dtype=22", "float32[N, 8]; float32[8]; int8[8]", "error: element type of input 2"),
        ("QuantizeLinear output_dtype=1", "float32[N, 8]; float32[8]", "error: output_dtype"),
        ("QuantizeLinear", "float32[N, 8]; float32[7]", "error: length of input 1 (scale)"),
        ("QuantizeLinear", "float32[8]; float32[8]", "error: axis: expected an axis of 1 axes, found 1"),
        ("DequantizeLinear", "int8[8]; float16[]", "float16[8]"),
        ("DequantizeLinear axis=0", "int8[8, 3]; float32[8]; int8[8]", "float32[8, 3]"),
        ("DequantizeLinear axis=0", "int8[8, 3]; float32[8]; uint8[8]", "error: element type of input 2"),
        ("DequantizeLinear axis=0 block_size=4", "int4[8, 3]; float32[2, 3]; int4[2, 3]", "float32[8, 3]"),
        ("DequantizeLinear axis=0 block_size=3", "int4[8, 3]; float32[2, 3]", "error: axis 0 of input 1 (scale)"),
        ("DequantizeLinear block_size=-1", "int4[8, 3]; float32[2, 3]", "error: block_size"),
        ("DynamicQuantizeLinear", "float32[N]", "uint8[N]; float32[]; uint8[]"),
    ]);
}
