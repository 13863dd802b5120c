//! The operators of the cases. Inputs, slots and shapes are in the files.

use slimnet_graph::ops::attribute::{AttributeValue, Attributes};

use super::Case;

/// The cases of a family.
type List = fn() -> Vec<Case>;

/// Families and their cases.
pub const FAMILIES: &[(&str, List)] = &[
    ("convolution", convolution),
    ("product", product),
    ("normalization", normalization),
    ("elementwise", elementwise),
    ("pooling", pooling),
    ("reduction", reduction),
    ("index", index),
    ("layout", layout),
    ("recurrent", recurrent),
    ("resize", resize),
];

/// Values of attributes as they are written below.
trait Written {
    type Attribute: AttributeValue;
    fn value(self) -> Self::Attribute;
}

impl Written for i64 {
    type Attribute = Self;
    fn value(self) -> Self {
        self
    }
}

impl Written for f32 {
    type Attribute = Self;
    fn value(self) -> Self {
        self
    }
}

impl Written for &str {
    type Attribute = String;
    fn value(self) -> String {
        self.to_owned()
    }
}

impl<const N: usize> Written for [i64; N] {
    type Attribute = Vec<i64>;
    fn value(self) -> Vec<i64> {
        self.to_vec()
    }
}

impl<const N: usize> Written for [&str; N] {
    type Attribute = Vec<String>;
    fn value(self) -> Vec<String> {
        self.map(str::to_owned).to_vec()
    }
}

/// `name: Operator attribute = value, … => [slots of constants];`
macro_rules! cases {
    ($($name:ident: $op:ident $($field:ident = $value:expr),* $(=> $constant:expr)?;)*) => {
        vec![$({
            #[allow(unused_mut)]
            let mut attributes = Attributes::default();
            $(attributes.put(stringify!($field), &Written::value($value));)*
            #[allow(unused_mut, unused_assignments)]
            let mut constant: &'static [usize] = &[];
            $(constant = &$constant;)?
            Case::new(stringify!($name), stringify!($op), attributes, constant)
        }),*]
    };
}

fn convolution() -> Vec<Case> {
    cases! {
        conv_1d: Conv;
        conv_1d_odd: Conv pads = [2, 1], strides = [2], dilations = [2], group = 2;
        conv_2d: Conv pads = [1, 1, 1, 1], kernel_shape = [3, 3];
        conv_2d_no_bias: Conv;
        conv_2d_asymmetric: Conv pads = [0, 2, 1, 1], strides = [2, 1];
        conv_2d_dilated: Conv pads = [2, 1, 2, 1], dilations = [2, 3];
        conv_2d_grouped: Conv pads = [1, 0, 0, 1], strides = [2, 2], group = 3;
        conv_2d_pointwise: Conv;
        conv_2d_pointwise_strided: Conv strides = [2, 3];
        conv_2d_depthwise: Conv pads = [1, 1, 1, 1], group = 3;
        conv_2d_depthwise_odd: Conv pads = [0, 1, 2, 1], strides = [1, 2], dilations = [2, 1], group = 3;
        conv_2d_depthwise_multiplier: Conv group = 2;
        conv_3d: Conv pads = [1, 0, 1, 0, 1, 1];
        conv_3d_odd: Conv pads = [1, 1, 0, 0, 1, 2], strides = [1, 2, 2], dilations = [1, 1, 2], group = 2;
        transposed_1d: ConvTranspose strides = [2];
        transposed_2d: ConvTranspose strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1];
        transposed_2d_grouped: ConvTranspose strides = [2, 3], dilations = [1, 2], pads = [0, 1, 0, 1],
            output_padding = [1, 2], group = 2;
        transposed_2d_asymmetric: ConvTranspose strides = [2, 2], pads = [1, 0, 0, 2];
        transposed_2d_depthwise: ConvTranspose strides = [2, 2], group = 3;
        transposed_3d: ConvTranspose strides = [1, 2, 1], pads = [0, 1, 0, 0, 1, 0];
    }
}

