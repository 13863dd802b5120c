"""Gradients of ONNX operators as PyTorch computes them, for crates/slimnet-engine/tests/golden_gradients.rs.

Run by hand when cases change (python3 -m venv, pip install -r checks/golden-requirements.txt, then this file); the
values are committed. Every case is computed in float64 from inputs that float32 holds exactly, and rounded once. Inputs
depend on the name of the case alone, so that a new case changes no other.

A file per family holds, for a case NAME and slots in ONNX's order: NAME:iK inputs, NAME:oK outputs, NAME:uK the
gradient that comes from above for output K, NAME:gK the gradient of input K. What a case is in ONNX stands in the test.
"""

import math
import pathlib
import sys
import zlib

import numpy
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

TARGET = pathlib.Path(__file__).parent.parent / "crates/slimnet-engine/tests/golden"
FILES: dict[str, dict[str, numpy.ndarray]] = {}
FAMILY = ""


def family(name):
    global FAMILY
    FAMILY = name
    FILES[name] = {}


# Inputs, drawn when the case is known.


def exact(x):
    """What float32 holds, in float64."""
    return x.float().double()


def n(*shape):
    return lambda g: exact(torch.randn(shape, generator=g, dtype=torch.float64))


def between(low, high, *shape):
    return lambda g: exact(low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64))


def positive(*shape):
    return between(0.3, 2.0, *shape)


def apart(*shape):
    """All values differ, by enough that no rounding changes their order."""
    count = math.prod(shape)
    return lambda g: exact((torch.randperm(count, generator=g) - 0.43 * count).double().reshape(shape) * (4 / count))


def ints(*values):
    return lambda g: torch.tensor(values, dtype=torch.int64)


def int64(values):
    return lambda g: torch.tensor(values, dtype=torch.int64)


def int32(values):
    return lambda g: torch.tensor(values, dtype=torch.int32)


def booleans(*shape):
    return lambda g: torch.rand(shape, generator=g) > 0.5


def number(value):
    return lambda g: exact(torch.tensor(value, dtype=torch.float64))


def stored(x):
    x = x.detach().contiguous()
    return x.float().numpy() if x.is_floating_point() else x.numpy()


def case(name, function, *specs, fixed=(), silent=(), loss=False):
    """`fixed`: float inputs whose gradient nobody asks for; `silent`: outputs from which no gradient comes; `loss`: the
    output itself is differentiated, not its product with what comes from above."""
    g = torch.Generator().manual_seed(zlib.crc32(f"{FAMILY}/{name}".encode()))
    inputs = [spec and spec(g) for spec in specs]
    wanted = [k for k, x in enumerate(inputs) if x is not None and x.is_floating_point() and k not in fixed]
    for k in wanted:
        inputs[k].requires_grad_()
    outputs = function(*inputs)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    file = FILES[FAMILY]
    assert not any(key.startswith(f"{name}:") for key in file), name
    scalar = 0
    for k, y in enumerate(outputs):
        file[f"{name}:o{k}"] = stored(y)
        if loss:
            scalar = outputs[0]
        elif y.is_floating_point() and k not in silent:
            upstream = exact(torch.randn(y.shape, generator=g, dtype=torch.float64))
            file[f"{name}:u{k}"] = stored(upstream)
            scalar = scalar + (y * upstream).sum()
    gradients = torch.autograd.grad(scalar, [inputs[k] for k in wanted]) if wanted else []
    for k, gradient in zip(wanted, gradients):
        file[f"{name}:g{k}"] = stored(gradient)
    for k, x in enumerate(inputs):
        if x is not None:
            file[f"{name}:i{k}"] = stored(x)


def pads(onnx):
    """ONNX's begins and ends as F.pad wants them."""
    rank = len(onnx) // 2
    return [value for axis in reversed(range(rank)) for value in (onnx[axis], onnx[rank + axis])]


