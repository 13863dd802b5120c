//! Hostile inputs: whatever tensors a node gets, inference and evaluation give an error or results that agree.

use crate::samples;
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::infer::{Known, infer_op};
use slimnet_graph::{Dim, ElementType, Op, Tensor};

/// Nothing larger may come of any input.
const LIMIT: usize = 1 << 16;
/// Mutations of each operator's sample.
const ROUNDS: usize = 200;

/// Attributes that hold numbers or lists of them, of any operator.
const ATTRIBUTES: [&str; 30] = [
    "axis",
    "axes",
    "batch_axis",
    "batch_dims",
    "block_size",
    "blocksize",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "end",
    "exclusive",
    "group",
    "hidden_size",
    "k",
    "keepdims",
    "kernel_shape",
    "num_groups",
    "num_outputs",
    "output_height",
    "output_padding",
    "output_shape",
    "p",
    "pads",
    "perm",
    "sampling_ratio",
    "size",
    "start",
    "storage_order",
    "strides",
    "time_axis",
];

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn tensor(&mut self, element_type: ElementType, shape: Vec<usize>) -> Option<Tensor> {
        let count: usize = if shape.contains(&0) { 0 } else { shape.iter().product() };
        if count > 4096 {
            return None;
        }
        if element_type == ElementType::String {
            return Tensor::from_strings(shape, vec![b"1".to_vec(); count]).ok();
        }
        let extreme =
            [0.0, 1.0, -1.0, 2.0, 3.0, -5.0, 1e30, -1e30, f64::NAN, f64::INFINITY, 4_611_686_018_427_387_904.0];
        let calm = self.below(2) == 0;
        let values = (0..count).map(|_| if calm { self.below(4) as f64 } else { self.pick(&extreme) }).collect();
        Tensor::from_f64s(element_type, shape, values).ok()
    }

    /// The operator with some attribute changed; the same one if it does not have it.
    fn mutate_attribute(&mut self, op: &Op) -> Op {
        let mut attributes = op.attributes();
        let name = self.pick(&ATTRIBUTES);
        let numbers = [-2, -1, 0, 1, 2, 3, 4, 17, i64::MAX, i64::MIN];
        if self.below(2) == 0 {
            attributes.put(name, &self.pick(&numbers));
        } else {
            let count = self.below(5);
            attributes.put(name, &(0..count).map(|_| self.pick(&numbers)).collect::<Vec<_>>());
        }
        Op::read(op.op_type(), attributes).and_then(Result::ok).unwrap_or_else(|| op.clone())
    }

    /// Another tensor somewhat like this one.
    fn mutate(&mut self, tensor: &Tensor) -> Option<Tensor> {
        let mut shape = tensor.shape().to_vec();
        let mut element_type = tensor.element_type();
        match self.below(8) {
            0 => return Some(tensor.clone()),
            1 => drop(shape.pop()),
            2 => shape.push(self.pick(&[0, 1, 2, 4])),
            3 if !shape.is_empty() => {
                let axis = self.below(shape.len());
                shape[axis] = self.pick(&[0, 1, 2, 3, 5, 1 << 40]);
            }
            4 => element_type = self.pick(&ElementType::ALL),
            _ => {}
        }
        self.tensor(element_type, shape)
    }
}

fn check(op: &Op, inputs: &[Option<&Tensor>], outputs: usize) {
    let Ok(results) = evaluate_op(op, inputs, outputs, LIMIT) else { return };
    // What inference says of the shapes alone must be true of the results.
    let shapes: Vec<Option<Vec<Dim>>> = inputs
        .iter()
        .map(|input| input.map(|data| data.shape().iter().map(|&length| Dim::from(length)).collect()))
        .collect();
    let known: Vec<_> = inputs
        .iter()
        .zip(&shapes)
        .map(|(input, shape)| {
            let element_type = Some((*input)?.element_type());
            Some(Known { element_type, shape: shape.as_deref(), ..Known::default() })
        })
        .collect();
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        Dim::unknown(&count.to_string())
    };
    let inferred = infer_op(op, &known, outputs, &mut fresh).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    for (result, inferred) in results.iter().zip(&inferred) {
        assert!(result.byte_len() <= LIMIT, "{op:?}: {} bytes", result.byte_len());
        assert!(inferred.element_type.is_none_or(|known| known == result.element_type()), "{op:?}: {inferred:?}");
        if let Some(shape) = &inferred.shape {
            let agrees = |(known, &found): (&Dim, &usize)| known.known().is_none_or(|known| known == found);
            let same = shape.len() == result.rank() && shape.iter().zip(result.shape()).all(agrees);
            assert!(same, "{op:?} on {shapes:?}: inferred {inferred:?}, found {:?}", result.shape());
        }
    }
}

#[test]
fn hostile_tensors_never_panic() {
    let mut random = Random(7);
    for op_type in Op::known_types() {
        let (graph, node, _) = samples::build(op_type);
        let node = graph.node(node);
        let first = samples::first_input(op_type);
        let originals: Vec<_> = node
            .inputs()
            .iter()
            .map(|input| input.map(|value| graph.value(value).data.clone().unwrap_or_else(|| first.clone())))
            .collect();
        for _ in 0..ROUNDS {
            let mutated: Option<Vec<_>> = originals
                .iter()
                .map(|original| match original {
                    Some(_) if random.below(16) == 0 => Some(None),
                    Some(original) => random.mutate(original).map(Some),
                    None => Some(None),
                })
                .collect();
            let Some(mutated) = mutated else { continue };
            let op = if random.below(2) == 0 { node.op.clone() } else { random.mutate_attribute(&node.op) };
            check(&op, &mutated.iter().map(Option::as_ref).collect::<Vec<_>>(), node.outputs().len());
        }
    }
}
