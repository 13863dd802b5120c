//! Recurrent layers, as ONNX defines them.

use super::attribute::{attributes, names};

names! {
    /// Which way a recurrent layer runs.
    pub enum Direction {
        Forward = "forward",
        Reverse = "reverse",
        Bidirectional = "bidirectional",
    }
}

attributes! {
    /// Long short-term memory: X, W, R, B, sequence lengths, initial h, initial c, peepholes.
    pub struct Lstm {
        /// Parameters of the activations.
        activation_alpha: Vec<f32> = Vec::new(),
        /// Parameters of the activations.
        activation_beta: Vec<f32> = Vec::new(),
        /// Three names for each direction; empty: Sigmoid, Tanh, Tanh.
        activations: Vec<String> = Vec::new(),
        /// Limit of the activations' inputs.
        clip: Option<f32> = None,
        /// Which way it runs.
        direction: Direction = Direction::Forward,
        /// Length of the state.
        hidden_size: Option<i64> = None,
        /// Whether the input gate is 1 − the forget gate.
        input_forget: bool = false,
        /// Whether the batch is axis 0 instead of 1.
        layout: bool = false,
    }

    /// Gated recurrent unit: X, W, R, B, sequence lengths, initial h.
    pub struct Gru {
        /// Parameters of the activations.
        activation_alpha: Vec<f32> = Vec::new(),
        /// Parameters of the activations.
        activation_beta: Vec<f32> = Vec::new(),
        /// Two names for each direction; empty: Sigmoid, Tanh.
        activations: Vec<String> = Vec::new(),
        /// Limit of the activations' inputs.
        clip: Option<f32> = None,
        /// Which way it runs.
        direction: Direction = Direction::Forward,
        /// Length of the state.
        hidden_size: Option<i64> = None,
        /// Whether the batch is axis 0 instead of 1.
        layout: bool = false,
        /// Whether the reset gate is applied after the recurrent product.
        linear_before_reset: bool = false,
    }

    /// Plain recurrent layer: X, W, R, B, sequence lengths, initial h.
    pub struct Rnn {
        /// Parameters of the activations.
        activation_alpha: Vec<f32> = Vec::new(),
        /// Parameters of the activations.
        activation_beta: Vec<f32> = Vec::new(),
        /// One name for each direction; empty: Tanh.
        activations: Vec<String> = Vec::new(),
        /// Limit of the activations' inputs.
        clip: Option<f32> = None,
        /// Which way it runs.
        direction: Direction = Direction::Forward,
        /// Length of the state.
        hidden_size: Option<i64> = None,
        /// Whether the batch is axis 0 instead of 1.
        layout: bool = false,
    }
}