fn product() -> Vec<Case> {
    cases! {
        matmul: MatMul;
        matmul_batched: MatMul;
        matmul_broadcast_right: MatMul;
        matmul_broadcast_left: MatMul;
        matmul_broadcast_both: MatMul;
        matmul_vector_left: MatMul;
        matmul_vector_right: MatMul;
        matmul_dot: MatMul;
        gemm: Gemm;
        gemm_a_transposed: Gemm alpha = 0.5, beta = 2.0, transA = 1;
        gemm_b_transposed: Gemm beta = 0.25, transB = 1;
        gemm_both_transposed: Gemm alpha = -1.5, beta = -0.5, transA = 1, transB = 1;
        gemm_scalar_addend: Gemm alpha = 2.0, beta = 3.0, transB = 1;
        gemm_no_addend: Gemm alpha = 0.75, transB = 1;
        einsum_batched: Einsum equation = "bij,bjk->bik";
        einsum_scores: Einsum equation = "bhqd,bhkd->bhqk";
        einsum_transposed: Einsum equation = "ij->ji";
        einsum_diagonal: Einsum equation = "ii->i";
        einsum_trace: Einsum equation = "bii->b";
        einsum_outer: Einsum equation = "i,j->ij";
        einsum_three: Einsum equation = "bi,ij,bj->b";
        einsum_ellipsis: Einsum equation = "...ij,...jk->...ik";
        einsum_implicit: Einsum equation = "ij,jk";
        einsum_summed: Einsum equation = "ijk->j";
        einsum_elementwise: Einsum equation = "ij,ij->ij";
        einsum_dot: Einsum equation = "ij,ij->";
    }
}

fn normalization() -> Vec<Case> {
    cases! {
        batch_training: BatchNormalization training_mode = 1;
        batch_training_odd: BatchNormalization training_mode = 1, momentum = 0.7, epsilon = 0.01;
        batch_training_flat: BatchNormalization training_mode = 1, momentum = 0.99, epsilon = 1e-3;
        batch_evaluation: BatchNormalization;
        batch_evaluation_flat: BatchNormalization epsilon = 0.05;
        layer: LayerNormalization;
        layer_axes: LayerNormalization axis = 1, epsilon = 1e-3;
        layer_no_bias: LayerNormalization;
        group: GroupNormalization num_groups = 2;
        group_of_one: GroupNormalization num_groups = 1, epsilon = 0.01;
        group_each: GroupNormalization num_groups = 4;
        instance: InstanceNormalization;
        instance_1d: InstanceNormalization epsilon = 0.02;
        rms: RMSNormalization;
        rms_axes: RMSNormalization axis = -2, epsilon = 0.01;
        lrn: LRN size = 3, alpha = 0.3, beta = 0.75, bias = 2.0;
        lrn_wide: LRN size = 5, alpha = 0.5, beta = 0.6;
        lrn_even: LRN size = 4, alpha = 0.4, beta = 0.5, bias = 1.5;
        lp_1: LpNormalization p = 1, axis = 1;
        lp_2: LpNormalization;
        mean_variance: MeanVarianceNormalization;
    }
}

