//! Whatever attributes and shapes a file brings: an error, not a panic, and no more memory than the limit allows.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::evaluate::{Context, dispatch};
use crate::infer::Inferred;

/// Operators with the attributes that take part in index arithmetic.
const OPERATORS: &[(&str, &[&str], &[&str])] = &[
    ("Add", &[], &[]),
    ("Pow", &[], &[]),
    ("PRelu", &[], &[]),
    ("Div", &[], &[]),
    ("Mod", &["fmod"], &[]),
    ("Clip", &[], &[]),
    ("Max", &[], &[]),
    ("Conv", &["group"], &["dilations", "kernel_shape", "pads", "strides"]),
    ("ConvTranspose", &["group"], &["dilations", "output_padding", "output_shape", "pads", "strides"]),
    ("ConvInteger", &["group"], &["dilations", "pads", "strides"]),
    ("QLinearConv", &["group"], &["dilations", "pads", "strides"]),
    ("MaxPool", &["ceil_mode", "storage_order"], &["dilations", "kernel_shape", "pads", "strides"]),
    ("AveragePool", &["ceil_mode", "count_include_pad"], &["dilations", "kernel_shape", "pads", "strides"]),
    ("LpPool", &["p"], &["dilations", "kernel_shape", "pads", "strides"]),
    ("GlobalAveragePool", &[], &[]),
    ("GlobalLpPool", &["p"], &[]),
    ("BatchNormalization", &["training_mode"], &[]),
    ("InstanceNormalization", &[], &[]),
    ("LayerNormalization", &["axis", "stash_type"], &[]),
    ("GroupNormalization", &["num_groups"], &[]),
    ("RMSNormalization", &["axis"], &[]),
    ("LRN", &["size"], &[]),
    ("LpNormalization", &["axis", "p"], &[]),
    ("MeanVarianceNormalization", &[], &["axes"]),
    ("Softmax", &["axis"], &[]),
    ("Hardmax", &["axis"], &[]),
    ("Dropout", &[], &[]),
    ("MatMul", &[], &[]),
    ("Gemm", &["transA", "transB"], &[]),
    ("MatMulInteger", &[], &[]),
    ("QLinearMatMul", &[], &[]),
    ("ReduceSum", &["keepdims", "noop_with_empty_axes"], &[]),
    ("ReduceLogSumExp", &["keepdims"], &[]),
    ("ReduceMean", &["keepdims"], &[]),
    ("ArgMax", &["axis", "keepdims", "select_last_index"], &[]),
    ("TopK", &["axis", "largest"], &[]),
    ("CumSum", &["exclusive", "reverse"], &[]),
    ("QuantizeLinear", &["axis", "block_size", "output_dtype"], &[]),
    ("DequantizeLinear", &["axis", "block_size"], &[]),
    ("DynamicQuantizeLinear", &[], &[]),
    ("LSTM", &["hidden_size", "layout"], &[]),
    ("GRU", &["linear_before_reset", "layout"], &[]),
    ("RNN", &["layout"], &[]),
];

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![6 => -3..5i64, 1 => select(vec![i64::MIN, i64::MAX, 1 << 32, -(1 << 40), 1 << 62])]
}

/// One number an axis for one or two axes, mostly.
fn list() -> impl Strategy<Value = Vec<i64>> {
    let fair = || prop_oneof![12 => 1..3i64, 1 => number()];
    prop_oneof![
        4 => prop::collection::vec(fair(), 1),
        4 => prop::collection::vec(fair(), 2),
        1 => prop::collection::vec(number(), 0..5),
    ]
}

/// Mostly small; huge lengths only beside a zero, where no data is needed.
fn shape() -> impl Strategy<Value = Vec<usize>> {
    let small = prop::collection::vec(prop_oneof![1 => Just(0), 12 => 1..4usize], 0..5);
    let huge = prop::collection::vec(select(vec![0, 1, 2, 1 << 40, (1 << 63) - 1]), 1..5);
    let huge = huge.prop_map(|mut shape| {
        if !shape.contains(&0) {
            shape[0] = 0;
        }
        shape
    });
    prop_oneof![12 => small, 1 => huge]
}

