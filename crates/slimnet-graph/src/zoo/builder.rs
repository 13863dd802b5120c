//! A thin layer over [`Graph`] that builds networks layer by layer.

use crate::graph::{Dim, Graph, GraphError, Value, ValueId, display_shape};
use crate::infer::{InferError, Known, infer_op};
use crate::ops::Op;
use crate::tensor::{ElementType, Tensor, TensorError, element_count};

use super::init::Init;
use super::random::{self, Distribution, Stream};

/// What all parameters of a built network may take together: 4 GB.
const LARGEST_NETWORK: usize = 4_000_000_000;

/// Why a layer cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The layer's inputs do not fit it.
    #[error("layer {layer:?}: {source}")]
    Infer {
        /// The layer's name.
        layer: String,
        /// What does not fit.
        source: InferError,
    },
    /// A layer needs a length that is not known.
    #[error("layer {layer:?}: axis {axis} of its input has to be a number, found {found}")]
    UnknownLength {
        /// The layer's name.
        layer: String,
        /// The axis.
        axis: usize,
        /// The input's shape.
        found: String,
    },
    /// A number that the layer does not allow.
    #[error("layer {layer:?}: {what}: expected {expected}, found {found}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// What is wrong.
        what: &'static str,
        /// What should be.
        expected: String,
        /// What is.
        found: usize,
    },
    /// The network would not fit in memory.
    #[error("parameter {parameter:?} of shape {shape:?} makes the network larger than {} GB", LARGEST_NETWORK / 1_000_000_000)]
    TooLarge {
        /// The parameter at which the limit was passed.
        parameter: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two parameters would have one name.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A parameter that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// How a convolution or pooling pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Zeros on each side of both axes.
    Each(usize),
    /// So many that the output is as large as the input divided by the stride, rounded up; an odd one goes to the end
    /// (`TensorFlow`'s "same").
    Same,
}

/// Parameters of [`Builder::conv2d`]. Where a pair is given it is height, then width.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Channels of the output.
    pub channels: usize,
    /// The kernel's size.
    pub kernel: [usize; 2],
    /// Step.
    pub stride: usize,
    /// Padding.
    pub padding: Padding,
    /// Distance of the kernel's taps.
    pub dilation: usize,
    /// Into how many independent groups the channels fall.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// A convolution with a square kernel, step 1, no bias, and the padding that keeps the image's size if the kernel's
    /// is odd.
    pub fn new(channels: usize, kernel: usize) -> Self {
        let padding = Padding::Each(kernel.saturating_sub(1) / 2);
        Self { channels, kernel: [kernel; 2], stride: 1, padding, dilation: 1, groups: 1, bias: false }
    }
}

/// Builds a graph layer by layer. Each layer checks its inputs and gives its output; a layer's name goes before the names
/// of its parameters (`conv1` has `conv1.weight`), the names of the scopes that are open before both.
///
/// ```
/// use slimnet_graph::zoo::{Builder, Conv2d, Init};
/// use slimnet_graph::Dim;
///
/// let mut net = Builder::new("tiny", 0, Init::KaimingFanOut);
/// let x = net.input("input", &[Dim::named("N"), Dim::from(3usize), Dim::from(32usize), Dim::from(32usize)])?;
/// let x = net.conv2d("conv", x, Conv2d::new(8, 3))?;
/// let x = net.batch_norm("bn", x, 1e-5)?;
/// let x = net.relu("relu", x)?;
/// let x = net.global_average_pool("pool", x)?;
/// let x = net.flatten("flatten", x)?;
/// let x = net.linear("fc", x, 10)?;
/// net.output("logits", x);
/// let graph = net.finish();
/// assert!(graph.find_value("conv.weight").is_some());
/// # Ok::<(), slimnet_graph::zoo::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    scopes: Vec<String>,
    seed: u64,
    init: Init,
    parameter_bytes: usize,
}

impl Builder {
    /// An empty network. Each parameter is a function of the seed and its name.
    pub fn new(name: &str, seed: u64, init: Init) -> Self {
        Self { graph: Graph::new(name), scopes: Vec::new(), seed, init, parameter_bytes: 0 }
    }

