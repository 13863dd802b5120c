//! The networks.

use crate::graph::ValueId;

use super::builder::{BuildError, Builder, Conv2d, Padding};
use super::{Architecture, Init, ZooOption};

/// Numbers that a network is built with.
#[derive(Debug)]
pub(super) struct Plan {
    /// Channels, height and width.
    pub input: [usize; 3],
    pub classes: usize,
    pub width: f64,
}

impl Plan {
    /// A number of channels times the width factor, at least one.
    fn wide(&self, channels: usize) -> usize {
        ((channels as f64 * self.width).round() as usize).max(1)
    }
}

type Built = Result<ValueId, BuildError>;
pub(super) type Layers = fn(&mut Builder, ValueId, &Plan) -> Built;

const MNIST: [usize; 3] = [1, 28, 28];
const CIFAR: [usize; 3] = [3, 32, 32];
const WIDTH_AND_RESOLUTION: &[ZooOption] = &[ZooOption::Width, ZooOption::Resolution];
const LOTTERY: &str = "Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019, figure 2";
const HINTON: &str = "Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 3";
const MOBILENET: &str = "Howard et al., MobileNets, 2017, table 1";
const RESIDUAL: &str = "He et al., Deep Residual Learning, CVPR 2016, section 4.2 (shortcuts of option A)";
const MLPERF: &str = "Banbury et al., MLPerf Tiny Benchmark, NeurIPS 2021";

/// Every network, in the order of the list that a user sees.
pub(super) const ALL: &[Architecture] = &[
    Architecture {
        name: "lenet-300-100",
        description: "three linear layers: 300, 100, classes",
        source: "LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
        input: MNIST,
        classes: 10,
        init: Init::XavierNormal,
        takes: &[ZooOption::Resolution],
        least_resolution: 1,
        layers: lenet_300_100,
    },
    Architecture {
        name: "mlp",
        description: "two hidden linear layers of 800",
        source: HINTON,
        input: MNIST,
        classes: 10,
        init: Init::KaimingFanIn,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| mlp(net, x, plan, 800, None),
    },
    Architecture {
        name: "mlp-dropout",
        description: "two hidden linear layers of 1200 with dropout",
        source: HINTON,
        input: MNIST,
        classes: 10,
        init: Init::KaimingFanIn,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| mlp(net, x, plan, 1200, Some([0.2, 0.5])),
    },
    Architecture {
        name: "lenet-5",
        description: "Caffe's LeNet: convolutions of 20 and 50 channels, linear layers of 500 and classes",
        source: "Jia et al., Caffe, 2014 (examples/mnist), after LeCun et al. 1998",
        input: MNIST,
        classes: 10,
        init: Init::LecunUniform,
        takes: &[ZooOption::Resolution],
        least_resolution: 16,
        layers: lenet_5,
    },
    Architecture {
        name: "conv2",
        description: "VGG-like: two convolutions of 64, linear layers of 256, 256, classes",
        source: LOTTERY,
        input: CIFAR,
        classes: 10,
        init: Init::XavierNormal,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 2,
        layers: |net, x, plan| conv_n(net, x, plan, &[64]),
    },
    Architecture {
        name: "conv4",
        description: "VGG-like: two convolutions of 64, two of 128, linear layers of 256, 256, classes",
        source: LOTTERY,
        input: CIFAR,
        classes: 10,
        init: Init::XavierNormal,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 4,
        layers: |net, x, plan| conv_n(net, x, plan, &[64, 128]),
    },
    Architecture {
        name: "conv6",
        description: "VGG-like: two convolutions each of 64, 128, 256, linear layers of 256, 256, classes",
        source: LOTTERY,
        input: CIFAR,
        classes: 10,
        init: Init::XavierNormal,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 8,
        layers: |net, x, plan| conv_n(net, x, plan, &[64, 128, 256]),
    },
    Architecture {
        name: "resnet8",
        description: "residual network of three blocks for 32×32 images, as MLPerf Tiny has it",
        source: MLPERF,
        input: CIFAR,
        classes: 10,
        init: Init::KaimingFanIn,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: resnet8,
    },
    Architecture {
        name: "resnet20",
        description: "residual network of 3 × 3 blocks for 32×32 images",
        source: RESIDUAL,
        input: CIFAR,
        classes: 10,
        init: Init::KaimingFanOut,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| resnet_cifar(net, x, plan, 3),
    },
    Architecture {
        name: "resnet56",
        description: "residual network of 3 × 9 blocks for 32×32 images",
        source: RESIDUAL,
        input: CIFAR,
        classes: 10,
        init: Init::KaimingFanOut,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| resnet_cifar(net, x, plan, 9),
    },
    Architecture {
        name: "vgg16-cifar",
        description: "thirteen 3×3 convolutions with batch normalisation, one linear layer",
        source: "Simonyan and Zisserman, ICLR 2015, for CIFAR as in Liu et al., Network Slimming, ICCV 2017",
        input: CIFAR,
        classes: 10,
        init: Init::KaimingFanOut,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 32,
        layers: vgg16,
    },
    Architecture {
        name: "ds-cnn",
        description: "depthwise separable network for keywords in 49 frames of 10 MFCCs, as MLPerf Tiny has it",
        source: "Zhang et al., Hello Edge, 2017; Banbury et al., MLPerf Tiny Benchmark, NeurIPS 2021",
        input: [1, 49, 10],
        classes: 12,
        init: Init::XavierUniform,
        takes: &[ZooOption::Width],
        least_resolution: 1,
        layers: ds_cnn,
    },
    Architecture {
        name: "mobilenet-v1",
        description: "thirteen depthwise separable blocks for ImageNet",
        source: MOBILENET,
        input: [3, 224, 224],
        classes: 1000,
        init: Init::KaimingFanOut,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| mobilenet(net, x, plan, true),
    },
    Architecture {
        name: "mobilenet-v1-full",
        description: "mobilenet-v1 with a full convolution in place of each depthwise separable block",
        source: "Howard et al., MobileNets, 2017, table 4 (Conv MobileNet)",
        input: [3, 224, 224],
        classes: 1000,
        init: Init::KaimingFanOut,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 1,
        layers: |net, x, plan| mobilenet(net, x, plan, false),
    },
    Architecture {
        name: "transformer-encoder",
        description: "two transformer layers (width 64, heads of 16, hidden 128) over the patches of a small image",
        source: "Vaswani et al., Attention Is All You Need, 2017; over patches as Dosovitskiy et al., ViT, ICLR 2021",
        input: MNIST,
        classes: 10,
        init: Init::TruncatedNormal,
        takes: WIDTH_AND_RESOLUTION,
        least_resolution: 2,
        layers: transformer,
    },
];

