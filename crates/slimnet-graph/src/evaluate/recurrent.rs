//! Recurrent layers.

use super::elementwise::{elu, hard_sigmoid, leaky_relu, relu, sigmoid, softplus, softsign};
use super::{Context, EvaluateError, invalid, unsupported};
use crate::ops::recurrent::{Direction, Gru, Lstm, Rnn};
use crate::tensor::{Tensor, element_count};

type Results = Result<Vec<Tensor>, EvaluateError>;
type Function = Box<dyn Fn(f64) -> f64>;

/// What all recurrent layers have as attributes.
struct Attributes<'a> {
    activation_alpha: &'a [f32],
    activation_beta: &'a [f32],
    activations: &'a [String],
    clip: Option<f32>,
    direction: Direction,
    hidden_size: Option<i64>,
    /// Whether the batch is axis 0.
    batch_first: bool,
    /// Of one direction.
    default_activations: &'static [&'static str],
    gates: usize,
}

macro_rules! attributes_of {
    ($op:expr, $default_activations:expr, $gates:expr) => {
        Attributes {
            activation_alpha: &$op.activation_alpha,
            activation_beta: &$op.activation_beta,
            activations: &$op.activations,
            clip: $op.clip,
            direction: $op.direction,
            hidden_size: $op.hidden_size,
            batch_first: $op.layout,
            default_activations: $default_activations,
            gates: $gates,
        }
    };
}

/// The activation functions of all directions. Parameters go to the functions that have one, in order.
fn activations(attributes: &Attributes<'_>, directions: usize) -> Result<Vec<Function>, EvaluateError> {
    let default = attributes.default_activations.repeat(directions);
    let given = attributes.activations;
    let names = if given.is_empty() { default.clone() } else { given.iter().map(String::as_str).collect() };
    if names.len() != default.len() {
        return Err(invalid(format!("{names:?} are not {} activations", default.len())));
    }
    let mut alphas = attributes.activation_alpha.iter().map(|&alpha| f64::from(alpha));
    let mut betas = attributes.activation_beta.iter().map(|&beta| f64::from(beta));
    let mut function = |name: &str| -> Result<Function, EvaluateError> {
        let mut alpha = |default: f64| alphas.next().unwrap_or(default);
        let mut beta = |default: f64| betas.next().unwrap_or(default);
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => Box::new(relu),
            "tanh" => Box::new(f64::tanh),
            "sigmoid" => Box::new(sigmoid),
            "softsign" => Box::new(softsign),
            "softplus" => Box::new(softplus),
            "affine" => {
                let (alpha, beta) = (alpha(1.0), beta(0.0));
                Box::new(move |x| alpha * x + beta)
            }
            "leakyrelu" => {
                let alpha = alpha(f64::from(0.01f32));
                Box::new(move |x| leaky_relu(x, alpha))
            }
            "thresholdedrelu" => {
                let alpha = alpha(1.0);
                Box::new(move |x| if x >= alpha { x } else { 0.0 })
            }
            "scaledtanh" => {
                let (alpha, beta) = (alpha(1.0), beta(1.0));
                Box::new(move |x| alpha * (beta * x).tanh())
            }
            "hardsigmoid" => {
                let (alpha, beta) = (alpha(f64::from(0.2f32)), beta(0.5));
                Box::new(move |x| hard_sigmoid(x, alpha, beta))
            }
            "elu" => {
                let alpha = alpha(1.0);
                Box::new(move |x| elu(x, alpha))
            }
            _ => return Err(unsupported(format!("activation {name:?}"))),
        })
    };
    names.into_iter().map(&mut function).collect()
}

/// The inputs of a layer, with axes in the order of layout 0.
struct Layer {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    directions: usize,
    gates: usize,
    x: Vec<f64>,
    w: Vec<f64>,
    r: Vec<f64>,
    bias: Vec<f64>,
    lengths: Vec<usize>,
    initial_h: Vec<f64>,
    reversed: bool,
    batch_first: bool,
    functions: Vec<Function>,
    clip: f64,
}