def convolutions():
    family("convolution")

    def conv(padding=None, **options):
        def run(x, w, b=None):
            x = F.pad(x, pads(padding)) if padding else x
            return [F.conv1d, F.conv2d, F.conv3d][x.dim() - 3](x, w, b, **options)

        return run

    case("conv_1d", conv(), n(2, 3, 8), n(4, 3, 3), n(4))
    case("conv_1d_odd", conv([2, 1], stride=2, dilation=2, groups=2), n(2, 4, 9), n(6, 2, 3), n(6))
    case("conv_2d", conv([1, 1, 1, 1]), n(2, 3, 4, 3), n(3, 3, 3, 3), n(3))
    case("conv_2d_no_bias", conv(), n(1, 3, 4, 5), n(2, 3, 2, 3))
    case("conv_2d_asymmetric", conv([0, 2, 1, 1], stride=(2, 1)), n(2, 2, 5, 4), n(3, 2, 3, 2), n(3))
    case("conv_2d_dilated", conv([2, 1, 2, 1], dilation=(2, 3)), n(1, 2, 5, 6), n(2, 2, 3, 2), n(2))
    case("conv_2d_grouped", conv([1, 0, 0, 1], stride=2, groups=3), n(2, 6, 4, 5), n(6, 2, 2, 3), n(6))
    case("conv_2d_pointwise", conv(), n(2, 5, 2, 3), n(3, 5, 1, 1), n(3))
    case("conv_2d_pointwise_strided", conv(stride=(2, 3)), n(2, 3, 4, 5), n(4, 3, 1, 1), n(4))
    case("conv_2d_depthwise", conv([1, 1, 1, 1], groups=3), n(1, 3, 4, 5), n(3, 1, 3, 3), n(3))
    case("conv_2d_depthwise_odd", conv([0, 1, 2, 1], stride=(1, 2), dilation=(2, 1), groups=3),
         n(1, 3, 6, 5), n(3, 1, 3, 3), n(3))
    case("conv_2d_depthwise_multiplier", conv(groups=2), n(2, 2, 4, 4), n(6, 1, 3, 2), n(6))
    case("conv_3d", conv([1, 0, 1, 0, 1, 1]), n(1, 2, 3, 4, 3), n(3, 2, 2, 3, 2), n(3))
    case("conv_3d_odd", conv([1, 1, 0, 0, 1, 2], stride=(1, 2, 2), dilation=(1, 1, 2), groups=2),
         n(1, 2, 3, 4, 4), n(2, 1, 2, 2, 2), n(2))

    def transposed(crop=None, **options):
        def run(x, w, b=None):
            y = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][x.dim() - 3](x, w, b, **options)
            return F.pad(y, [-value for value in pads(crop)]) if crop else y

        return run

    case("transposed_1d", transposed(stride=2), n(2, 3, 4), n(3, 2, 3), n(2))
    case("transposed_2d", transposed(stride=2, padding=1, output_padding=1), n(1, 3, 3, 3), n(3, 2, 3, 3), n(2))
    case("transposed_2d_grouped", transposed(stride=(2, 3), padding=(0, 1), output_padding=(1, 2), groups=2,
                                             dilation=(1, 2)), n(2, 4, 2, 3), n(4, 2, 3, 2), n(4))
    case("transposed_2d_asymmetric", transposed([1, 0, 0, 2], stride=2), n(1, 2, 3, 3), n(2, 3, 3, 3))
    case("transposed_2d_depthwise", transposed(stride=2, groups=3), n(1, 3, 3, 2), n(3, 1, 2, 2), n(3))
    case("transposed_3d", transposed(stride=(1, 2, 1), padding=(0, 1, 0)), n(1, 2, 2, 2, 3), n(2, 2, 2, 3, 2), n(2))


def products():
    family("product")
    case("matmul", torch.matmul, n(3, 4), n(4, 5))
    case("matmul_batched", torch.matmul, n(2, 3, 4), n(2, 4, 2))
    case("matmul_broadcast_right", torch.matmul, n(2, 3, 3, 4), n(4, 2))
    case("matmul_broadcast_left", torch.matmul, n(3, 4), n(3, 4, 2))
    case("matmul_broadcast_both", torch.matmul, n(2, 1, 3, 4), n(3, 4, 2))
    case("matmul_vector_left", torch.matmul, n(4), n(3, 4, 2))
    case("matmul_vector_right", torch.matmul, n(2, 3, 4), n(4))
    case("matmul_dot", torch.matmul, n(5), n(5))
    gemm = lambda alpha, beta, ta, tb: lambda a, b, c=None: (
        alpha * (a.T if ta else a) @ (b.T if tb else b) + (0 if c is None else beta * c))
    case("gemm", gemm(1, 1, False, False), n(3, 4), n(4, 5), n(5))
    case("gemm_a_transposed", gemm(0.5, 2, True, False), n(4, 3), n(4, 5), n(3, 5))
    case("gemm_b_transposed", gemm(1, 0.25, False, True), n(3, 4), n(5, 4), n(3, 1))
    case("gemm_both_transposed", gemm(-1.5, -0.5, True, True), n(4, 3), n(5, 4), n(1, 5))
    case("gemm_scalar_addend", gemm(2, 3, False, True), n(2, 3), n(4, 3), n())
    case("gemm_no_addend", gemm(0.75, 1, False, True), n(2, 3), n(4, 3))
    for name, equation, *shapes in [
        ("batched", "bij,bjk->bik", (2, 3, 2), (2, 2, 4)),
        ("scores", "bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 2, 4)),
        ("transposed", "ij->ji", (2, 3)),
        ("diagonal", "ii->i", (3, 3)),
        ("trace", "bii->b", (2, 3, 3)),
        ("outer", "i,j->ij", (3,), (4,)),
        ("three", "bi,ij,bj->b", (2, 3), (3, 4), (2, 4)),
        ("ellipsis", "...ij,...jk->...ik", (2, 1, 2, 3), (2, 3, 2)),
        ("implicit", "ij,jk", (2, 3), (3, 4)),
        ("summed", "ijk->j", (2, 3, 2)),
        ("elementwise", "ij,ij->ij", (2, 3), (2, 3)),
        ("dot", "ij,ij->", (2, 3), (2, 3)),
    ]:
        case(f"einsum_{name}", lambda *x, e=equation: torch.einsum(e, *x), *[n(*shape) for shape in shapes])


def normalizations():
    family("normalization")

    def training(momentum, epsilon):
        def run(x, scale, bias, mean, variance):
            old, (mean, variance) = variance.detach(), (mean.detach().clone(), variance.detach().clone())
            y = F.batch_norm(x, mean, variance, scale, bias, True, 1 - momentum, epsilon)
            # PyTorch keeps the unbiased variance, ONNX the biased one.
            count = x.numel() // x.shape[1]
            batch = (variance - momentum * old) / (1 - momentum) * (count - 1) / count
            axes = [axis for axis in range(x.dim()) if axis != 1]
            return y, mean, momentum * old + (1 - momentum) * batch, x.mean(axes), 1 / (batch + epsilon).sqrt()

        return run

    statistics = dict(fixed=(3, 4), silent=(1, 2, 3, 4))
    channels = lambda c: (n(c), n(c), n(c), positive(c))
    case("batch_training", training(0.9, 1e-5), n(3, 4, 2, 3), *channels(4), **statistics)
    case("batch_training_odd", training(0.7, 0.01), n(2, 3, 5), *channels(3), **statistics)
    case("batch_training_flat", training(0.99, 1e-3), n(5, 3), *channels(3), **statistics)
    evaluation = lambda e: lambda x, s, b, m, v: F.batch_norm(x, m, v, s, b, False, 0, e)
    case("batch_evaluation", evaluation(1e-5), n(2, 4, 3, 2), *channels(4), fixed=(3, 4))
    case("batch_evaluation_flat", evaluation(0.05), n(4, 3), *channels(3), fixed=(3, 4))

    case("layer", lambda x, s, b: F.layer_norm(x, [5], s, b), n(2, 3, 5), n(5), n(5))
    case("layer_axes", lambda x, s, b: F.layer_norm(x, [3, 4], s, b, 1e-3), n(2, 3, 4), n(3, 4), n(3, 4))
    case("layer_no_bias", lambda x, s: F.layer_norm(x, [6], s), n(4, 6), n(6))
    case("group", lambda x, s, b: F.group_norm(x, 2, s, b), n(2, 6, 3), n(6), n(6))
    case("group_of_one", lambda x, s, b: F.group_norm(x, 1, s, b, 0.01), n(2, 3, 2, 2), n(3), n(3))
    case("group_each", lambda x, s, b: F.group_norm(x, 4, s, b), n(2, 4, 2, 3), n(4), n(4))
    case("instance", lambda x, s, b: F.instance_norm(x, weight=s, bias=b), n(2, 3, 4, 3), n(3), n(3))
    case("instance_1d", lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=0.02), n(2, 3, 6), n(3), n(3))
    case("rms", lambda x, s: F.rms_norm(x, [5], s, 1e-5), n(2, 3, 5), n(5))
    case("rms_axes", lambda x, s: F.rms_norm(x, [3, 4], s, 0.01), n(2, 3, 4), n(3, 4))
    case("lrn", lambda x: F.local_response_norm(x, 3, 0.3, 0.75, 2.0), n(2, 5, 2, 2))
    case("lrn_wide", lambda x: F.local_response_norm(x, 5, 0.5, 0.6, 1.0), n(2, 4, 3))

    def even(x):
        # PyTorch's window of even size leans back, ONNX's forward.
        square = F.pad(x**2, (0, 0, 1, 2)).unfold(1, 4, 1).sum(-1)
        return x / (1.5 + 0.4 / 4 * square) ** 0.5

    case("lrn_even", even, n(2, 5, 3))
    case("lp_1", lambda x: F.normalize(x, 1, 1), n(2, 4, 3))
    case("lp_2", lambda x: F.normalize(x, 2, -1), n(2, 3, 4))
    case("mean_variance", lambda x: (x - x.mean((0, 2, 3), True)) / x.std((0, 2, 3), correction=0, keepdim=True),
         n(2, 3, 2, 3))