fn lenet_300_100(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    let x = net.flatten("flatten", input)?;
    let x = net.linear("fc1", x, 300)?;
    let x = net.relu("relu1", x)?;
    let x = net.linear("fc2", x, 100)?;
    let x = net.relu("relu2", x)?;
    net.linear("fc3", x, plan.classes)
}

/// `dropout` is the part of the input and of each hidden layer that is dropped while training.
fn mlp(net: &mut Builder, input: ValueId, plan: &Plan, hidden: usize, dropout: Option<[f32; 2]>) -> Built {
    let mut x = net.flatten("flatten", input)?;
    if let Some([ratio, _]) = dropout {
        x = net.dropout("drop0", x, ratio)?;
    }
    for layer in 1..=2 {
        x = net.linear(&format!("fc{layer}"), x, plan.wide(hidden))?;
        x = net.relu(&format!("relu{layer}"), x)?;
        if let Some([_, ratio]) = dropout {
            x = net.dropout(&format!("drop{layer}"), x, ratio)?;
        }
    }
    net.linear("fc3", x, plan.classes)
}

/// No activation follows the convolutions, as in Caffe.
fn lenet_5(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    let conv = |channels| Conv2d { padding: Padding::Each(0), bias: true, ..Conv2d::new(channels, 5) };
    let x = net.conv2d("conv1", input, conv(20))?;
    let x = net.max_pool("pool1", x, 2)?;
    let x = net.conv2d("conv2", x, conv(50))?;
    let x = net.max_pool("pool2", x, 2)?;
    let x = net.flatten("flatten", x)?;
    let x = net.linear("fc1", x, 500)?;
    let x = net.relu("relu", x)?;
    net.linear("fc2", x, plan.classes)
}