fn cycled(element_type: ElementType, shape: &[usize], numbers: &[i64], count: usize) -> Tensor {
    ints(element_type, shape, &numbers.iter().copied().cycle().take(count).collect::<Vec<_>>())
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let types = select(vec![ElementType::F32, ElementType::F32, ElementType::I64, ElementType::U8, ElementType::I8]);
    (types, shape(), prop::collection::vec(number(), 7)).prop_map(|(element_type, shape, numbers)| {
        let count = if shape.contains(&0) { 0 } else { shape.iter().product() };
        cycled(element_type, &shape, &numbers, count)
    })
}

/// Shapes that fit each other, so that the loops are reached: `[N, C, …]`, `[M, C, …]`, `[M]` and relatives.
fn fitting() -> impl Strategy<Value = Vec<Tensor>> {
    let lengths = prop::collection::vec(prop_oneof![1 => Just(0), 12 => 1..5usize], 6);
    let types = select(vec![ElementType::F32, ElementType::U8]);
    (lengths, 0..6usize, types, prop::collection::vec(number(), 7)).prop_map(|(d, form, element_type, numbers)| {
        let shapes: Vec<Vec<usize>> = match form {
            0 => vec![vec![d[0], d[1], d[2]], vec![d[3], d[1], d[4]], vec![d[3]]],
            1 => vec![vec![d[0], d[1], d[2], d[3]], vec![d[1]], vec![d[1]], vec![d[1]], vec![d[1]]],
            2 => vec![vec![d[0], d[1]], vec![d[1], d[2]], vec![d[2]]],
            3 => vec![vec![d[0], d[1], d[2]], vec![d[1], d[3], d[4]], vec![d[3]]],
            4 => vec![vec![d[0], d[1], 5], vec![d[3], d[1], d[4]], vec![], vec![], vec![]],
            _ => {
                let rows = d[5] * d[3];
                vec![vec![d[0], d[1], d[2]], vec![1, rows, d[2]], vec![1, rows, d[3]], vec![1, 2 * rows]]
            }
        };
        let make = |shape: &Vec<usize>| cycled(element_type, shape, &numbers, shape.iter().product());
        shapes.iter().map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nothing_panics(
        (name, single, several) in select(OPERATORS),
        numbers in prop::collection::vec(number(), 4),
        lists in prop::collection::vec(list(), 5),
        kernel in prop::collection::vec(1..4i64, 0..4),
        inputs in prop_oneof![fitting(), prop::collection::vec(tensor(), 1..9)],
        given in prop::collection::vec(any::<bool>(), 16),
        outputs in 1..4usize,
    ) {
        let mut attributes = Attributes::default();
        for place in 0..single.len() {
            if given[place] || single[place] == "num_groups" || single[place] == "size" {
                attributes.put(single[place], &numbers[place]);
            }
        }
        for place in 0..several.len() {
            if several[place] == "kernel_shape" {
                attributes.put(several[place], if given[5] { &kernel } else { &lists[place] });
            } else if given[6 + place] {
                attributes.put(several[place], &lists[place]);
            }
        }
        if !several.is_empty() && given[15] {
            attributes.put("auto_pad", &select_auto_pad(&given).to_owned());
        }
        let Some(Ok(op)) = Op::read(name, attributes) else { return Ok(()) };
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        // Inference refuses most of this before; the loops must be safe without it.
        let inferred = vec![Inferred::default(); outputs];
        let limit = 1 << 16;
        if let Ok(results) = dispatch(&op, &Context { inputs: &inputs, outputs: &inferred, limit }) {
            eprintln!("OK {name} {}", results[0].len().min(1));
            for result in results {
                prop_assert!(result.byte_len() <= limit.max(1 << 12));
            }
        }
        let _ = evaluate_op(&op, &inputs, outputs, limit);
    }

    #[test]
    fn no_equation_panics(equation in "[ab.,>-]{0,9}", inputs in prop::collection::vec(tensor(), 1..4)) {
        let op = with("Einsum", "equation", equation);
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        let _ = dispatch(&op, &Context { inputs: &inputs, outputs: &[Inferred::default()], limit: 1 << 16 });
        let _ = evaluate_op(&op, &inputs, 1, 1 << 16);
    }
}

fn select_auto_pad(given: &[bool]) -> &'static str {
    match (given[13], given[14]) {
        (false, false) => "VALID",
        (false, true) => "SAME_UPPER",
        (true, _) => "SAME_LOWER",
    }
}