def elementwise():
    family("elementwise")
    for name, function in [
        ("relu", F.relu), ("leaky_relu", F.leaky_relu), ("elu", F.elu), ("selu", F.selu), ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")), ("swish", F.silu), ("hard_swish", F.hardswish),
        ("hard_sigmoid_sixth", F.hardsigmoid), ("mish", F.mish), ("softplus", F.softplus), ("sigmoid", F.sigmoid),
        ("tanh", F.tanh), ("softsign", F.softsign), ("erf", torch.erf), ("exp", torch.exp), ("abs", torch.abs),
        ("sin", torch.sin), ("cos", torch.cos), ("neg", torch.neg), ("sinh", torch.sinh), ("cosh", torch.cosh),
        ("asinh", torch.asinh), ("atan", torch.atan), ("celu", F.celu),
    ]:
        case(name, function, n(3, 4))
    # Far out, where a careless formula overflows or cancels.
    for name, function in [
        ("mish", F.mish), ("softplus", lambda x: F.softplus(x, threshold=1000)), ("sigmoid", F.sigmoid),
        ("tanh", F.tanh), ("gelu", F.gelu), ("swish", F.silu), ("elu", F.elu), ("erf", torch.erf),
    ]:
        case(f"{name}_far", function, between(-60.0, 60.0, 12))
    case("leaky_relu_steep", lambda x: F.leaky_relu(x, 0.3), n(3, 4))
    case("elu_scaled", lambda x: F.elu(x, 1.7), n(3, 4))
    case("celu_scaled", lambda x: F.celu(x, 0.6), n(3, 4))
    case("swish_scaled", lambda x: x * torch.sigmoid(1.3 * x), n(3, 4))
    case("hard_sigmoid", lambda x: (0.3 * x + 0.4).clamp(0, 1), n(3, 4))
    case("thresholded_relu", lambda x: F.threshold(x, 0.4, 0.0), n(3, 4))
    case("shrink_soft", lambda x: F.softshrink(x, 0.4), n(3, 4))
    case("shrink_hard", lambda x: F.hardshrink(x, 0.6), n(3, 4))
    case("tan", torch.tan, between(-1.2, 1.2, 3, 5))
    case("asin", torch.asin, between(-0.9, 0.9, 3, 5))
    case("acos", torch.acos, between(-0.9, 0.9, 3, 5))
    case("atanh", torch.atanh, between(-0.9, 0.9, 3, 5))
    case("acosh", torch.acosh, between(1.2, 3.0, 3, 5))
    case("log", torch.log, positive(3, 5))
    case("sqrt", torch.sqrt, positive(3, 5))
    case("reciprocal", torch.reciprocal, positive(3, 5))
    case("prelu", lambda x, s: F.prelu(x, s.flatten()), n(2, 3, 4), n(3, 1))
    case("prelu_one", lambda x, s: F.prelu(x, s), n(2, 3, 4), n(1))
    case("clip", lambda x, low, high: x.clamp(-0.5, 0.75), n(4, 5), number(-0.5), number(0.75), fixed=(1, 2))
    case("clip_below", lambda x, low: x.clamp(min=-0.25), n(4, 5), number(-0.25), fixed=(1,))
    case("clip_above", lambda x, low, high: x.clamp(max=0.5), n(4, 5), None, number(0.5), fixed=(2,))
    for name, function, draw in [("add", torch.add, n), ("sub", torch.sub, n), ("mul", torch.mul, n),
                                 ("div", torch.div, positive), ("pow", torch.pow, positive)]:
        case(name, function, draw(3, 4), draw(3, 4))
        case(f"{name}_row", function, draw(2, 3, 4), draw(4))
        case(f"{name}_middle", function, draw(2, 1, 4), draw(3, 1))
        case(f"{name}_scalar", function, draw(), draw(2, 3))
    case("pow_square", torch.pow, n(3, 4), number(2.0), fixed=(1,))
    case("pow_cube", torch.pow, n(3, 4), number(3.0), fixed=(1,))
    case("pow_root", torch.pow, positive(3, 4), number(-0.5), fixed=(1,))
    three = lambda f: lambda a, b, c: f(f(a, b), c)
    case("max", torch.maximum, n(3, 4), n(3, 4))
    case("min", torch.minimum, n(3, 4), n(3, 4))
    case("max_three", three(torch.maximum), n(2, 3, 4), n(3, 1), n(4))
    case("min_three", three(torch.minimum), n(4), n(2, 1, 4), n(3, 4))
    case("sum_three", three(torch.add), n(2, 3, 4), n(3, 1), n(4))
    case("mean_three", lambda a, b, c: (a + b + c) / 3, n(2, 3, 4), n(3, 1), n(1))
    case("choose", torch.where, booleans(3, 4), n(3, 4), n(3, 4))
    case("choose_broadcast", torch.where, booleans(2, 1, 4), n(3, 1), n(4))


