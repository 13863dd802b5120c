//! A sample node of each operator, behind a convolution whose channels can be followed into it.

use slimnet_graph::ops::attribute::{AttributeValue, Attributes};
use slimnet_graph::ops::elementwise::Cast;
use slimnet_graph::ops::layout::Reshape;
use slimnet_graph::{Dim, ElementType, Graph, NodeId, Op, Tensor, Value, ValueId};

/// The free input.
pub const IMAGE: [usize; 4] = [1, 3, 4, 4];

/// What the convolution makes of it.
const FEATURES: [usize; 4] = [1, 4, 4, 4];

fn filled(element_type: ElementType, shape: &[usize], value: f64) -> Tensor {
    Tensor::from_f64s(element_type, shape.to_vec(), vec![value; shape.iter().product()]).unwrap()
}

fn floats(shape: &[usize]) -> Tensor {
    filled(ElementType::F32, shape, 1.0)
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::vector(values.to_vec())
}

/// A node: attributes, inputs and number of outputs.
struct Sample {
    attributes: Attributes,
    /// Element type and shape of the first input, which is computed; 64 elements.
    first: (ElementType, Vec<usize>),
    /// A first input that is not computed but given.
    constant: Option<Tensor>,
    /// Inputs from 1 on; `None` is absent.
    rest: Vec<Option<Tensor>>,
    outputs: usize,
}

impl Sample {
    fn new(element_type: ElementType, shape: &[usize]) -> Self {
        let first = (element_type, shape.to_vec());
        Self { attributes: Attributes::default(), first, constant: None, rest: Vec::new(), outputs: 1 }
    }

    #[allow(clippy::needless_pass_by_value)] // shorter where it is called
    fn with(mut self, name: &str, value: impl AttributeValue) -> Self {
        self.attributes.put(name, &value);
        self
    }

    fn of(self, element_type: ElementType) -> Self {
        Self { first: (element_type, self.first.1), ..self }
    }

    fn constant(self, tensor: Tensor) -> Self {
        Self { constant: Some(tensor), ..self }
    }

    fn input(mut self, tensor: Tensor) -> Self {
        self.rest.push(Some(tensor));
        self
    }

    fn absent(mut self) -> Self {
        self.rest.push(None);
        self
    }

    fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    /// With `count` vectors of one number for each channel.
    fn per_channel(self, count: usize) -> Self {
        (0..count).fold(self, |sample, _| sample.input(floats(&[4])))
    }

    /// With a scale and a zero point.
    fn quantized(self) -> Self {
        self.input(Tensor::scalar(0.5f32)).input(Tensor::scalar(1u8))
    }

    /// A recurrent layer from 4 to 2 features.
    fn recurrent(gates: usize) -> Self {
        let sample = Self::new(ElementType::F32, &[4, 4, 4]).with("hidden_size", 2i64);
        sample.input(floats(&[1, gates * 2, 4])).input(floats(&[1, gates * 2, 2]))
    }

