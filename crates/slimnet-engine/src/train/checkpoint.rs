//! States of training in files: ONNX files that hold nothing but tensors and metadata.

use std::path::Path;

use slimnet_graph::graph::{Graph, GraphError, Value};
use slimnet_graph::onnx::{self, ReadError, WriteError};
use slimnet_graph::tensor::Tensor;

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
    /// The contents are not those that were written.
    #[error("it is damaged: its contents are not those that were written")]
    Damaged,
    /// The checkpoint is of another run.
    #[error("it is of a run with other options, another network or other data")]
    OtherRun,
}

/// A number that other contents would not have.
fn checksum(tensors: &[(String, Tensor)]) -> String {
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut sum = 0u64;
    for (name, tensor) in tensors {
        let bytes = tensor.bytes().map(AsRef::as_ref).unwrap_or_default();
        for chunk in name.as_bytes().chunks(8).chain(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // Odd multiplications and rotations lose nothing: each bit of a word changes the sum.
            sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        sum ^= bytes.len() as u64;
    }
    format!("{sum:016x}")
}

const SUM: &str = "slimnet.checkpoint.sum";
const STEP: &str = "slimnet.checkpoint.step";
const RUN: &str = "slimnet.checkpoint.run";

/// Saves a state. `run` says which run it is of. A file that is there stays whole until the new one is.
///
/// # Errors
/// If the file cannot be written.
pub fn write(state: &State, run: &str, file: &Path) -> Result<(), CheckpointError> {
    let mut graph = Graph::new("checkpoint");
    let sum = checksum(&state.tensors);
    graph.model.metadata = vec![(STEP.into(), state.step.to_string()), (RUN.into(), run.into()), (SUM.into(), sum)];
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
    let tensors: Vec<_> =
        graph.values().filter_map(|(_, value)| Some((value.name.clone(), value.data.clone()?))).collect();
    if entry(SUM) != Some(checksum(&tensors).as_str()) {
        return Err(CheckpointError::Damaged);
    }
    Ok(State { step, tensors })
}

/// Whether a file is a checkpoint, of whatever run.
pub fn is_checkpoint(file: &Path) -> bool {
    let entry = |graph: Graph| graph.model.metadata.iter().any(|(key, _)| key == STEP);
    onnx::read_file(file).is_ok_and(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(is_checkpoint(&file));
        let mut bytes = std::fs::read(&file).unwrap();
        let one = 1f32.to_le_bytes();
        let place = bytes.windows(4).position(|window| window == one).unwrap();
        bytes[place] ^= 0x40;
        std::fs::write(&file, bytes).unwrap();
        assert!(matches!(read(&file, "run"), Err(CheckpointError::Damaged)));
    }
}