def pooling():
    family("pooling")

    def average(padding, include, **options):
        def run(x):
            pool = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][x.dim() - 3]
            y = pool(F.pad(x, pads(padding)), **options)
            return y if include else y / pool(F.pad(torch.ones_like(x), pads(padding)), **options)

        return run

    for include in (False, True):
        name = "average_included" if include else "average"
        case(name, average([1, 1, 1, 1], include, kernel_size=3, stride=2), n(1, 2, 5, 5))
        case(f"{name}_odd", average([0, 1, 1, 0], include, kernel_size=(2, 3), stride=(1, 2)), n(2, 2, 4, 5))
        case(f"{name}_1d", average([1, 0], include, kernel_size=3, stride=1), n(2, 2, 6))
        case(f"{name}_3d", average([0, 1, 0, 1, 0, 1], include, kernel_size=2, stride=2), n(1, 1, 3, 3, 3))
    case("average_ceil", lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False), n(1, 2, 5, 3))
    case("average_adaptive", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), n(2, 2, 4, 6))
    case("average_global", lambda x: F.adaptive_avg_pool2d(x, 1), n(2, 3, 3, 4))
    case("average_global_1d", lambda x: x.mean(2, True), n(2, 3, 5))

    def largest(padding=None, **options):
        def run(x):
            x = F.pad(x, pads(padding), value=-math.inf) if padding else x
            return [F.max_pool1d, F.max_pool2d, F.max_pool3d][x.dim() - 3](x, **options)

        return run

    case("max", largest(kernel_size=2, stride=2), apart(2, 2, 4, 4))
    case("max_overlapping", largest([1, 1, 1, 1], kernel_size=3, stride=1), apart(1, 2, 4, 5))
    case("max_odd", largest([0, 1, 2, 0], kernel_size=(3, 2), stride=(2, 1), dilation=(1, 2)), apart(2, 2, 5, 5))
    case("max_ceil", largest(kernel_size=2, stride=2, ceil_mode=True), apart(1, 2, 5, 3))
    case("max_1d", largest([1, 0], kernel_size=3, stride=2), apart(2, 2, 7))
    case("max_3d", largest(kernel_size=(1, 2, 2), stride=(1, 1, 2)), apart(1, 2, 2, 3, 4))
    case("max_global", lambda x: F.adaptive_max_pool2d(x, 1), apart(2, 3, 3, 4))
    case("max_adaptive", lambda x: F.adaptive_max_pool2d(x, (3, 2)), apart(1, 2, 6, 4))
    case("lp", lambda x: F.lp_pool2d(x, 2, 3, 2), n(1, 2, 5, 5))
    case("lp_3", lambda x: F.lp_pool2d(x, 3, (2, 3), (1, 2)), positive(1, 2, 4, 5))
    case("lp_padded", lambda x: F.lp_pool2d(F.pad(x, pads([1, 0, 0, 1])), 2, 2, 1), n(1, 2, 3, 3))
    case("lp_1d", lambda x: F.lp_pool1d(x, 1, 2, 2), positive(2, 2, 6))
    case("lp_global", lambda x: torch.linalg.vector_norm(x, 2, (2, 3), True), n(2, 3, 3, 2))