fn elementwise() -> Vec<Case> {
    cases! {
        relu: Relu;
        leaky_relu: LeakyRelu;
        leaky_relu_steep: LeakyRelu alpha = 0.3;
        elu: Elu;
        elu_far: Elu;
        elu_scaled: Elu alpha = 1.7;
        selu: Selu;
        celu: Celu;
        celu_scaled: Celu alpha = 0.6;
        gelu: Gelu;
        gelu_far: Gelu;
        gelu_tanh: Gelu approximate = "tanh";
        swish: Swish;
        swish_far: Swish;
        swish_scaled: Swish alpha = 1.3;
        hard_swish: HardSwish;
        hard_sigmoid: HardSigmoid alpha = 0.3, beta = 0.4;
        hard_sigmoid_sixth: HardSigmoid alpha = 1.0 / 6.0;
        mish: Mish;
        mish_far: Mish;
        softplus: Softplus;
        softplus_far: Softplus;
        sigmoid: Sigmoid;
        sigmoid_far: Sigmoid;
        tanh: Tanh;
        tanh_far: Tanh;
        softsign: Softsign;
        erf: Erf;
        erf_far: Erf;
        exp: Exp;
        log: Log;
        sqrt: Sqrt;
        reciprocal: Reciprocal;
        abs: Abs;
        neg: Neg;
        sin: Sin;
        cos: Cos;
        tan: Tan;
        asin: Asin;
        acos: Acos;
        atan: Atan;
        sinh: Sinh;
        cosh: Cosh;
        asinh: Asinh;
        acosh: Acosh;
        atanh: Atanh;
        thresholded_relu: ThresholdedRelu alpha = 0.4;
        shrink_soft: Shrink lambd = 0.4, bias = 0.4;
        shrink_hard: Shrink lambd = 0.6;
        prelu: PRelu;
        prelu_one: PRelu;
        clip: Clip => [1, 2];
        clip_below: Clip => [1];
        clip_above: Clip => [2];
        add: Add;
        add_row: Add;
        add_middle: Add;
        add_scalar: Add;
        sub: Sub;
        sub_row: Sub;
        sub_middle: Sub;
        sub_scalar: Sub;
        mul: Mul;
        mul_row: Mul;
        mul_middle: Mul;
        mul_scalar: Mul;
        div: Div;
        div_row: Div;
        div_middle: Div;
        div_scalar: Div;
        pow: Pow;
        pow_row: Pow;
        pow_middle: Pow;
        pow_scalar: Pow;
        pow_square: Pow => [1];
        pow_cube: Pow => [1];
        pow_root: Pow => [1];
        max: Max;
        max_three: Max;
        min: Min;
        min_three: Min;
        sum_three: Sum;
        mean_three: Mean;
        choose: Where;
        choose_broadcast: Where;
    }
}

fn pooling() -> Vec<Case> {
    cases! {
        average: AveragePool kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1];
        average_odd: AveragePool kernel_shape = [2, 3], strides = [1, 2], pads = [0, 1, 1, 0];
        average_1d: AveragePool kernel_shape = [3], pads = [1, 0];
        average_3d: AveragePool kernel_shape = [2, 2, 2], strides = [2, 2, 2], pads = [0, 1, 0, 1, 0, 1];
        average_included: AveragePool kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1],
            count_include_pad = 1;
        average_included_odd: AveragePool kernel_shape = [2, 3], strides = [1, 2], pads = [0, 1, 1, 0],
            count_include_pad = 1;
        average_included_1d: AveragePool kernel_shape = [3], pads = [1, 0],
            count_include_pad = 1;
        average_included_3d: AveragePool kernel_shape = [2, 2, 2], strides = [2, 2, 2], pads = [0, 1, 0, 1, 0, 1],
            count_include_pad = 1;
        average_ceil: AveragePool kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1;
        average_adaptive: AveragePool kernel_shape = [2, 2], strides = [2, 2];
        average_global: GlobalAveragePool;
        average_global_1d: GlobalAveragePool;
        max: MaxPool kernel_shape = [2, 2], strides = [2, 2];
        max_overlapping: MaxPool kernel_shape = [3, 3], pads = [1, 1, 1, 1];
        max_odd: MaxPool kernel_shape = [3, 2], strides = [2, 1], dilations = [1, 2], pads = [0, 1, 2, 0];
        max_ceil: MaxPool kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1;
        max_1d: MaxPool kernel_shape = [3], strides = [2], pads = [1, 0];
        max_3d: MaxPool kernel_shape = [1, 2, 2], strides = [1, 1, 2];
        max_global: GlobalMaxPool;
        max_adaptive: MaxPool kernel_shape = [2, 2], strides = [2, 2];
        lp: LpPool kernel_shape = [3, 3], strides = [2, 2];
        lp_3: LpPool p = 3, kernel_shape = [2, 3], strides = [1, 2];
        lp_padded: LpPool kernel_shape = [2, 2], pads = [1, 0, 0, 1];
        lp_1d: LpPool p = 1, kernel_shape = [2], strides = [2];
        lp_global: GlobalLpPool;
    }
}

