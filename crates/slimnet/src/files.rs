//! Networks in files.

use std::fs;
use std::path::{Path, PathBuf};

use slimnet_graph::Graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::{self, Written};

use crate::failure::{Failure, Result};

/// A network with the shapes of all its values.
pub fn read(path: &Path) -> Result<Graph> {
    let cannot = |why: &str| Failure::because("cannot read the network", why).about(path);
    let facts = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => cannot("there is no such file"),
        _ => cannot(&error.to_string()),
    })?;
    if facts.is_dir() {
        return Err(cannot("it is a folder; expected an ONNX file"));
    }
    if facts.len() == 0 {
        return Err(cannot("the file is empty; expected an ONNX file"));
    }
    let mut graph =
        onnx::read_file(path).map_err(|error| Failure::new("cannot read the network", &error.problem).about(path))?;
    infer_graph(&mut graph)
        .map_err(|error| Failure::new("the shapes of the network do not fit", &error).about(path))?;
    Ok(graph)
}

/// Whether two paths lead to one file.
pub fn same(first: &Path, second: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole(first) == whole(second)
}

/// What lies beside an output: its name with an ending behind it.
pub fn beside(output: &Path, ending: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Checks, before any work is done, that a file can be written.
pub fn check_output(path: &Path) -> Result<()> {
    let cannot = |why: &str| Failure::because("cannot write the network", why).about(path);
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(cannot(&format!("the folder \"{}\" does not exist", folder.display())).advise("make it first"));
    }
    if let Ok(facts) = fs::metadata(path) {
        if facts.is_dir() {
            return Err(cannot("it is a folder").advise("give the name of a file"));
        }
        if facts.permissions().readonly() {
            let advice = "make it writable, or write to another file";
            return Err(cannot("the file is there already and write-protected").advise(advice));
        }
    }
    Ok(())
}

/// Writes a network; a file that is there stays whole until the new one is.
pub fn write(graph: &Graph, path: &Path) -> Result<Written> {
    onnx::write_file(graph, path).map_err(|error| Failure::new("cannot write the network", &error).about(path))
}

/// Size of a network's file in bytes, external data included.
pub fn size(graph: &Graph, path: &Path) -> Result<u64> {
    let size = fs::metadata(path).map(|facts| facts.len());
    let size = size.map_err(|error| Failure::new("cannot read the size of", &error).about(path))?;
    let data: u64 =
        graph.values().filter_map(|(_, value)| value.data.as_ref()).map(|data| data.byte_len() as u64).sum();
    // A file that is smaller than its data has it elsewhere.
    Ok(if size < data { size.saturating_add(data) } else { size })
}