def reductions():
    family("reduction")
    functions = {
        "l1": lambda x, a, k: x.abs().sum(a, k), "l2": lambda x, a, k: torch.linalg.vector_norm(x, 2, a, k),
        "log_sum": lambda x, a, k: x.sum(a, k).log(), "log_sum_exp": torch.logsumexp, "max": torch.amax,
        "min": torch.amin, "mean": torch.mean, "sum": torch.sum, "sum_square": lambda x, a, k: (x * x).sum(a, k),
    }
    for name, function in functions.items():
        draw = positive if name == "log_sum" else apart if name in ("max", "min") else n
        case(f"{name}_middle", lambda x, a: function(x, 1, False), draw(2, 3, 4), ints(1))
        case(f"{name}_ends_kept", lambda x, a: function(x, (0, 2), True), draw(2, 3, 4), ints(-1, 0))
        case(f"{name}_all", lambda x: function(x, (0, 1), False), draw(3, 4))
    case("prod_middle", lambda x, a: x.prod(1), n(2, 3, 4), ints(1))
    case("prod_last_kept", lambda x, a: x.prod(-1, True), n(2, 3, 4), ints(-1))
    case("prod_all", lambda x: x.prod(), n(2, 4))
    # One factor that is 0 leaves a gradient; two leave none.
    zeros = lambda *at: lambda g: n(2, 4)(g).index_put(
        (torch.tensor([a for a, _ in at]), torch.tensor([b for _, b in at])), torch.tensor(0.0).double())
    case("prod_zeros", lambda x, a: x.prod(1), zeros((0, 2), (1, 0), (1, 3)), ints(1))
    case("log_sum_exp_far", lambda x, a: torch.logsumexp(x, 1), between(-90.0, 110.0, 3, 4), ints(1))
    for name, function in [("softmax", F.softmax), ("log_softmax", F.log_softmax)]:
        for axis, suffix in [(0, "first"), (1, "middle"), (-1, "last")]:
            case(f"{name}_{suffix}", lambda x: function(x, axis), n(2, 3, 4))
        case(f"{name}_far", lambda x: function(x, 1), between(-80.0, 90.0, 2, 5))


def indices():
    family("index")
    for axis in (0, 1, -1):
        suffix = {0: "first", 1: "middle", -1: "last"}[axis]
        case(f"gather_{suffix}", lambda x, i: x.index_select(axis, (i % x.shape[axis]).flatten()).reshape(
            [*x.shape[:axis % 3], *i.shape, *x.shape[axis % 3 + 1:]]), n(3, 3, 4), int64([[0, 2], [-1, 0]]))
    case("gather_scalar", lambda x, i: x[:, 1], n(2, 3, 2), int64(1))
    case("embedding", lambda w, i: F.embedding(i, w), n(6, 3), int64([[5, 0, 5, 2], [1, 5, 2, 2]]))
    case("gather_elements", lambda x, i: x.gather(1, i % 4), n(2, 4), int64([[3, 0, 0], [-1, 2, -3]]))
    case("gather_elements_first", lambda x, i: x.gather(0, i), n(3, 2, 2),
         int64([[[2, 0], [1, 1]], [[2, 2], [0, 1]]]))
    case("gather_nd", lambda x, i: x[i[:, 0], i[:, 1]], n(3, 4, 2), int64([[0, 1], [2, 3], [0, 1]]))
    case("gather_nd_slices", lambda x, i: x[i[..., 0]], n(3, 2, 2), int64([[[2], [0]], [[2], [1]]]))
    case("gather_nd_negative", lambda x, i: x[i[:, 0], i[:, 1]], n(3, 4), int64([[-1, 1], [0, -2]]))
    case("gather_nd_batched", lambda x, i: torch.stack([x[k][i[k, :, 0]] for k in range(2)]), n(2, 3, 2),
         int64([[[1], [0]], [[2], [2]]]))
    case("scatter", lambda x, i, u: x.scatter(1, i, u), n(2, 4), int64([[3, 0], [1, 2]]), n(2, 2))
    case("scatter_negative", lambda x, i, u: x.scatter(0, i % 3, u), n(3, 3), int64([[-1, 0, 1]]), n(1, 3))
    case("scatter_add", lambda x, i, u: x.scatter_add(1, i, u), n(2, 4), int64([[3, 0, 3], [1, 1, 1]]), n(2, 3))
    case("scatter_add_first", lambda x, i, u: x.scatter_add(0, i, u), n(3, 2, 2),
         int64([[[2, 0], [1, 1]], [[2, 2], [0, 1]]]), n(2, 2, 2))
    case("scatter_nd", lambda x, i, u: x.index_put((i[:, 0], i[:, 1]), u), n(3, 3, 2),
         int64([[0, 1], [2, 2]]), n(2, 2))
    case("scatter_nd_add", lambda x, i, u: x.index_put((i[:, 0],), u, accumulate=True), n(4, 2),
         int64([[1], [3], [1]]), n(3, 2))
    case("compress", lambda x, c: x[:, c], n(2, 4, 2), lambda g: torch.tensor([True, False, True, True]))
    case("top_k", lambda x, k: x.topk(2, -1), apart(3, 5), ints(2))
    case("top_k_first", lambda x, k: x.topk(3, 0), apart(4, 3), ints(3))
    case("top_k_smallest", lambda x, k: x.topk(2, 1, largest=False), apart(2, 4, 2), ints(2))
    case("cum_sum", lambda x, a: x.cumsum(1), n(2, 4, 3), int64(1))
    case("cum_sum_reverse", lambda x, a: x.flip(-1).cumsum(-1).flip(-1), n(2, 5), int64(-1))
    case("cum_sum_exclusive", lambda x, a: x.cumsum(0) - x, n(4, 2), int64(0))
    case("cum_sum_both", lambda x, a: x.flip(1).cumsum(1).flip(1) - x, n(2, 4), int64(1))


