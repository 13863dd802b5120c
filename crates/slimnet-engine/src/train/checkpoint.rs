//! States of training in files: ONNX files that hold nothing but tensors and metadata.

use std::path::Path;

use slimnet_graph::graph::{Graph, GraphError, Value};
use slimnet_graph::onnx::{self, ReadError, WriteError};

use super::trainer::State;

/// Why a state cannot be saved or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Two tensors have one name.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The file is no checkpoint.
    #[error("it is no checkpoint of slimnet")]
    Other,
    /// The checkpoint is of another run.
    #[error("it is of a run with other options, another network or other data")]
    OtherRun,
}

const STEP: &str = "slimnet.checkpoint.step";
const RUN: &str = "slimnet.checkpoint.run";

/// Saves a state. `run` says which run it is of. A file that is there stays whole until the new one is.
///
/// # Errors
/// If the file cannot be written.
pub fn write(state: &State, run: &str, file: &Path) -> Result<(), CheckpointError> {
    let mut graph = Graph::new("checkpoint");
    graph.model.metadata = vec![(STEP.into(), state.step.to_string()), (RUN.into(), run.into())];
    for (name, tensor) in &state.tensors {
        graph.add_value(Value::with_data(name, tensor.clone()))?;
    }
    onnx::write_file(&graph, file)?;
    Ok(())
}

/// Reads a state of the same run.
///
/// # Errors
/// If the file is no checkpoint, or one of another run.
pub fn read(file: &Path, run: &str) -> Result<State, CheckpointError> {
    let graph = onnx::read_file(file)?;
    let entry =
        |key: &str| graph.model.metadata.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
    let step = entry(STEP).and_then(|step| step.parse().ok()).ok_or(CheckpointError::Other)?;
    if entry(RUN) != Some(run) {
        return Err(CheckpointError::OtherRun);
    }
    let tensors = graph.values().filter_map(|(_, value)| Some((value.name.clone(), value.data.clone()?))).collect();
    Ok(State { step, tensors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_graph::tensor::Tensor;

    #[test]
    fn a_state_returns() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.checkpoint");
        let tensors = vec![
            ("b".to_owned(), Tensor::vector(vec![1f32, -0.0])),
            ("a".to_owned(), Tensor::vector(Vec::<f32>::new())),
        ];
        write(&State { step: 7, tensors }, "run", &file).unwrap();
        let state = read(&file, "run").unwrap();
        assert_eq!(state.step, 7);
        let find = |name: &str| state.tensors.iter().find(|(found, _)| found == name).unwrap().1.clone();
        assert_eq!((find("b"), find("a")), (Tensor::vector(vec![1f32, -0.0]), Tensor::vector(Vec::<f32>::new())));
        assert!(matches!(read(&file, "other"), Err(CheckpointError::OtherRun)));
    }
}