fn reduction() -> Vec<Case> {
    cases! {
        l1_middle: ReduceL1 keepdims = 0;
        l1_ends_kept: ReduceL1;
        l1_all: ReduceL1 keepdims = 0;
        l2_middle: ReduceL2 keepdims = 0;
        l2_ends_kept: ReduceL2;
        l2_all: ReduceL2 keepdims = 0;
        log_sum_middle: ReduceLogSum keepdims = 0;
        log_sum_ends_kept: ReduceLogSum;
        log_sum_all: ReduceLogSum keepdims = 0;
        log_sum_exp_middle: ReduceLogSumExp keepdims = 0;
        log_sum_exp_ends_kept: ReduceLogSumExp;
        log_sum_exp_all: ReduceLogSumExp keepdims = 0;
        max_middle: ReduceMax keepdims = 0;
        max_ends_kept: ReduceMax;
        max_all: ReduceMax keepdims = 0;
        min_middle: ReduceMin keepdims = 0;
        min_ends_kept: ReduceMin;
        min_all: ReduceMin keepdims = 0;
        mean_middle: ReduceMean keepdims = 0;
        mean_ends_kept: ReduceMean;
        mean_all: ReduceMean keepdims = 0;
        sum_middle: ReduceSum keepdims = 0;
        sum_ends_kept: ReduceSum;
        sum_all: ReduceSum keepdims = 0;
        sum_square_middle: ReduceSumSquare keepdims = 0;
        sum_square_ends_kept: ReduceSumSquare;
        sum_square_all: ReduceSumSquare keepdims = 0;
        log_sum_exp_far: ReduceLogSumExp keepdims = 0;
        prod_middle: ReduceProd keepdims = 0;
        prod_last_kept: ReduceProd;
        prod_all: ReduceProd keepdims = 0;
        prod_zeros: ReduceProd keepdims = 0;
        softmax_first: Softmax axis = 0;
        softmax_middle: Softmax axis = 1;
        softmax_last: Softmax;
        softmax_far: Softmax axis = 1;
        log_softmax_first: LogSoftmax axis = 0;
        log_softmax_middle: LogSoftmax axis = 1;
        log_softmax_last: LogSoftmax;
        log_softmax_far: LogSoftmax axis = 1;
    }
}

fn index() -> Vec<Case> {
    cases! {
        gather_first: Gather;
        gather_middle: Gather axis = 1;
        gather_last: Gather axis = -1;
        gather_scalar: Gather axis = 1;
        embedding: Gather;
        gather_elements: GatherElements axis = 1;
        gather_elements_first: GatherElements;
        gather_nd: GatherND;
        gather_nd_slices: GatherND;
        gather_nd_negative: GatherND;
        gather_nd_batched: GatherND batch_dims = 1;
        scatter: ScatterElements axis = 1;
        scatter_negative: ScatterElements;
        scatter_add: ScatterElements axis = 1, reduction = "add";
        scatter_add_first: ScatterElements reduction = "add";
        scatter_nd: ScatterND;
        scatter_nd_add: ScatterND reduction = "add";
        compress: Compress axis = 1;
        top_k: TopK;
        top_k_first: TopK axis = 0;
        top_k_smallest: TopK axis = 1, largest = 0;
        cum_sum: CumSum;
        cum_sum_reverse: CumSum reverse = 1;
        cum_sum_exclusive: CumSum exclusive = 1;
        cum_sum_both: CumSum reverse = 1, exclusive = 1;
    }
}

