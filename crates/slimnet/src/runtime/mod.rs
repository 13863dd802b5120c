//! What runs networks: slimnet's own engine, and ONNX Runtime where its library is found when the program runs.
//!
//! Nothing of ONNX Runtime is needed to build slimnet. Its C interface is a table of functions ([`api`]); a few of them are
//! enough to run a network. It stands beside the own engine for two reasons: it is what many will run the network in, so
//! that what a technique gains must show there; and it is others' work, so that equal outputs prove something.

mod api;
mod library;
mod own;
mod session;

use std::sync::Arc;

use slimnet_graph::tensor::Tensor;
use slimnet_graph::{Graph, onnx};

use crate::failure::{Failure, Result};
use crate::measure::{Observe, Workload};
pub use library::{Library, VARIABLE};
pub use own::{Own, random_input, random_inputs};
use session::Session;

/// Why ONNX Runtime cannot be had, or cannot do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// A file that is no library for this machine, or none at all.
    #[error("{file} cannot be loaded as a library: {why}")]
    Load {
        /// The file.
        file: String,
        /// What the loader says.
        why: String,
    },
    /// Some other library.
    #[error("{file} is a library, but not ONNX Runtime: it has no OrtGetApiBase")]
    NotOnnxRuntime {
        /// The file.
        file: String,
    },
    /// A library from before the interface that is used.
    #[error("{file} is ONNX Runtime {version}; at least 1.11 is needed")]
    TooOld {
        /// The file.
        file: String,
        /// Its version.
        version: String,
    },
    /// ONNX Runtime does not do something.
    #[error("ONNX Runtime cannot {what}: {why}")]
    Refused {
        /// What it was asked to do.
        what: &'static str,
        /// What it says.
        why: String,
    },
    /// An input that it cannot be given.
    #[error("the input {name:?} is a tensor of strings, which is not given to ONNX Runtime; use a network without it")]
    Input {
        /// The input.
        name: String,
    },
    /// An output that cannot be read.
    #[error("ONNX Runtime gives the output {name:?} as something else than a tensor of numbers, which is not read")]
    Output {
        /// The output.
        name: String,
    },
    /// A name that C cannot express.
    #[error("the name {name:?} has a zero in it, which ONNX Runtime takes for its end; rename it")]
    Name {
        /// The name.
        name: String,
    },
}

/// The library that shall be used ([`Library::find`]), or `None`.
///
/// # Errors
/// If one is named or found that cannot be used.
pub fn find(given: Option<&std::path::Path>) -> Result<Option<Arc<Library>>> {
    Library::find(given).map_err(|error| {
        let advice = format!("name the file of another libonnxruntime by --ort or {VARIABLE}, or none");
        Failure::new("cannot use ONNX Runtime", &error).advise(&advice)
    })
}

/// A network in ONNX Runtime, as something to be measured.
pub struct Ort {
    session: Session,
    /// What cannot be done when a run fails.
    what: String,
}

impl Ort {
    /// Makes a network ready to run with these inputs on so many threads.
    pub fn new(
        library: &Arc<Library>,
        graph: &Graph,
        threads: usize,
        inputs: &[(String, Tensor)],
        what: &str,
    ) -> Result<Self> {
        let (network, _) = onnx::write_bytes(graph).map_err(|error| Failure::new(what, &error))?;
        let session = Session::new(library, &network, threads, inputs, &output_names(graph))
            .map_err(|error| Failure::new(what, &error))?;
        Ok(Self { session, what: what.to_owned() })
    }

    /// The outputs of the last run, in the order of the graph's.
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        self.session.outputs().map_err(|error| Failure::new(&self.what, &error))
    }
}

impl Workload for Ort {
    fn run(&mut self) -> Result<()> {
        self.session.run().map_err(|error| Failure::new(&self.what, &error))
    }

    fn run_observed(&mut self, _: Observe<'_>) -> Result<Option<std::time::Duration>> {
        // It tells nothing node by node.
        self.run().map(|()| None)
    }
}

/// Names of a graph's outputs.
pub fn output_names(graph: &Graph) -> Vec<String> {
    graph.outputs().iter().map(|&output| graph.value(output).name.clone()).collect()
}
