//! Standard initialisations of weights.

use super::random::Distribution;

/// How the weights of convolutions and linear layers are initialised. Biases start at 0, except with [`Init::PyTorch`].
///
/// The fans count the products that reach one output (`in`) or leave one input (`out`); in grouped convolutions those of
/// one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Init {
    /// Normal with variance 2 / fan out (He et al. 2015).
    KaimingFanOut,
    /// Normal with variance 2 / fan in (He et al. 2015).
    KaimingFanIn,
    /// Uniform with variance 2 / (fan in + fan out) (Glorot and Bengio 2010).
    XavierUniform,
    /// Normal with variance 2 / (fan in + fan out) (Glorot and Bengio 2010).
    XavierNormal,
    /// Uniform with variance 1 / fan in: what Caffe's examples of `LeNet` call "xavier".
    LecunUniform,
    /// `PyTorch`'s default: weights and biases uniform within ±1 / √(fan in).
    PyTorch,
    /// Normal with standard deviation 0.02, cut at two of them: usual for transformers.
    TruncatedNormal,
}

impl Init {
    /// Every initialisation.
    pub const ALL: [Self; 7] = [
        Self::KaimingFanOut,
        Self::KaimingFanIn,
        Self::XavierUniform,
        Self::XavierNormal,
        Self::LecunUniform,
        Self::PyTorch,
        Self::TruncatedNormal,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KaimingFanOut => "kaiming-fan-out",
            Self::KaimingFanIn => "kaiming-fan-in",
            Self::XavierUniform => "xavier-uniform",
            Self::XavierNormal => "xavier-normal",
            Self::LecunUniform => "lecun-uniform",
            Self::PyTorch => "pytorch",
            Self::TruncatedNormal => "truncated-normal",
        }
    }

    /// The one with this name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|init| init.name() == name)
    }

    /// Distribution of a layer's weights.
    pub fn weight(self, fan_in: usize, fan_out: usize) -> Distribution {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        match self {
            Self::KaimingFanOut => normal(2.0 / fan_out),
            Self::KaimingFanIn => normal(2.0 / fan_in),
            Self::XavierUniform => uniform(2.0 / (fan_in + fan_out)),
            Self::XavierNormal => normal(2.0 / (fan_in + fan_out)),
            Self::LecunUniform => uniform(1.0 / fan_in),
            Self::PyTorch => uniform(1.0 / (3.0 * fan_in)),
            Self::TruncatedNormal => Distribution::TruncatedNormal { mean: 0.0, deviation: 0.02 },
        }
    }

    /// Distribution of a layer's biases; `None`: all 0.
    pub fn bias(self, fan_in: usize) -> Option<Distribution> {
        (self == Self::PyTorch).then(|| self.weight(fan_in, 1))
    }
}

fn normal(variance: f64) -> Distribution {
    Distribution::Normal { mean: 0.0, deviation: variance.sqrt() }
}

/// A uniform distribution within ±b has the variance b² / 3.
fn uniform(variance: f64) -> Distribution {
    let bound = (3.0 * variance).sqrt();
    Distribution::Uniform { low: -bound, high: bound }
}
