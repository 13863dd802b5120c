//! Well-known networks, built from scratch with a seed.
//!
//! Every network takes `[N, channels, height, width]` in `float32` and ends in logits `[N, classes]`: a softmax belongs
//! to the loss.

mod architectures;
mod builder;
mod init;
mod layers;
pub mod random;

use crate::graph::{Dim, Graph};

use architectures::Plan;
pub use builder::{BuildError, Builder, Conv2d, Padding};
pub use init::Init;

/// What a network is built with. Absent: what the architecture has by default.
#[derive(Debug, Clone, Default)]
pub struct ZooOptions {
    /// Number of classes.
    pub classes: Option<usize>,
    /// Channels of the input.
    pub channels: Option<usize>,
    /// Factor on the number of channels of every inner layer.
    pub width: Option<f64>,
    /// Height and width of the input.
    pub resolution: Option<usize>,
    /// How weights are initialised.
    pub init: Option<Init>,
    /// Seed of the weights.
    pub seed: u64,
}

/// An option that only some architectures take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZooOption {
    /// [`ZooOptions::width`].
    Width,
    /// [`ZooOptions::resolution`].
    Resolution,
}

impl ZooOption {
    /// Its name on the command line, without dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Resolution => "resolution",
        }
    }
}

/// A network of the zoo.
#[derive(Debug)]
pub struct Architecture {
    /// What [`build`] calls it.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// The paper or code that it comes from.
    pub source: &'static str,
    /// Default channels, height and width of the input.
    pub input: [usize; 3],
    /// Default number of classes.
    pub classes: usize,
    /// Default initialisation.
    pub init: Init,
    /// Which options it takes besides classes, channels, init and seed, which all take.
    pub takes: &'static [ZooOption],
    /// Least height and width of an input that every layer fits.
    pub least_resolution: usize,
    layers: architectures::Layers,
}

/// Every network of the zoo.
pub fn architectures() -> &'static [Architecture] {
    architectures::ALL
}

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ZooError {
    /// There is no network of this name.
    #[error("no architecture is named {name:?}; there are {}", names.join(", "))]
    UnknownName {
        /// The name.
        name: String,
        /// All names, the nearest first.
        names: Vec<&'static str>,
    },
    /// The network does not take an option.
    #[error("{architecture} does not take the option {option:?}")]
    NotTaken {
        /// The network.
        architecture: &'static str,
        /// The option.
        option: &'static str,
    },
    /// An option's value is out of range.
    #[error("{architecture}: {option}: expected {expected}, found {found}")]
    Value {
        /// The network.
        architecture: &'static str,
        /// The option.
        option: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The layers do not fit.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Builds a network of the zoo, the shape of every value known.
///
/// # Errors
/// If there is no such network, an option does not fit it, or it would not fit in memory.
pub fn build(name: &str, options: &ZooOptions) -> Result<Graph, ZooError> {
    let found = architectures::ALL.iter().find(|architecture| architecture.name == name);
    let architecture = found.ok_or_else(|| unknown(name))?;
    let given = [(ZooOption::Width, options.width.is_some()), (ZooOption::Resolution, options.resolution.is_some())];
    if let Some((option, _)) = given.iter().find(|(option, given)| *given && !architecture.takes.contains(option)) {
        return Err(ZooError::NotTaken { architecture: architecture.name, option: option.name() });
    }
    let plan = plan(architecture, options)?;
    let mut net = Builder::new(architecture.name, options.seed, options.init.unwrap_or(architecture.init));
    let shape = [Dim::named("N"), Dim::from(plan.input[0]), Dim::from(plan.input[1]), Dim::from(plan.input[2])];
    let input = net.input("input", &shape)?;
    let logits = (architecture.layers)(&mut net, input, &plan)?;
    net.output("logits", logits);
    Ok(net.finish())
}

/// The numbers to build with, all in range.
fn plan(architecture: &Architecture, options: &ZooOptions) -> Result<Plan, ZooError> {
    let refuse = |option, expected: String, found: String| ZooError::Value {
        architecture: architecture.name,
        option,
        expected,
        found,
    };
    let in_range = |option, given: Option<usize>, default: usize, least: usize, most: usize| match given {
        Some(found) if !(least..=most).contains(&found) => {
            Err(refuse(option, format!("{least} to {most}"), found.to_string()))
        }
        given => Ok(given.unwrap_or(default)),
    };
    let width = options.width.unwrap_or(1.0);
    if !(width > 0.0 && width <= 16.0) {
        return Err(refuse("width", "a factor above 0, at most 16".into(), width.to_string()));
    }
    let [channels, height, image_width] = architecture.input;
    let channels = in_range("channels", options.channels, channels, 1, 4096)?;
    let least = architecture.least_resolution;
    let resolution = in_range("resolution", options.resolution, height, least, 4096)?;
    let image_width = options.resolution.map_or(image_width, |_| resolution);
    let classes = in_range("classes", options.classes, architecture.classes, 1, 1_000_000)?;
    Ok(Plan { input: [channels, resolution, image_width], classes, width })
}

fn unknown(name: &str) -> ZooError {
    let mut names: Vec<_> = architectures::ALL.iter().map(|architecture| architecture.name).collect();
    names.sort_by_key(|known| edit_distance(name, known));
    ZooError::UnknownName { name: name.to_owned(), names }
}

/// Letters to insert, delete or replace to make one text the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<_> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (place, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, &other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