/// Exchanges the first two axes, `[a, b, inner]` to `[b, a, inner]`.
fn swapped(values: &[f64], a: usize, b: usize, inner: usize) -> Vec<f64> {
    if values.is_empty() {
        return Vec::new();
    }
    let row = |place: usize| values[place * inner..][..inner].iter().copied();
    (0..b).flat_map(|second| (0..a).flat_map(move |first| row(first * b + second))).collect()
}

impl Layer {
    fn new(attributes: &Attributes<'_>, context: &Context<'_>) -> Result<Self, EvaluateError> {
        let (x, w, r) = (context.input(0)?, context.input(1)?, context.input(2)?);
        let misfit = || invalid(format!("shapes {:?}, {:?}, {:?} do not fit", x.shape(), w.shape(), r.shape()));
        let (&[first, second, input], &[directions, rows, _], &[.., hidden]) = (x.shape(), w.shape(), r.shape()) else {
            return Err(misfit());
        };
        let gates = attributes.gates;
        let expected = if attributes.direction == Direction::Bidirectional { 2 } else { 1 };
        let fits = directions == expected
            && input > 0
            && hidden > 0
            && hidden.checked_mul(gates) == Some(rows)
            && w.shape() == [directions, rows, input]
            && r.shape() == [directions, rows, hidden]
            && attributes.hidden_size.is_none_or(|size| usize::try_from(size) == Ok(hidden));
        if !fits {
            return Err(misfit());
        }
        let (steps, batch) = if attributes.batch_first { (second, first) } else { (first, second) };
        context.room(x.element_type(), &[directions, batch, hidden])?;
        context.room(x.element_type(), &[steps, directions, batch, hidden])?;
        let mut layer = Self {
            steps,
            batch,
            input,
            hidden,
            directions,
            gates,
            x: x.to_f64s()?,
            w: w.to_f64s()?,
            r: r.to_f64s()?,
            bias: parameter(context, 3, &[directions, rows.checked_mul(2).ok_or_else(misfit)?])?,
            lengths: vec![steps; batch],
            initial_h: Vec::new(),
            reversed: attributes.direction == Direction::Reverse,
            batch_first: attributes.batch_first,
            functions: activations(attributes, directions)?,
            clip: attributes.clip.map_or(f64::INFINITY, f64::from),
        };
        if attributes.batch_first {
            layer.x = swapped(&layer.x, batch, steps, input);
        }
        layer.initial_h = layer.initial_state(context, 5)?;
        if let Some(lengths) = context.optional(4) {
            let checked = |length: i64| usize::try_from(length).ok().filter(|&length| length <= steps);
            let checked: Option<Vec<_>> = lengths.to_i64s()?.into_iter().map(checked).collect();
            layer.lengths =
                checked.filter(|lengths| lengths.len() == batch).ok_or_else(|| invalid("sequence lengths"))?;
        }
        if layer.clip.is_nan() || layer.clip < 0.0 {
            return Err(invalid(format!("clip {}", layer.clip)));
        }
        Ok(layer)
    }

    /// The state at input `slot`, zeros if it is absent.
    fn initial_state(&self, context: &Context<'_>, slot: usize) -> Result<Vec<f64>, EvaluateError> {
        let (first, second) =
            if self.batch_first { (self.batch, self.directions) } else { (self.directions, self.batch) };
        let values = parameter(context, slot, &[first, second, self.hidden])?;
        Ok(if self.batch_first { swapped(&values, first, second, self.hidden) } else { values })
    }