fn conv_n(net: &mut Builder, input: ValueId, plan: &Plan, stages: &[usize]) -> Built {
    let mut x = input;
    for (stage, &channels) in stages.iter().enumerate() {
        for place in [2 * stage + 1, 2 * stage + 2] {
            x = net.conv2d(&format!("conv{place}"), x, Conv2d { bias: true, ..Conv2d::new(plan.wide(channels), 3) })?;
            x = net.relu(&format!("relu{place}"), x)?;
        }
        x = net.max_pool(&format!("pool{}", stage + 1), x, 2)?;
    }
    x = net.flatten("flatten", x)?;
    for layer in ["fc1", "fc2"] {
        x = net.linear(layer, x, plan.wide(256))?;
        x = net.relu(&format!("{layer}_relu"), x)?;
    }
    net.linear("fc3", x, plan.classes)
}

/// Mean over the image and a linear layer.
fn classifier(net: &mut Builder, x: ValueId, name: &str, plan: &Plan) -> Built {
    let x = net.global_average_pool("pool", x)?;
    let x = net.flatten("flatten", x)?;
    net.linear(name, x, plan.classes)
}

/// `MLPerf` Tiny's own network, not one of the paper's: biases before the batch normalisations, `TensorFlow`'s "same"
/// padding, shortcuts by 1×1 convolutions without batch normalisation.
fn resnet8(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    let same = |channels, kernel, stride| Conv2d {
        stride,
        padding: Padding::Same,
        bias: true,
        ..Conv2d::new(plan.wide(channels), kernel)
    };
    let x = net.conv2d("conv1", input, same(16, 3, 1))?;
    let x = net.batch_norm("bn1", x, 1e-3)?;
    let mut x = net.relu("relu", x)?;
    for (stage, (channels, stride)) in [(16, 1), (32, 2), (64, 2)].into_iter().enumerate() {
        x = net.scope(&format!("layer{}", stage + 1), |net| {
            let y = net.conv2d("conv1", x, same(channels, 3, stride))?;
            let y = net.batch_norm("bn1", y, 1e-3)?;
            let y = net.relu("relu1", y)?;
            let y = net.conv2d("conv2", y, same(channels, 3, 1))?;
            let y = net.batch_norm("bn2", y, 1e-3)?;
            let shortcut = if stride == 1 { x } else { net.conv2d("shortcut", x, same(channels, 1, stride))? };
            let x = net.add("add", shortcut, y)?;
            net.relu("relu2", x)
        })?;
    }
    classifier(net, x, "fc", plan)
}

fn resnet_cifar(net: &mut Builder, input: ValueId, plan: &Plan, blocks: usize) -> Built {
    let x = net.conv2d("conv1", input, Conv2d::new(plan.wide(16), 3))?;
    let x = net.batch_norm("bn1", x, 1e-5)?;
    let mut x = net.relu("relu", x)?;
    let mut inputs = plan.wide(16);
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        let channels = plan.wide(channels);
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let added = channels.saturating_sub(inputs);
            x = net.scope(&format!("layer{}.{block}", stage + 1), |net| {
                let y = net.conv2d("conv1", x, Conv2d { stride, ..Conv2d::new(channels, 3) })?;
                let y = net.batch_norm("bn1", y, 1e-5)?;
                let y = net.relu("relu1", y)?;
                let y = net.conv2d("conv2", y, Conv2d::new(channels, 3))?;
                let y = net.batch_norm("bn2", y, 1e-5)?;
                let mut shortcut = x;
                if stride > 1 {
                    shortcut = net.subsample("shortcut.subsample", shortcut, stride)?;
                }
                if added > 0 {
                    shortcut = net.pad_channels("shortcut.pad", shortcut, added / 2, added - added / 2)?;
                }
                let x = net.add("add", y, shortcut)?;
                net.relu("relu2", x)
            })?;
            inputs = channels;
        }
    }
    classifier(net, x, "linear", plan)
}

fn vgg16(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    let mut x = input;
    // Numbered as in PyTorch's Sequential: convolution, batch normalisation and activation are a place each.
    let mut place = 0;
    for (channels, convolutions) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..convolutions {
            x = net.conv2d(&format!("features.{place}"), x, Conv2d::new(plan.wide(channels), 3))?;
            x = net.batch_norm(&format!("features.{}", place + 1), x, 1e-5)?;
            x = net.relu(&format!("features.{}", place + 2), x)?;
            place += 3;
        }
        x = net.max_pool(&format!("features.{place}"), x, 2)?;
        place += 1;
    }
    let x = net.flatten("flatten", x)?;
    net.linear("classifier", x, plan.classes)
}