def layouts():
    family("layout")
    case("concat", lambda a, b: torch.cat([a, b], 1), n(2, 3, 2), n(2, 1, 2))
    case("concat_last", lambda a, b, c: torch.cat([a, b, c], -1), n(2, 1), n(2, 3), n(2, 2))
    case("split", lambda x, s: x.split([1, 3], 1), n(2, 4, 2), ints(1, 3))
    case("split_equal", lambda x: x.chunk(3, 0), n(6, 2))
    case("split_silent", lambda x, s: x.split([2, 1, 2], -1), n(2, 5), ints(2, 1, 2), silent=(1,))
    case("slice", lambda x, *_: x[1:3, :, 1:4:2], n(4, 2, 5), ints(1, 1), ints(3, 9), ints(0, 2), ints(1, 2))
    case("slice_backward", lambda x, *_: x[:, [3, 1]], n(2, 4), ints(-1), ints(-5), ints(1), ints(-2))
    case("pad", lambda x, *_: F.pad(x, pads([0, 1, 2, 0, 0, 1])), n(2, 2, 3), ints(0, 1, 2, 0, 0, 1))
    case("pad_value", lambda x, p, v: F.pad(x, pads([1, 0, 0, 2])) + v * F.pad(torch.zeros_like(x), pads([1, 0, 0, 2]),
                                                                              value=1.0),
         n(2, 3), ints(1, 0, 0, 2), n())
    case("pad_constant", lambda x, *_: F.pad(x, pads([0, 1, 2, 0]), value=0.5), n(2, 3), ints(0, 1, 2, 0), number(0.5),
         fixed=(2,))
    case("pad_negative", lambda x, *_: F.pad(x, pads([-1, 1, 0, -1])), n(3, 3), ints(-1, 1, 0, -1))
    case("pad_axes", lambda x, *_: F.pad(x, (1, 2)), n(2, 3), ints(1, 2), None, ints(-1))
    case("pad_reflect", lambda x, *_: F.pad(x, pads([2, 1, 1, 0]), "reflect"), n(2, 3, 3),
         ints(0, 2, 1, 0, 1, 0))
    case("pad_edge", lambda x, *_: F.pad(x, pads([2, 1, 0, 3]), "replicate"), n(2, 2, 3), ints(0, 2, 1, 0, 0, 3))
    case("pad_wrap", lambda x, *_: F.pad(x, (2, 1), "circular"), n(1, 2, 4), ints(0, 0, 2, 0, 0, 1))
    case("tile", lambda x, r: x.tile(2, 1, 3), n(2, 3, 2), ints(2, 1, 3))
    case("expand", lambda x, s: x.expand(2, 3, 4), n(3, 1), ints(2, 3, 4))
    case("expand_less", lambda x, s: x.expand(2, 3, 4), n(2, 1, 4), ints(3, 1))
    case("transpose", lambda x: x.permute(2, 0, 1), n(2, 3, 4))
    case("transpose_reversed", lambda x: x.permute(2, 1, 0), n(2, 3, 4))
    case("reshape", lambda x, s: x.reshape(2, 12), n(2, 3, 4), ints(0, -1))
    case("flatten", lambda x: x.flatten(2).flatten(0, 1), n(2, 3, 2, 2))
    case("squeeze", lambda x, a: x.squeeze(1), n(2, 1, 3), ints(1))
    case("unsqueeze", lambda x, a: x[None, :, None], n(2, 3), ints(0, 2))
    case("depth_to_space_pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), n(1, 8, 2, 3))
    case("depth_to_space", lambda x: x.reshape(1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6),
         n(1, 8, 2, 3))
    case("space_to_depth", lambda x: x.reshape(1, 2, 2, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3),
         n(1, 2, 4, 6))
    case("triangle_upper", lambda x, k: x.triu(1), n(2, 3, 4), int64(1))
    case("triangle_lower", lambda x: x.tril(), n(4, 3))
    case("reverse_sequence", lambda x, i: torch.stack([torch.cat([x[:k, b].flip(0), x[k:, b]])
                                                       for b, k in enumerate([2, 4, 1])], 1), n(4, 3, 2), ints(2, 4, 1))


def reordered(weights, order, hidden):
    """Rows of gates in another order."""
    return torch.cat([weights[gate * hidden:(gate + 1) * hidden] for gate in order])


def recurrent():
    family("recurrent")

    def torch_layer(kind, order, hidden, reverse=False, batch_first=False, **options):
        """PyTorch's layer on weights as ONNX has them."""
        gates = len(order)

        def run(x, w, r, b=None, lengths=None, h=None, c=None):
            directions = w.shape[0]
            layer = kind(x.shape[-1], hidden, bias=b is not None, bidirectional=directions == 2,
                         dtype=torch.float64, **options)
            values = {}
            for d in range(directions):
                suffix = "_l0" + ("_reverse" if d else "")
                values[f"weight_ih{suffix}"] = reordered(w[d], order, hidden)
                values[f"weight_hh{suffix}"] = reordered(r[d], order, hidden)
                if b is not None:
                    values[f"bias_ih{suffix}"] = reordered(b[d, :gates * hidden], order, hidden)
                    values[f"bias_hh{suffix}"] = reordered(b[d, gates * hidden:], order, hidden)
            if batch_first:
                x, h, c = (value if value is None else value.transpose(0, 1) for value in (x, h, c))
            steps, batch = x.shape[:2]
            x = x.flip(0) if reverse else x
            start = torch.zeros(directions, batch, hidden, dtype=torch.float64)
            h = start if h is None else h
            state = (h, start if c is None else c) if kind is torch.nn.LSTM else h
            if lengths is not None:
                assert not reverse
                x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths.long(), enforce_sorted=False)
            y, state = torch.func.functional_call(layer, values, (x, state))
            if lengths is not None:
                y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=steps)
            y = y.flip(0) if reverse else y
            y = y.reshape(steps, batch, directions, hidden).transpose(1, 2)
            state = list(state) if kind is torch.nn.LSTM else [state]
            if batch_first:
                y, state = y.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in state]
            return [y, *state]

        return run

    def weights(gates, directions, inputs, hidden):
        small = lambda *shape: lambda g: exact(0.5 * n(*shape)(g))
        return [small(directions, gates * hidden, inputs), small(directions, gates * hidden, hidden),
                small(directions, 2 * gates * hidden)]

    kinds = [("lstm", torch.nn.LSTM, [0, 2, 3, 1], 2), ("gru", torch.nn.GRU, [1, 0, 2], 1),
             ("rnn", torch.nn.RNN, [0], 1)]
    for name, kind, order, states in kinds:
        gates = len(order)
        make = lambda hidden, **options: torch_layer(kind, order, hidden, **options)
        start = lambda *shape: [n(*shape) for _ in range(states)]
        case(name, make(3), n(3, 2, 2), *weights(gates, 1, 2, 3))
        case(f"{name}_no_bias", make(2), n(3, 2, 3), *weights(gates, 1, 3, 2)[:2], None, None, *start(1, 2, 2))
        case(f"{name}_reverse", make(2, reverse=True), n(3, 2, 2), *weights(gates, 1, 2, 2), None, *start(1, 2, 2))
        case(f"{name}_bidirectional", make(2), n(3, 2, 3), *weights(gates, 2, 3, 2), None, *start(2, 2, 2))
        case(f"{name}_lengths", make(2), n(4, 3, 2), *weights(gates, 2, 2, 2), int32([2, 4, 1]), *start(2, 3, 2))
        case(f"{name}_batch_first", make(2, batch_first=True), n(2, 3, 2), *weights(gates, 2, 2, 2), None,
             *start(2, 2, 2))
        case(f"{name}_last_only", make(3), n(3, 2, 2), *weights(gates, 1, 2, 3), silent=(0,) + (2,) * (states - 1))
    case("rnn_relu", torch_layer(torch.nn.RNN, [0], 3, nonlinearity="relu"), n(3, 2, 2), *weights(1, 1, 2, 3), None,
         n(1, 2, 3))

    def reset_first(x, w, r, b, lengths, h):
        """ONNX's default GRU, which PyTorch does not have: the reset gate acts before the recurrent product."""
        hidden, ys, h = 3, [], h[0]
        wz, wr, wh = w[0].split(hidden)
        rz, rr, rh = r[0].split(hidden)
        bz, br, bh, cz, cr, ch = b[0].split(hidden)
        for step in x:
            z = torch.sigmoid(step @ wz.T + h @ rz.T + bz + cz)
            reset = torch.sigmoid(step @ wr.T + h @ rr.T + br + cr)
            new = torch.tanh(step @ wh.T + (reset * h) @ rh.T + bh + ch)
            h = (1 - z) * new + z * h
            ys.append(h)
        return torch.stack(ys)[:, None], h[None]

    case("gru_reset_first", reset_first, n(3, 2, 2), *weights(3, 1, 2, 3), None, n(1, 2, 3))


