"""Writes evaluate.json beside this file: operators on small data, with what ONNX Runtime makes of them.

Needs onnx, onnxruntime and numpy. The values are multiples of 1/8, so that no input is rounded.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

random = np.random.default_rng(1)
cases = []


def floats(*shape):
    return (random.integers(-16, 17, shape) / 8).astype(np.float32)


def integers(dtype, *shape):
    info = np.iinfo(dtype)
    return random.integers(max(info.min, -300), min(info.max, 300) + 1, shape).astype(dtype)


def tensor(array):
    array = np.asarray(array)
    code = helper.np_dtype_to_tensor_dtype(array.dtype)
    values = array.astype(np.float64).ravel().tolist()
    if array.dtype.kind in "iub":
        values = [int(value) for value in values]
    else:
        values = [float(f"{value:.7g}") for value in values]
    return {"type": code, "shape": list(array.shape), "values": values}


def case(op, *inputs, outputs=1, **attributes):
    names = [f"i{place}" if value is not None else "" for place, value in enumerate(inputs)]
    results = [f"o{place}" for place in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in zip(names, inputs)
            if value is not None
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in results],
    )
    for result in graph.output:
        result.ClearField("type")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {name: value for name, value in zip(names, inputs) if value is not None}
    found = session.run(None, given)
    cases.append(
        {
            "op": op,
            "attributes": attributes,
            "inputs": [None if value is None else tensor(value) for value in inputs],
            "outputs": [tensor(value) for value in found],
        }
    )


# Convolutions
case("Conv", floats(2, 4, 7, 6), floats(6, 2, 3, 2), floats(6), group=2, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2])
case("Conv", floats(1, 3, 8), floats(3, 1, 3), group=3, auto_pad="SAME_UPPER", strides=[3])
case("Conv", floats(1, 2, 4, 5, 3), floats(2, 2, 2, 3, 2), auto_pad="SAME_LOWER", strides=[1, 2, 1])
case("Conv", floats(1, 2, 4, 4), floats(3, 2, 1, 1), auto_pad="VALID", strides=[2, 2])
case("ConvTranspose", floats(2, 4, 3, 4), floats(4, 3, 3, 2), floats(6), group=2, strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 2], dilations=[2, 1])
case("ConvTranspose", floats(1, 2, 4), floats(2, 1, 3), strides=[2], output_shape=[8], auto_pad="SAME_UPPER")
case("ConvTranspose", floats(1, 2, 4), floats(2, 1, 3), strides=[2], output_shape=[8], auto_pad="SAME_LOWER")
case("ConvTranspose", floats(1, 1, 3, 3), floats(1, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
case("ConvInteger", integers(np.uint8, 1, 2, 4, 4), integers(np.uint8, 3, 2, 2, 2), np.array(7, np.uint8), np.array(131, np.uint8), pads=[1, 1, 0, 0])
case("QLinearConv", integers(np.uint8, 1, 2, 4, 4), np.array(0.02, np.float32), np.array(120, np.uint8), integers(np.int8, 3, 2, 3, 3), np.array([0.01, 0.02, 0.005], np.float32), np.zeros(3, np.int8), np.array(0.03, np.float32), np.array(90, np.uint8), integers(np.int32, 3), pads=[1, 1, 1, 1])

# Pools
for op, more in [("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}), ("LpPool", {"p": 3})]:
    case(op, floats(1, 2, 7, 6), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], **more)
    case(op, floats(1, 1, 8), kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER", **more)
    if op != "LpPool":
        case(op, floats(1, 1, 8, 8), kernel_shape=[3, 3], strides=[3, 2], ceil_mode=1, dilations=[2, 1], **more)
        case(op, floats(1, 1, 5, 6, 5), kernel_shape=[2, 3, 2], strides=[2, 2, 2], ceil_mode=1, pads=[0, 1, 0, 1, 1, 1], **more)
case("MaxPool", floats(2, 2, 5, 5), kernel_shape=[2, 3], strides=[1, 2], pads=[1, 0, 1, 2], outputs=2)
case("MaxPool", floats(2, 2, 4, 5), kernel_shape=[2, 2], storage_order=1, outputs=2)

# Normalisations
case("LayerNormalization", floats(2, 3, 4), floats(3, 4), floats(3, 4), axis=1, epsilon=0.01, outputs=3)
case("InstanceNormalization", floats(2, 3, 4), floats(3), floats(3), epsilon=0.01)
case("GroupNormalization", floats(2, 4, 3), floats(4), floats(4), num_groups=2)
case("LRN", floats(1, 6, 2, 2), size=3, alpha=0.5, beta=0.6, bias=1.5)
case("MeanVarianceNormalization", floats(2, 3, 2, 2))

# Products
case("Einsum", floats(2, 3, 4), floats(2, 4, 2), equation="bij,bjk->bik")
case("Einsum", floats(3, 4), equation="ij->ji")
case("Einsum", floats(3, 3), equation="ii")
case("Einsum", floats(3, 3, 2), equation="iij->j")
case("Einsum", floats(2, 1, 3, 4), floats(1, 5, 4, 2), equation="...ij,...jk->...ik")
case("Einsum", floats(2), floats(3), floats(2, 3), equation="i,j,ij")
case("Einsum", floats(2, 3), floats(3, 2), equation="b a , a c -> c b")
case("MatMulInteger", integers(np.uint8, 2, 3, 4), integers(np.int8, 4, 2), np.array(9, np.uint8), np.array([3, -5], np.int8))
case("QLinearMatMul", integers(np.uint8, 3, 4), np.array(0.02, np.float32), np.array(99, np.uint8), integers(np.uint8, 4, 2), np.array(0.01, np.float32), np.array(130, np.uint8), np.array(0.03, np.float32), np.array(120, np.uint8))

# Quantization
scales = np.array([0.25, 0.5, 0.125], np.float32)
case("QuantizeLinear", floats(2, 3, 2), scales, np.array([0, -3, 100], np.int8))
case("QuantizeLinear", floats(4, 5), np.array(0.1, np.float32), np.array(128, np.uint8))
case("QuantizeLinear", 100 * floats(4, 5), np.array(0.01, np.float32), np.array(-7, np.int16))
case("DequantizeLinear", integers(np.int8, 2, 3, 2), scales, np.array([0, -3, 100], np.int8))
case("DequantizeLinear", integers(np.uint8, 2, 6), np.abs(floats(2, 3)) + np.float32(0.125), integers(np.uint8, 2, 3), axis=1, block_size=2)
case("DynamicQuantizeLinear", floats(3, 4), outputs=3)

# Recurrent layers
steps, batch, width, hidden = 4, 3, 2, 3
gates = {"RNN": 1, "GRU": 3, "LSTM": 4}
lengths = np.array([4, 2, 3], np.int32)


def recurrent(op, directions, *, short=False, start=False, peepholes=False, **attributes):
    g = gates[op]
    inputs = [
        floats(steps, batch, width),
        floats(directions, g * hidden, width),
        floats(directions, g * hidden, hidden),
        floats(directions, 2 * g * hidden),
        lengths if short else None,
        floats(directions, batch, hidden) if start else None,
    ]
    if op == "LSTM":
        inputs.append(floats(directions, batch, hidden) if start else None)
        inputs.append(floats(directions, 3 * hidden) if peepholes else None)
    while inputs[-1] is None:
        inputs.pop()
    case(op, *inputs, outputs=3 if op == "LSTM" else 2, hidden_size=hidden, **attributes)


for op in gates:
    recurrent(op, 1)
    recurrent(op, 1, direction="reverse", short=True, start=True)
    recurrent(op, 2, direction="bidirectional", start=True, clip=0.75)
recurrent("RNN", 1, activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.25])
recurrent("RNN", 2, direction="bidirectional", activations=["ScaledTanh", "LeakyRelu"], activation_alpha=[0.5, 0.125], activation_beta=[0.75])
recurrent("GRU", 1, linear_before_reset=1, start=True)
recurrent("GRU", 1, activations=["HardSigmoid", "Softsign"], activation_alpha=[0.25], activation_beta=[0.5])
recurrent("LSTM", 1, peepholes=True, start=True)
recurrent("LSTM", 1, peepholes=True, start=True, input_forget=1)
recurrent("LSTM", 1, activations=["Sigmoid", "Elu", "Softplus"], activation_alpha=[0.5])

target = pathlib.Path(__file__).with_suffix(".json")
target.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(len(cases), "cases,", target.stat().st_size, "bytes")