fn layout() -> Vec<Case> {
    cases! {
        concat: Concat axis = 1;
        concat_last: Concat axis = -1;
        split: Split axis = 1;
        split_equal: Split num_outputs = 3;
        split_silent: Split axis = -1;
        slice: Slice;
        slice_backward: Slice;
        pad: Pad;
        pad_value: Pad;
        pad_constant: Pad => [2];
        pad_negative: Pad;
        pad_axes: Pad;
        pad_reflect: Pad mode = "reflect";
        pad_edge: Pad mode = "edge";
        pad_wrap: Pad mode = "wrap";
        tile: Tile;
        expand: Expand;
        expand_less: Expand;
        transpose: Transpose perm = [2, 0, 1];
        transpose_reversed: Transpose;
        reshape: Reshape;
        flatten: Flatten axis = 2;
        squeeze: Squeeze;
        unsqueeze: Unsqueeze;
        depth_to_space_pixel_shuffle: DepthToSpace blocksize = 2, mode = "CRD";
        depth_to_space: DepthToSpace blocksize = 2;
        space_to_depth: SpaceToDepth blocksize = 2;
        triangle_upper: Trilu;
        triangle_lower: Trilu upper = 0;
        reverse_sequence: ReverseSequence;
    }
}

fn recurrent() -> Vec<Case> {
    cases! {
        lstm: LSTM hidden_size = 3;
        lstm_no_bias: LSTM hidden_size = 2;
        lstm_reverse: LSTM hidden_size = 2, direction = "reverse";
        lstm_bidirectional: LSTM hidden_size = 2, direction = "bidirectional";
        lstm_lengths: LSTM hidden_size = 2, direction = "bidirectional";
        lstm_batch_first: LSTM hidden_size = 2, direction = "bidirectional", layout = 1;
        lstm_last_only: LSTM hidden_size = 3;
        gru: GRU hidden_size = 3, linear_before_reset = 1;
        gru_no_bias: GRU hidden_size = 2, linear_before_reset = 1;
        gru_reverse: GRU hidden_size = 2, direction = "reverse", linear_before_reset = 1;
        gru_bidirectional: GRU hidden_size = 2, direction = "bidirectional", linear_before_reset = 1;
        gru_lengths: GRU hidden_size = 2, direction = "bidirectional", linear_before_reset = 1;
        gru_batch_first: GRU hidden_size = 2, direction = "bidirectional", layout = 1, linear_before_reset = 1;
        gru_last_only: GRU hidden_size = 3, linear_before_reset = 1;
        rnn: RNN hidden_size = 3;
        rnn_no_bias: RNN hidden_size = 2;
        rnn_reverse: RNN hidden_size = 2, direction = "reverse";
        rnn_bidirectional: RNN hidden_size = 2, direction = "bidirectional";
        rnn_lengths: RNN hidden_size = 2, direction = "bidirectional";
        rnn_batch_first: RNN hidden_size = 2, direction = "bidirectional", layout = 1;
        rnn_last_only: RNN hidden_size = 3;
        rnn_relu: RNN hidden_size = 3, activations = ["Relu"];
        gru_reset_first: GRU hidden_size = 3;
    }
}

fn resize() -> Vec<Case> {
    cases! {
        linear_up: Resize mode = "linear" => [2];
        linear_odd: Resize mode = "linear";
        linear_down: Resize mode = "linear";
        linear_corners: Resize mode = "linear", coordinate_transformation_mode = "align_corners";
        linear_corners_down: Resize mode = "linear", coordinate_transformation_mode = "align_corners";
        linear_1d: Resize mode = "linear";
        linear_3d: Resize mode = "linear";
        nearest_up: Resize coordinate_transformation_mode = "asymmetric", nearest_mode = "floor" => [2];
        nearest_odd: Resize coordinate_transformation_mode = "asymmetric", nearest_mode = "floor";
        nearest_half_pixel: Resize nearest_mode = "round_prefer_ceil";
        cubic: Resize mode = "cubic";
        cubic_corners: Resize mode = "cubic", coordinate_transformation_mode = "align_corners";
    }
}
