//! What reaches one output of a layer: a window on its input.

use slimnet_graph::Op;
use slimnet_graph::ops::convolution::{AutoPad, Conv, ConvTranspose};

/// The operator of a layer, as far as it says which inputs an output reads.
#[derive(Debug, Clone)]
pub(super) enum Window {
    /// A matrix product: `[…, C]` to `[…, M]`, all inputs of the same row.
    Row,
    /// A convolution: `[N, C, …]` to `[N, M, …]`.
    Conv(Conv),
    /// A transposed convolution: `[N, C, …]` to `[N, M, …]`.
    Transposed(ConvTranspose),
}

/// One spatial axis. Of a convolution tap `t` of output `o` reads input `o · stride + t · dilation − begin`; of a
/// transposed one it reads input `i` where `i · stride + t · dilation − begin` is `o`.
#[derive(Debug, Clone, Copy)]
struct Axis {
    inputs: usize,
    outputs: usize,
    taps: usize,
    stride: usize,
    dilation: usize,
    begin: usize,
    transposed: bool,
}

impl Axis {
    /// The input that a tap of an output reads; `None` in the padding and between strides.
    fn source(&self, output: usize, tap: usize) -> Option<usize> {
        let source = if self.transposed {
            let place = (output + self.begin).checked_sub(tap * self.dilation)?;
            place.is_multiple_of(self.stride).then_some(place / self.stride)
        } else {
            (output * self.stride + tap * self.dilation).checked_sub(self.begin)
        };
        source.filter(|&source| source < self.inputs)
    }
}

/// The windows of a layer at known shapes.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    axes: Vec<Axis>,
    /// Samples, or rows of a matrix.
    pub samples: usize,
    /// Elements of a channel of the input of a sample.
    pub plane: usize,
    /// Outputs of a channel of a sample.
    pub places: usize,
}

impl Window {
    /// Of an operator that has windows.
    pub fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Conv(conv) => Some(Self::Conv(conv.clone())),
            Op::ConvTranspose(conv) => Some(Self::Transposed(conv.clone())),
            Op::Gemm(_) | Op::MatMul(_) => Some(Self::Row),
            _ => None,
        }
    }

    /// The windows between an input and an output of these shapes; `weight` is the weights' as the layer reads them.
    /// `None` if they do not fit.
    pub fn at(&self, x: &[usize], y: &[usize], weight: &[usize]) -> Option<Windows> {
        let (strides, dilations) = match self {
            Self::Row => {
                let samples = x.iter().rev().skip(1).product();
                return Some(Windows { axes: Vec::new(), samples, plane: 1, places: 1 });
            }
            Self::Conv(conv) => (&conv.strides, &conv.dilations),
            Self::Transposed(conv) => (&conv.strides, &conv.dilations),
        };
        let rank = x.len().checked_sub(2).filter(|&rank| y.len() == rank + 2 && weight.len() == rank + 2)?;
        let number = |list: &[i64], index: usize| match list.get(index) {
            None => Some(1),
            Some(&number) => usize::try_from(number).ok().filter(|&number| number > 0),
        };
        let axis = |index: usize| {
            let axis = Axis {
                inputs: x[2 + index],
                outputs: y[2 + index],
                taps: weight[2 + index],
                stride: number(strides, index)?,
                dilation: number(dilations, index)?,
                begin: 0,
                transposed: matches!(self, Self::Transposed(_)),
            };
            Some(Axis { begin: self.begin(&axis, index, rank)?, ..axis })
        };
        let axes = (0..rank).map(axis).collect::<Option<Vec<_>>>()?;
        let product = |length: fn(&Axis) -> usize| axes.iter().map(length).product();
        let (plane, places) = (product(|axis| axis.inputs), product(|axis| axis.outputs));
        Some(Windows { axes, samples: x[0], plane, places })
    }

    /// Padding before an axis.
    fn begin(&self, axis: &Axis, index: usize, rank: usize) -> Option<usize> {
        // The axis that windows lie on, and how many do.
        let (auto_pad, pads, added, (length, windows), given) = match self {
            Self::Row => return Some(0),
            Self::Conv(conv) => (conv.auto_pad, &conv.pads, 0, (axis.inputs, axis.outputs), false),
            Self::Transposed(conv) => {
                let added = conv.output_padding.get(index).copied().unwrap_or(0);
                let lengths = (axis.outputs, axis.inputs);
                (conv.auto_pad, &conv.pads, usize::try_from(added).ok()?, lengths, !conv.output_shape.is_empty())
            }
        };
        let same = matches!(auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        if !same && !given {
            let explicit = auto_pad == AutoPad::NotSet && pads.len() == 2 * rank;
            return if explicit { usize::try_from(pads[index]).ok() } else { Some(0) };
        }
        let reach = axis.taps.checked_sub(1)?.checked_mul(axis.dilation)?;
        let whole = windows.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(reach)?.checked_add(1 + added)?;
        let total = whole.saturating_sub(length);
        Some(if auto_pad == AutoPad::SameUpper { total / 2 } else { total - total / 2 })
    }
}