    /// Runs every sequence through `cell`, which takes what [`Cell`] says, and the state of `states` vectors, of which the
    /// first is h and which it replaces. Results: Y, then the last value of each state vector.
    fn run(&self, context: &Context<'_>, initial: &[&[f64]], cell: impl Fn(&Cell<'_>, &mut [Vec<f64>])) -> Results {
        let (hidden, gates) = (self.hidden, self.gates);
        let element_type = context.input(0)?.element_type();
        let functions = self.functions.len() / self.directions;
        let mut y = vec![0.0; element_count(&[self.steps, self.directions, self.batch, hidden])?];
        let mut last: Vec<Vec<f64>> = initial.iter().map(|_| Vec::new()).collect();
        for direction in 0..self.directions {
            let rows = gates * hidden;
            let w = &self.w[direction * rows * self.input..][..rows * self.input];
            for example in 0..self.batch {
                let place = direction * self.batch + example;
                let mut state: Vec<_> =
                    initial.iter().map(|values| values[place * hidden..][..hidden].to_vec()).collect();
                let length = self.lengths[example];
                for step in 0..length {
                    let step = if self.reversed || direction == 1 { length - 1 - step } else { step };
                    let x = &self.x[(step * self.batch + example) * self.input..][..self.input];
                    let (input_bias, state_bias) = self.bias[direction * 2 * rows..][..2 * rows].split_at(rows);
                    let cell_inputs = Cell {
                        of_input: product(w, x).zip(input_bias).map(|(sum, bias)| sum + bias).collect(),
                        state_bias,
                        recurrent: &self.r[direction * rows * hidden..][..rows * hidden],
                        hidden,
                        direction,
                        functions: &self.functions[direction * functions..][..functions],
                        clip: self.clip,
                    };
                    cell(&cell_inputs, &mut state);
                    let target = ((step * self.directions + direction) * self.batch + example) * hidden;
                    y[target..][..hidden].copy_from_slice(&state[0]);
                }
                for (last, state) in last.iter_mut().zip(state) {
                    last.extend(state);
                }
            }
        }
        let mut results = Vec::new();
        if self.batch_first {
            // [steps, directions, batch, hidden] to [batch, steps, directions, hidden].
            let y = swapped(&y, self.steps.saturating_mul(self.directions), self.batch, hidden);
            results.push(Tensor::from_f64s(element_type, vec![self.batch, self.steps, self.directions, hidden], y)?);
        } else {
            results.push(Tensor::from_f64s(element_type, vec![self.steps, self.directions, self.batch, hidden], y)?);
        }
        for last in last {
            let (shape, last) = if self.batch_first {
                (vec![self.batch, self.directions, hidden], swapped(&last, self.directions, self.batch, hidden))
            } else {
                (vec![self.directions, self.batch, hidden], last)
            };
            results.push(Tensor::from_f64s(element_type, shape, last)?);
        }
        Ok(results)
    }
}

/// An optional input of a known shape, zeros if it is absent.
fn parameter(context: &Context<'_>, slot: usize, shape: &[usize]) -> Result<Vec<f64>, EvaluateError> {
    match context.optional(slot) {
        None => Ok(vec![0.0; element_count(shape)?]),
        Some(tensor) if tensor.shape() != shape => {
            Err(invalid(format!("input {slot} has shape {:?} instead of {shape:?}", tensor.shape())))
        }
        Some(tensor) => Ok(tensor.to_f64s()?),
    }
}

/// A row-major matrix times a vector.
fn product<'a>(matrix: &'a [f64], vector: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    let rows = matrix.chunks_exact(vector.len().max(1));
    rows.map(move |row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}

/// What one step of one example is computed from, besides its state.
struct Cell<'a> {
    /// W x and its bias, gate by gate.
    of_input: Vec<f64>,
    state_bias: &'a [f64],
    recurrent: &'a [f64],
    hidden: usize,
    direction: usize,
    functions: &'a [Function],
    clip: f64,
}