def resizing():
    family("resize")
    floats = lambda *values: lambda g: torch.tensor(values, dtype=torch.float64)
    sizes = lambda h, w: (None, None, ints(1, 2, h, w))
    to = lambda h, w, mode, **options: lambda x, *_: F.interpolate(x, (h, w), mode=mode, **options)
    case("linear_up", lambda x, *_: F.interpolate(x, scale_factor=2, mode="bilinear"), n(1, 2, 3, 4),
         None, floats(1, 1, 2, 2), fixed=(2,))
    case("linear_odd", to(5, 7, "bilinear"), n(1, 2, 3, 4), *sizes(5, 7))
    case("linear_down", to(2, 3, "bilinear"), n(1, 2, 5, 4), *sizes(2, 3))
    case("linear_corners", to(5, 7, "bilinear", align_corners=True), n(1, 2, 3, 4), *sizes(5, 7))
    case("linear_corners_down", to(2, 3, "bilinear", align_corners=True), n(1, 2, 5, 4), *sizes(2, 3))
    case("linear_1d", lambda x, *_: F.interpolate(x, 7, mode="linear"), n(2, 2, 4), None, None, ints(2, 2, 7))
    case("linear_3d", lambda x, *_: F.interpolate(x, (3, 4, 2), mode="trilinear"), n(1, 1, 2, 3, 3), None, None,
         ints(1, 1, 3, 4, 2))
    case("nearest_up", lambda x, *_: F.interpolate(x, scale_factor=(2, 3), mode="nearest"), n(1, 2, 2, 3),
         None, floats(1, 1, 2, 3), fixed=(2,))
    case("nearest_odd", to(5, 3, "nearest"), n(1, 2, 3, 5), *sizes(5, 3))
    case("nearest_half_pixel", to(5, 2, "nearest-exact"), n(1, 2, 3, 5), *sizes(5, 2))
    case("cubic", to(5, 7, "bicubic"), n(1, 2, 4, 5), *sizes(5, 7))
    case("cubic_corners", to(6, 5, "bicubic", align_corners=True), n(1, 2, 4, 4), *sizes(6, 5))


