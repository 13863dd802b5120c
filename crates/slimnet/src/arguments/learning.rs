//! How a network is trained, as `train` and the recovery of techniques are told.

use clap::Args;
use slimnet_engine::optimize::Schedule;

use super::{LossName, OptimizerName};

/// How a network is trained.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Training")]
pub struct Learning {
    /// Highest rate [default: 0.05 for sgd, 0.001 for adamw; a fifth of it for recovery]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f32>,
    /// How the rate changes: constant, cosine, linear, step:PARTS:FACTOR or exponential:END
    #[arg(long, value_name = "SCHEDULE", default_value = "cosine")]
    pub schedule: Schedule,
    /// Epochs in which the rate rises from 0
    #[arg(long, value_name = "EPOCHS", default_value_t = 0.0)]
    pub warm_up: f64,
    /// How parameters follow their gradients
    #[arg(long, value_name = "NAME", default_value = "sgd")]
    pub optimizer: OptimizerName,
    /// Momentum of sgd
    #[arg(long, value_name = "PART", default_value_t = 0.9)]
    pub momentum: f32,
    /// Look ahead along the momentum
    #[arg(long)]
    pub nesterov: bool,
    /// Decay of weights of two axes or more
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    pub weight_decay: f32,
    /// Shorten gradients that are longer than this
    #[arg(long, value_name = "LENGTH")]
    pub clip: Option<f32>,
    /// Write a running mean of the parameters, of which this part stays at each step
    #[arg(long, value_name = "PART")]
    pub average: Option<f32>,
    /// What is minimised or measured [default: ce for labels, mse for other targets]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<LossName>,
    /// Part of the weight of a label that all classes share
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    pub label_smoothing: f32,
    /// Temperature of imitated scores
    #[arg(long, value_name = "T", default_value_t = 4.0)]
    pub temperature: f32,
    /// Weight of the imitation; labels have the rest [default: 0.9; 1 without labels]
    #[arg(long, value_name = "PART")]
    pub alpha: Option<f32>,
    /// Move training images by up to so many pixels in each direction, with a border of zeros
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub augment_crop: usize,
    /// Mirror training images at random
    #[arg(long)]
    pub augment_flip: bool,
    /// Move training samples along their first spatial axis by up to so many places
    #[arg(long, value_name = "PLACES", default_value_t = 0)]
    pub augment_shift: usize,
    /// Blank a square of so many pixels in training images
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub augment_cutout: usize,
}
