//! What the data of a graph is for: parameters, statistics, constants.

use crate::graph::{Graph, ValueId};
use crate::ops::Op;
pub use crate::ops::Role;
use crate::ops::elementwise::{Binary, Unary};

/// The role of a value's data; `None` if the file holds no data for it.
///
/// The slots that the data feeds decide, also through Identity, Transpose, Reshape, Flatten, Squeeze, Unsqueeze, Cast,
/// `DequantizeLinear` and Mask. Of several slots Parameter wins over Statistic over Constant. Two kinds of data are constants in
/// any slot that could hold a parameter:
/// - integers and bool, unless the operator computes with quantized weights;
/// - a single element that feeds elementwise arithmetic, Concat or Expand (the 1/√d of attention, the 1/6 of a hard
///   swish). Single elements elsewhere (a bias of one channel, a slope of `PRelu`, a scale of quantization) are
///   parameters.
///
/// Floating-point data that feeds a node which is not understood is a parameter if it has more than one element.
pub fn role_of(graph: &Graph, value: ValueId) -> Option<Role> {
    let data = graph.value(value).data.as_ref()?;
    let single = data.len() <= 1;
    let mut role = Role::Constant;
    // Each value of a chain has one source, so that no slot is visited twice.
    let mut chain = vec![(value, data.element_type().is_float())];
    while let Some((value, float)) = chain.pop() {
        for reader in graph.value(value).readers() {
            let node = graph.node(reader.node);
            let found = match (passes(&node.op, float), reader.slot) {
                (Some(float), 0) => {
                    chain.extend(node.output(0).map(|output| (output, float)));
                    continue;
                }
                _ if !float && !computes_with_integers(&node.op) => Role::Constant,
                _ if node.op.other().is_some() && !single => Role::Parameter,
                _ if single && is_arithmetic(&node.op) => Role::Constant,
                (_, slot) => node.op.slot_role(slot),
            };
            match found {
                Role::Parameter => return Some(Role::Parameter),
                Role::Statistic => role = Role::Statistic,
                Role::Constant => {}
            }
        }
    }
    Some(role)
}

/// The role of every value with data, by [`ValueId::index`]. Linear in the size of the graph.
pub fn roles(graph: &Graph) -> Vec<Option<Role>> {
    let mut roles = vec![None; graph.value_bound()];
    for (id, value) in graph.values() {
        if value.data.is_some() {
            roles[id.index()] = role_of(graph, id);
        }
    }
    roles
}

/// Whether the operator hands its input 0 on as the same data, and then whether it is floating-point behind it.
fn passes(op: &Op, float: bool) -> Option<bool> {
    match op {
        Op::Unary(Unary::Identity) | Op::Transpose(_) | Op::Reshape(_) | Op::Flatten(_) => Some(float),
        Op::Squeeze(_) | Op::Unsqueeze(_) => Some(float),
        Op::Cast(cast) => Some(cast.to.is_float()),
        Op::DequantizeLinear(_) => Some(true),
        Op::Mask(_) => Some(float),
        _ => None,
    }
}

/// Whether the operator hands its input 0 on as the same data.
pub fn passes_data(op: &Op) -> bool {
    passes(op, true).is_some()
}

/// Whether integer data in a parameter's slot is a (quantized) parameter.
fn computes_with_integers(op: &Op) -> bool {
    matches!(op, Op::ConvInteger(_) | Op::MatMulInteger(_) | Op::QLinearConv(_) | Op::QLinearMatMul(_))
}

/// Operators whose parameters have several elements: a single one is a fixed number of a formula.
fn is_arithmetic(op: &Op) -> bool {
    match op {
        Op::Binary(kind) => *kind != Binary::PRelu,
        Op::Variadic(_) | Op::Where(_) | Op::Concat(_) | Op::Expand(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::layout::Transpose;
    use crate::ops::product::MatMul;
    use crate::ops::quantization::DequantizeLinear;
    use crate::tensor::Tensor;

    #[test]
    fn slots_decide_also_through_chains() {
        let mut graph = Graph::new("g");
        let x = graph.add_intermediate("x");
        graph.add_input(x).unwrap();
        let quantized = graph.add_constant("w", Tensor::from_values(vec![2, 2], vec![1i8; 4]).unwrap());
        let scale = graph.add_constant("s", Tensor::scalar(0.5f32));
        let zero = graph.add_constant("z", Tensor::scalar(0i8));
        let w = graph.apply("dq", DequantizeLinear { axis: 1, block_size: 0 }, &[quantized, scale, zero]);
        let w = graph.apply("t", Transpose { perm: None }, &[w]);
        let y = graph.apply("y", MatMul {}, &[x, w]);
        let bias = graph.add_constant("b", Tensor::vector(vec![1f32, 2.0]));
        let y = graph.apply("add", Binary::Add, &[y, bias]);
        let sixth = graph.add_constant("sixth", Tensor::vector(vec![1f32 / 6.0]));
        let y = graph.apply("mul", Binary::Mul, &[y, sixth]);
        let slope = graph.add_constant("slope", Tensor::vector(vec![0.1f32]));
        let y = graph.apply("prelu", Binary::PRelu, &[y, slope]);
        let shape = graph.add_constant("shape", Tensor::vector(vec![1i64, -1]));
        let y = graph.apply("r", crate::ops::layout::Reshape { allowzero: false }, &[y, shape]);
        let unused = graph.add_constant("unused", Tensor::vector(vec![1f32, 2.0]));
        graph.add_output(y);
        let role = |value| role_of(&graph, value);
        assert_eq!(role(quantized), Some(Role::Parameter));
        assert_eq!(role(scale), Some(Role::Parameter));
        assert_eq!(role(zero), Some(Role::Constant));
        assert_eq!(role(bias), Some(Role::Parameter));
        assert_eq!(role(sixth), Some(Role::Constant));
        assert_eq!(role(slope), Some(Role::Parameter));
        assert_eq!(role(shape), Some(Role::Constant));
        assert_eq!(role(unused), Some(Role::Constant));
        assert_eq!(role(x), None);
        graph.apply("also", Binary::Sub, &[x, unused]);
        assert_eq!(roles(&graph)[unused.index()], Some(Role::Parameter));
    }
}