def training():
    """Several nodes or steps; what the slots are is said in the test."""
    family("training")
    labels = int64([2, 0, 3, 2, 1])
    for name, smoothing in [("cross_entropy", 0.0), ("cross_entropy_smoothed", 0.15)]:
        case(name, lambda x, y, w, b: F.cross_entropy(x @ w + b, y, label_smoothing=smoothing),
             n(5, 3), labels, n(3, 4), n(4), fixed=(0,), loss=True)
    case("cross_entropy_dense", lambda x, y, w, b: F.cross_entropy(F.conv1d(x, w, b), y, label_smoothing=0.1),
         n(2, 2, 3), int64([[2, 0, 1], [0, 0, 2]]), n(3, 2, 1), n(3), fixed=(0,),
         loss=True)

    def distilled(temperature, alpha, smoothing):
        def run(x, y, w, b, *teachers):
            student = x @ w + b
            targets = [F.softmax(x @ v / temperature, 1) for v in teachers]
            targets = (sum(targets) / len(targets)).detach()
            imitation = F.cross_entropy(student / temperature, targets) * temperature**2
            return (1 - alpha) * F.cross_entropy(student, y, label_smoothing=smoothing) + alpha * imitation

        return run

    case("distillation", distilled(4, 0.7, 0.0), n(5, 3), labels, n(3, 4), n(4), n(3, 4), fixed=(0, 4),
         loss=True)
    case("distillation_two_teachers", distilled(2.5, 0.4, 0.1), n(5, 3), labels, n(3, 4), n(4), n(3, 4), n(3, 4),
         fixed=(0, 4, 5), loss=True)
    case("mean_squared_error", lambda x, t, w, b: F.mse_loss(x @ w + b, t), n(5, 3), n(5, 4), n(3, 4), n(4),
         fixed=(0, 1), loss=True)
    case("binary_cross_entropy", lambda x, t, w, b: F.binary_cross_entropy_with_logits(x @ w + b, t),
         n(5, 3), between(0.0, 1.0, 5, 4), n(3, 4), n(4), fixed=(0, 1), loss=True)

    def attention(x, wq, wk, wv, wo, mask=None):
        batch, length, width = x.shape
        heads = [(x @ w).reshape(batch, length, 2, width // 2).transpose(1, 2) for w in (wq, wk, wv)]
        y = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        return y.transpose(1, 2).reshape(batch, length, width) @ wo

    case("attention", attention, n(2, 3, 4), *[n(4, 4)] * 4)
    case("attention_masked", attention, n(2, 3, 4), *[n(4, 4)] * 4,
         lambda g: torch.full((3, 3), -1e4, dtype=torch.float64).triu(1), fixed=(5,))

    def network(x, y, w, scale, bias, mean, variance, v, c):
        old, (mean, variance) = variance.detach(), (mean.detach().clone(), variance.detach().clone())
        z = F.conv2d(F.pad(x, pads([1, 0, 1, 1])), w, stride=(1, 2))
        z = F.relu(F.batch_norm(z, mean, variance, scale, bias, True, 0.2, 1e-5))
        count = z.numel() // z.shape[1]
        biased = (variance - 0.8 * old) * (count - 1) / count + 0.8 * old
        z = F.max_pool2d(z, 2).mean((2, 3))
        return F.cross_entropy(z @ v + c, y), mean, biased

    case("convolutional_network", network, n(4, 2, 4, 5), int64([2, 0, 1, 2]), n(3, 2, 3, 3), positive(3), n(3), n(3),
         positive(3), n(3, 3), n(3), fixed=(0, 5, 6), loss=True)

    def optimized(make):
        def run(start, *gradients):
            parameter = torch.nn.Parameter(start.detach().clone())
            optimizer, seen = make([parameter]), []
            for gradient in gradients:
                parameter.grad = gradient.clone()
                optimizer.step()
                seen.append(parameter.detach().clone())
            return seen

        return run

    optim = torch.optim
    for name, make in [
        ("sgd", lambda p: optim.SGD(p, 0.1)),
        ("sgd_decay", lambda p: optim.SGD(p, 0.1, weight_decay=0.02)),
        ("sgd_momentum", lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.02)),
        ("sgd_nesterov", lambda p: optim.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.03)),
        ("adamw", lambda p: optim.AdamW(p, 0.01, weight_decay=0.0)),
        ("adamw_decay", lambda p: optim.AdamW(p, 0.03, (0.8, 0.99), 1e-6, weight_decay=0.1)),
    ]:
        case(name, optimized(make), *[n(12)] * 6, fixed=range(6), silent=range(5))


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for part in (convolutions, products, normalizations, elementwise, pooling, reductions, indices, layouts, recurrent,
                 resizing, training):
        part()
    TARGET.mkdir(exist_ok=True)
    total = 0
    for name, tensors in FILES.items():
        path = TARGET / f"{name}.safetensors"
        save_file(dict(sorted(tensors.items())), path)
        total += path.stat().st_size
        print(f"{name}: {len({key.split(':')[0] for key in tensors})} cases, {path.stat().st_size} bytes")
    print(f"{total} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
