//! Operators that compute.

use super::check;

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