    /// The graph.
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// The graph as it is now.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Adds what `body` adds under names that begin with `name` and a dot.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn scope<T>(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        self.scopes.push(name.to_owned());
        let result = body(self);
        self.scopes.pop();
        result
    }

    fn full_name(&self, name: &str) -> String {
        self.scopes.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }

    /// An input of `float32`.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn input(&mut self, name: &str, shape: &[Dim]) -> Result<ValueId, BuildError> {
        self.typed_input(name, ElementType::F32, shape)
    }

    /// An input of any type.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn typed_input(&mut self, name: &str, element_type: ElementType, shape: &[Dim]) -> Result<ValueId, BuildError> {
        let mut value = Value::default();
        value.name = name.into();
        (value.element_type, value.shape) = (Some(element_type), Some(shape.to_vec()));
        let input = self.graph.add_value(value)?;
        self.graph.add_input(input)?;
        Ok(input)
    }

    /// Makes a value an output, under this name (made unique).
    pub fn output(&mut self, name: &str, value: ValueId) {
        if !self.graph.value(value).is_input() && self.graph.value(value).name != name {
            self.graph.rename(value, name);
        }
        self.graph.add_output(value);
    }

    /// Applies an operator that has one output.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn apply(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, BuildError> {
        let (op, name) = (op.into(), self.full_name(name));
        let known = inputs.iter().map(|&input| {
            let value = self.graph.value(input);
            let (element_type, shape) = (value.element_type, value.shape.as_deref());
            Some(Known { element_type, shape, data: value.data.as_ref(), contents: None })
        });
        let mut unknown = 0;
        let mut fresh = || {
            unknown += 1;
            Dim::unknown(&format!("{name}.{unknown}"))
        };
        let inferred = infer_op(&op, &known.collect::<Vec<_>>(), 1, &mut fresh)
            .map_err(|source| BuildError::Infer { layer: name.clone(), source })?;
        let output = self.graph.apply(&name, op, inputs);
        if let Some(inferred) = inferred.into_iter().next() {
            let value = self.graph.value_mut(output);
            (value.element_type, value.shape) = (inferred.element_type, inferred.shape);
        }
        Ok(output)
    }

    /// The length of an axis of a layer's input.
    pub(super) fn length(&self, layer: &str, value: ValueId, axis: usize) -> Result<usize, BuildError> {
        let shape = self.graph.value(value).shape.as_deref();
        shape.and_then(|shape| shape.get(axis)?.known()).ok_or_else(|| BuildError::UnknownLength {
            layer: self.full_name(layer),
            axis,
            found: shape.map_or_else(|| "[?]".into(), display_shape),
        })
    }

    /// An error about a layer.
    pub(super) fn refuse(&self, layer: &str, what: &'static str, expected: &str, found: usize) -> BuildError {
        BuildError::Layer { layer: self.full_name(layer), what, expected: expected.into(), found }
    }

    // --- data --------------------------------------------------------------------------------------------------------

    /// A parameter with random elements.
    ///
    /// # Errors
    /// If the name is taken or the network becomes too large.
    pub fn parameter(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        distribution: Distribution,
    ) -> Result<ValueId, BuildError> {
        let name = self.full_name(name);
        self.reserve(&name, &shape)?;
        let data = random::tensor(ElementType::F32, shape, Stream::named(self.seed, &name), distribution)?;
        self.add_data(name, data)
    }

    /// A parameter or statistic whose elements are all the same.
    ///
    /// # Errors
    /// If the name is taken or the network becomes too large.
    pub fn filled(&mut self, name: &str, shape: Vec<usize>, value: f32) -> Result<ValueId, BuildError> {
        let name = self.full_name(name);
        let count = self.reserve(&name, &shape)?;
        self.add_data(name, Tensor::from_values(shape, vec![value; count])?)
    }

    /// A constant, such as a shape, under a name that is made unique.
    pub fn constant(&mut self, name: &str, data: Tensor) -> ValueId {
        let name = self.full_name(name);
        self.graph.add_constant(&name, data)
    }

    /// A constant of `int64`.
    pub fn integers(&mut self, name: &str, values: &[i64]) -> ValueId {
        self.constant(name, Tensor::vector(values.to_vec()))
    }

    fn add_data(&mut self, name: String, data: Tensor) -> Result<ValueId, BuildError> {
        let mut value = Value::default();
        (value.name, value.data) = (name, Some(data));
        Ok(self.graph.add_value(value)?)
    }

    /// Number of elements of a new parameter, unless it is too large.
    fn reserve(&mut self, parameter: &str, shape: &[usize]) -> Result<usize, BuildError> {
        let count = element_count(shape).ok();
        let bytes = count.and_then(|count| count.checked_mul(size_of::<f32>())?.checked_add(self.parameter_bytes));
        match (count, bytes) {
            (Some(count), Some(bytes)) if bytes <= LARGEST_NETWORK => {
                self.parameter_bytes = bytes;
                Ok(count)
            }
            _ => Err(BuildError::TooLarge { parameter: parameter.into(), shape: shape.to_vec() }),
        }
    }

    /// Weight of a layer, and its bias of length `channels` if it has one.
    pub(super) fn weight_and_bias(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        fans: [usize; 2],
        bias: Option<usize>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let init = self.init;
        let mut data = vec![self.parameter(&format!("{name}.weight"), shape, init.weight(fans[0], fans[1]))?];
        if let Some(channels) = bias {
            let bias = format!("{name}.bias");
            data.push(match init.bias(fans[0]) {
                Some(distribution) => self.parameter(&bias, vec![channels], distribution)?,
                None => self.filled(&bias, vec![channels], 0.0)?,
            });
        }
        Ok(data)
    }
}