/// `MLPerf` Tiny's network without its dropouts; biases before the batch normalisations are its own.
fn ds_cnn(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    let channels = plan.wide(64);
    let conv =
        |kernel, stride| Conv2d { kernel, stride, padding: Padding::Same, bias: true, ..Conv2d::new(channels, 1) };
    let bn_relu = |net: &mut Builder, name: &str, x| {
        let x = net.batch_norm(&format!("{name}bn"), x, 1e-3)?;
        net.relu(&format!("{name}relu"), x)
    };
    let x = net.conv2d("conv", input, conv([10, 4], 2))?;
    let mut x = bn_relu(net, "", x)?;
    for block in 0..4 {
        x = net.scope(&format!("blocks.{block}"), |net| {
            let x = net.depthwise_conv2d("depthwise", x, conv([3, 3], 1))?;
            let x = bn_relu(net, "depthwise_", x)?;
            let x = net.conv2d("pointwise", x, conv([1, 1], 1))?;
            bn_relu(net, "pointwise_", x)
        })?;
    }
    classifier(net, x, "fc", plan)
}

fn mobilenet(net: &mut Builder, input: ValueId, plan: &Plan, separable: bool) -> Built {
    let bn_relu = |net: &mut Builder, name: &str, x| {
        let x = net.batch_norm(&format!("{name}bn"), x, 1e-5)?;
        net.relu6(&format!("{name}relu"), x)
    };
    let x = net.conv2d("conv", input, Conv2d { stride: 2, ..Conv2d::new(plan.wide(32), 3) })?;
    let mut x = bn_relu(net, "", x)?;
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)];
    let blocks = blocks.into_iter().chain([(512, 1); 5]).chain([(1024, 2), (1024, 1)]);
    for (block, (channels, stride)) in blocks.enumerate() {
        let channels = plan.wide(channels);
        x = net.scope(&format!("blocks.{block}"), |net| {
            if !separable {
                let x = net.conv2d("conv", x, Conv2d { stride, ..Conv2d::new(channels, 3) })?;
                return bn_relu(net, "", x);
            }
            let x = net.depthwise_conv2d("depthwise", x, Conv2d { stride, ..Conv2d::new(channels, 3) })?;
            let x = bn_relu(net, "depthwise_", x)?;
            let x = net.conv2d("pointwise", x, Conv2d::new(channels, 1))?;
            bn_relu(net, "pointwise_", x)
        })?;
    }
    classifier(net, x, "fc", plan)
}

/// Normalisation comes before attention and before the hidden layer; the mean over the patches is classified.
fn transformer(net: &mut Builder, input: ValueId, plan: &Plan) -> Built {
    const HEAD: usize = 16;
    let heads = plan.wide(4);
    let width = heads * HEAD;
    let patch = if plan.input[1] < 16 { 2 } else { 4 };
    if !plan.input[1].is_multiple_of(patch) {
        return Err(net.refuse("patch_embed", "resolution", &format!("a multiple of {patch}"), plan.input[1]));
    }
    let patches = Conv2d { stride: patch, padding: Padding::Each(0), bias: true, ..Conv2d::new(width, patch) };
    let x = net.conv2d("patch_embed", input, patches)?;
    let x = net.reshape("patches", x, &[0, 0, -1])?;
    let x = net.transpose("tokens", x, &[0, 2, 1])?;
    let mut x = net.positions("pos_embed", x)?;
    for layer in 0..2 {
        x = net.scope(&format!("layers.{layer}"), |net| {
            let y = net.layer_norm("norm1", x)?;
            let y = net.self_attention("self_attn", y, heads)?;
            let x = net.add("add1", x, y)?;
            let y = net.layer_norm("norm2", x)?;
            let y = net.linear("linear1", y, 2 * width)?;
            let y = net.gelu("gelu", y)?;
            let y = net.linear("linear2", y, width)?;
            net.add("add2", x, y)
        })?;
    }
    let x = net.layer_norm("norm", x)?;
    let x = net.mean("mean", x, 1)?;
    net.linear("head", x, plan.classes)
}