impl Windows {
    /// Where the taps of an output lie in a channel of the input, in the order of the weights' taps; `None` where
    /// nothing is read.
    pub fn taps(&self, place: usize, taps: &mut Vec<Option<usize>>) {
        taps.clear();
        taps.push(Some(0));
        let mut inner: usize = self.places;
        let mut rest = place;
        for axis in &self.axes {
            inner /= axis.outputs.max(1);
            let output = rest / inner.max(1);
            rest %= inner.max(1);
            let outer = std::mem::take(taps);
            for source in outer {
                taps.extend((0..axis.taps).map(|tap| Some(source? * axis.inputs + axis.source(output, tap)?)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_engine::kernels::testing::reference;
    use slimnet_graph::tensor::Tensor;

    fn conv(strides: &[i64], dilations: &[i64], pads: &[i64], auto_pad: AutoPad) -> Conv {
        let (strides, dilations, pads) = (strides.to_vec(), dilations.to_vec(), pads.to_vec());
        Conv { auto_pad, dilations, group: 1, kernel_shape: Vec::new(), pads, strides }
    }

    /// The sum over the windows equals what the operator computes.
    fn check(op: &Op, x: &[usize], weight: &[usize]) {
        let data = |shape: &[usize], step: f32| {
            let count = shape.iter().product::<usize>();
            Tensor::from_values(shape.to_vec(), (0..count).map(|index| (index as f32 * step).sin()).collect()).unwrap()
        };
        let (input, weights) = (data(x, 0.7), data(weight, 1.3));
        let y = reference(op, &[Some(input.clone()), Some(weights.clone())], 1).remove(0);
        let windows = Window::of(op).unwrap().at(x, y.shape(), weight).unwrap();
        let (input, weights) = (input.values::<f32>().unwrap(), weights.values::<f32>().unwrap());
        let y = y.values::<f32>().unwrap();
        let mut taps = Vec::new();
        for sample in 0..windows.samples {
            for place in 0..windows.places {
                windows.taps(place, &mut taps);
                // One channel in, one out.
                let product = |(tap, source): (usize, &Option<usize>)| {
                    source.map_or(0.0, |source| weights[tap] * input[sample * windows.plane + source])
                };
                let sum: f32 = taps.iter().enumerate().map(product).sum();
                let expected = y[sample * windows.places + place];
                assert!((sum - expected).abs() < 1e-5, "{op:?} sample {sample} place {place}: {sum} {expected}");
            }
        }
    }

    #[test]
    fn windows_are_those_of_the_operators() {
        use AutoPad::{NotSet, SameLower, SameUpper, Valid};
        let two = [
            conv(&[], &[], &[], NotSet),
            conv(&[2, 1], &[1, 2], &[1, 2, 0, 1], NotSet),
            conv(&[2, 3], &[], &[], SameUpper),
            conv(&[2, 3], &[2, 1], &[], SameLower),
            conv(&[3, 1], &[], &[], Valid),
        ];
        for conv in two {
            check(&Op::Conv(conv), &[2, 1, 7, 6], &[1, 1, 3, 2]);
        }
        check(&Op::Conv(conv(&[2], &[], &[1, 1], NotSet)), &[2, 1, 9], &[1, 1, 4]);
        check(&Op::Conv(conv(&[], &[], &[1, 0, 1, 0, 1, 1], NotSet)), &[1, 1, 3, 4, 5], &[1, 1, 2, 2, 3]);
        let transposed = |strides: &[i64], pads: &[i64], auto_pad, output_padding: &[i64], output_shape: &[i64]| {
            let (strides, pads) = (strides.to_vec(), pads.to_vec());
            let (output_padding, output_shape) = (output_padding.to_vec(), output_shape.to_vec());
            let (dilations, kernel_shape, group) = (vec![1, 2], Vec::new(), 1);
            ConvTranspose { auto_pad, dilations, group, kernel_shape, output_padding, output_shape, pads, strides }
        };
        let forms = [
            transposed(&[], &[], NotSet, &[], &[]),
            transposed(&[2, 3], &[1, 0, 0, 2], NotSet, &[1, 2], &[]),
            transposed(&[2, 2], &[], SameUpper, &[], &[]),
            transposed(&[2, 3], &[], SameLower, &[], &[]),
            transposed(&[2, 2], &[], NotSet, &[], &[8, 9]),
        ];
        for form in forms {
            check(&Op::ConvTranspose(form), &[2, 1, 4, 3], &[1, 1, 3, 2]);
        }
    }
}