impl Cell<'_> {
    /// R h of one gate, with its bias.
    fn of_state(&self, gate: usize, h: &[f64]) -> Vec<f64> {
        let hidden = self.hidden;
        let matrix = &self.recurrent[gate * hidden * hidden..][..hidden * hidden];
        product(matrix, h).zip(&self.state_bias[gate * hidden..]).map(|(sum, bias)| sum + bias).collect()
    }

    /// An activation, with its clipped argument.
    fn activate(&self, function: usize, x: f64) -> f64 {
        self.functions[function](x.clamp(-self.clip, self.clip))
    }

    /// A gate's activation of its input, its state, and something more for each element.
    fn gate(&self, gate: usize, function: usize, of_state: &[f64], more: impl Fn(usize) -> f64) -> Vec<f64> {
        let of_input = &self.of_input[gate * self.hidden..][..self.hidden];
        let sums = of_input.iter().zip(of_state).enumerate();
        sums.map(|(place, (input, state))| self.activate(function, input + state + more(place))).collect()
    }
}

pub(super) fn rnn(op: &Rnn, context: &Context<'_>) -> Results {
    let layer = Layer::new(&attributes_of!(op, &["Tanh"], 1), context)?;
    layer.run(context, &[&layer.initial_h], |cell, state| {
        state[0] = cell.gate(0, 0, &cell.of_state(0, &state[0]), |_| 0.0);
    })
}

pub(super) fn gru(op: &Gru, context: &Context<'_>) -> Results {
    let layer = Layer::new(&attributes_of!(op, &["Sigmoid", "Tanh"], 3), context)?;
    layer.run(context, &[&layer.initial_h], |cell, state| {
        let h = &state[0];
        let update = cell.gate(0, 0, &cell.of_state(0, h), |_| 0.0);
        let reset = cell.gate(1, 0, &cell.of_state(1, h), |_| 0.0);
        let scaled =
            |values: &[f64]| -> Vec<_> { reset.iter().zip(values).map(|(reset, value)| reset * value).collect() };
        let of_state = if op.linear_before_reset { scaled(&cell.of_state(2, h)) } else { cell.of_state(2, &scaled(h)) };
        let candidate = cell.gate(2, 1, &of_state, |_| 0.0);
        let joined = update.iter().zip(candidate).zip(h).map(|((z, new), old)| (1.0 - z) * new + z * old);
        state[0] = joined.collect();
    })
}

pub(super) fn lstm(op: &Lstm, context: &Context<'_>) -> Results {
    let layer = Layer::new(&attributes_of!(op, &["Sigmoid", "Tanh", "Tanh"], 4), context)?;
    let hidden = layer.hidden;
    let initial_c = layer.initial_state(context, 6)?;
    // One row a direction: of the input, the output and the forget gate.
    let peepholes =
        parameter(context, 7, &[layer.directions, hidden.checked_mul(3).ok_or_else(|| invalid("hidden"))?])?;
    layer.run(context, &[&layer.initial_h, &initial_c], |cell, state| {
        let [h, c] = state else { return };
        let peephole = |gate: usize, place: usize| peepholes[(cell.direction * 3 + gate) * hidden + place];
        let input = cell.gate(0, 0, &cell.of_state(0, h), |place| peephole(0, place) * c[place]);
        let forget = if op.input_forget {
            input.iter().map(|input| 1.0 - input).collect()
        } else {
            cell.gate(2, 0, &cell.of_state(2, h), |place| peephole(2, place) * c[place])
        };
        let candidate = cell.gate(3, 1, &cell.of_state(3, h), |_| 0.0);
        for (place, c) in c.iter_mut().enumerate() {
            *c = forget[place] * *c + input[place] * candidate[place];
        }
        let output = cell.gate(1, 0, &cell.of_state(1, h), |place| peephole(1, place) * c[place]);
        // Only sums of gates are clipped: so do the runtimes, though the definition could be read otherwise.
        *h = output.iter().zip(c.iter()).map(|(output, &c)| output * cell.functions[2](c)).collect();
    })
}