    fn of_operator(op_type: &str) -> Self {
        use ElementType::{Bool, F32, I32, I64, U8, U32};
        let plain = Self::new(F32, &FEATURES);
        match op_type {
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" | "Equal" | "Greater" | "GreaterOrEqual" | "Less"
            | "LessOrEqual" | "Max" | "Mean" | "Min" | "Sum" => plain.input(floats(&FEATURES)),
            "And" | "Or" | "Xor" => plain.of(Bool).input(filled(Bool, &FEATURES, 1.0)),
            "Not" => plain.of(Bool),
            "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => plain.of(I32).input(filled(I32, &FEATURES, 1.0)),
            "BitwiseNot" => plain.of(I32),
            "BitShift" => plain.of(U32).with("direction", "LEFT".to_owned()).input(filled(U32, &FEATURES, 1.0)),
            "Mod" => plain.of(I32).input(filled(I32, &FEATURES, 3.0)),
            "Where" => plain.of(Bool).input(floats(&FEATURES)).input(floats(&FEATURES)),
            "Cast" => plain.with("to", I32),
            "CastLike" => plain.input(filled(I32, &[], 1.0)),
            "Conv" => plain.input(floats(&[2, 4, 3, 3])),
            "ConvTranspose" => plain.input(floats(&[4, 2, 3, 3])),
            "ConvInteger" => plain.of(U8).input(filled(U8, &[2, 4, 3, 3], 1.0)),
            "QLinearConv" => {
                let weights = filled(U8, &[2, 4, 3, 3], 1.0);
                plain.of(U8).quantized().input(weights).quantized().quantized()
            }
            "AveragePool" | "MaxPool" | "LpPool" => plain.with("kernel_shape", vec![2i64, 2]),
            "BatchNormalization" => plain.per_channel(4),
            "InstanceNormalization" => plain.per_channel(2),
            "GroupNormalization" => plain.with("num_groups", 2i64).per_channel(2),
            "LayerNormalization" => plain.per_channel(2),
            "RMSNormalization" => plain.per_channel(1),
            "LRN" => plain.with("size", 3i64),
            "MatMul" => plain.input(floats(&[4, 2])),
            "Gemm" => Self::new(F32, &[16, 4]).input(floats(&[4, 2])),
            "Einsum" => plain.with("equation", "nchw,wk->nchk".to_owned()).input(floats(&[4, 2])),
            "MatMulInteger" => plain.of(U8).input(filled(U8, &[4, 2], 1.0)),
            "QLinearMatMul" => plain.of(U8).quantized().input(filled(U8, &[4, 2], 1.0)).quantized().quantized(),
            "TopK" => plain.input(ints(&[2])).outputs(2),
            "CumSum" => plain.input(Tensor::scalar(1i64)),
            "Reshape" => plain.input(ints(&[4, 16])),
            "Squeeze" => plain.input(ints(&[0])),
            "Unsqueeze" => plain.input(ints(&[0])),
            "Expand" => plain.input(ints(&[2, 4, 4, 4])),
            "Concat" => plain.with("axis", 1i64).input(floats(&FEATURES)),
            "Split" => plain.with("axis", 1i64).input(ints(&[2, 2])).outputs(2),
            "Slice" => plain.input(ints(&[1])).input(ints(&[3])).input(ints(&[1])),
            "Pad" => plain.input(ints(&[0, 0, 1, 1, 0, 0, 1, 1])),
            "Tile" => plain.input(ints(&[1, 1, 2, 2])),
            "DepthToSpace" | "SpaceToDepth" => plain.with("blocksize", 2i64),
            "ReverseSequence" => plain.input(ints(&[1, 1, 1, 1])),
            "CenterCropPad" => plain.input(ints(&[1, 4, 2, 2])),
            "Gather" => plain.with("axis", 1i64).input(ints(&[0, 2])),
            "GatherElements" => plain.input(filled(I64, &FEATURES, 0.0)),
            "GatherND" => plain.input(filled(I64, &[2, 2], 0.0)),
            "ScatterElements" => plain.input(filled(I64, &FEATURES, 0.0)).input(floats(&FEATURES)),
            "ScatterND" => plain.input(filled(I64, &[1, 4], 0.0)).input(floats(&[1])),
            "Compress" => plain.with("axis", 1i64).input(filled(Bool, &[4], 1.0)),
            "OneHot" => plain.of(I64).input(Tensor::scalar(3i64)).input(floats(&[2])),
            "Range" => plain.constant(Tensor::scalar(0f32)).input(Tensor::scalar(9f32)).input(Tensor::scalar(1f32)),
            "ConstantOfShape" => plain.constant(ints(&[2, 3])),
            "EyeLike" => Self::new(F32, &[16, 4]),
            // In the form that the oldest operator sets have.
            "Resize" => plain
                .with("coordinate_transformation_mode", "asymmetric".to_owned())
                .with("nearest_mode", "floor".to_owned())
                .absent()
                .input(Tensor::vector(vec![1f32, 1.0, 2.0, 2.0])),
            "GridSample" => plain.input(floats(&[1, 2, 2, 2])),
            "RoiAlign" => plain
                .with("coordinate_transformation_mode", "output_half_pixel".to_owned())
                .input(floats(&[1, 4]))
                .input(ints(&[0])),
            "NonMaxSuppression" => Self::new(F32, &[1, 16, 4]).input(floats(&[1, 1, 16])),
            "LSTM" => Self::recurrent(4).outputs(3),
            "GRU" => Self::recurrent(3).outputs(2),
            "RNN" => Self::recurrent(1).outputs(2),
            "QuantizeLinear" => plain.quantized(),
            "DequantizeLinear" => plain.of(U8).quantized(),
            "DynamicQuantizeLinear" => plain.outputs(3),
            "Mask" => plain.input(filled(U8, &FEATURES, 1.0)),
            _ => plain,
        }
    }
}

/// A graph of the sample of an operator, its node, and the free input.
pub fn build(op_type: &str) -> (Graph, NodeId, ValueId) {
    let sample = Sample::of_operator(op_type);
    let mut graph = Graph::new(op_type);
    let shape = IMAGE.iter().map(|&length| Dim::from(length)).collect();
    let mut input = Value::new("image");
    (input.element_type, input.shape) = (Some(ElementType::F32), Some(shape));
    let input = graph.add_value(input).unwrap();
    graph.add_input(input).unwrap();
    let constant = |graph: &mut Graph, tensor: Tensor| graph.add_constant("constant", tensor);
    let first = if let Some(tensor) = sample.constant {
        constant(&mut graph, tensor)
    } else {
        let weights = constant(&mut graph, floats(&[4, 3, 1, 1]));
        let conv = Op::read("Conv", Attributes::default()).unwrap().unwrap();
        let mut first = graph.apply("conv", conv, &[input, weights]);
        let (element_type, shape) = sample.first;
        if shape != FEATURES {
            let shape = constant(&mut graph, ints(&shape.iter().map(|&length| length as i64).collect::<Vec<_>>()));
            first = graph.apply("reshape", Reshape { allowzero: false }, &[first, shape]);
        }
        if element_type != ElementType::F32 {
            first = graph.apply("cast", Cast { saturate: true, to: element_type }, &[first]);
        }
        first
    };
    let rest = sample.rest.into_iter().map(|tensor| tensor.map(|tensor| constant(&mut graph, tensor)));
    let inputs = std::iter::once(Some(first)).chain(rest).collect();
    let outputs: Vec<_> = (0..sample.outputs).map(|_| graph.add_intermediate("output")).collect();
    let op = Op::read(op_type, sample.attributes).unwrap().unwrap();
    let node = graph.add_node("node", op, inputs, outputs.iter().copied().map(Some).collect()).unwrap();
    for output in outputs {
        graph.add_output(output);
    }
    (graph, node, input)
}

/// A tensor such as the sample of an operator reads first.
pub fn first_input(op_type: &str) -> Tensor {
    let sample = Sample::of_operator(op_type);
    let (element_type, shape) = sample.first;
    sample.constant.unwrap_or_else(|| filled(element_type, &shape, 1.0))
}
