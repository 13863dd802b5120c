//! Tensors whose data lies in another file.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::error::{ExternalProblem, ReadProblem};
use super::memory_map;
use super::proto::tensor_proto::DataLocation;
use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};

/// The files beside a network that its tensors may lie in, each opened once.
pub(super) struct ExternalFiles {
    directory: Option<PathBuf>,
    files: HashMap<String, Bytes>,
}

impl ExternalFiles {
    /// Files in `directory`; none can be had without it.
    pub(super) fn new(directory: Option<&Path>) -> Self {
        Self { directory: directory.map(Path::to_owned), files: HashMap::new() }
    }

    /// Puts the data of a tensor that lies elsewhere into it (as a slice of the other file).
    pub(super) fn resolve(&mut self, tensor: &mut TensorProto) -> Result<(), ReadProblem> {
        if tensor.data_location() != DataLocation::External {
            return Ok(());
        }
        let data = self.data(tensor).map_err(|problem| ReadProblem::External {
            name: tensor.name().to_owned(),
            location: entry(tensor, "location").unwrap_or_default().to_owned(),
            problem,
        })?;
        tensor.raw_data = Some(data);
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    fn data(&mut self, tensor: &TensorProto) -> Result<Bytes, ExternalProblem> {
        let location = entry(tensor, "location").filter(|text| !text.is_empty()).ok_or(ExternalProblem::NoLocation)?;
        let number = |key: &'static str| {
            let parse =
                |text: &str| text.parse::<u64>().map_err(|_| ExternalProblem::Number { key, found: text.to_owned() });
            entry(tensor, key).map(parse).transpose()
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.file(location)?;
        let size = file.len() as u64;
        let length = length.unwrap_or_else(|| size.saturating_sub(offset));
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(file.slice(offset as usize..end as usize)),
            _ => Err(ExternalProblem::TooShort { offset, length, file: size }),
        }
    }

    fn file(&mut self, location: &str) -> Result<Bytes, ExternalProblem> {
        if let Some(bytes) = self.files.get(location) {
            return Ok(bytes.clone());
        }
        let directory = self.directory.as_ref().ok_or(ExternalProblem::NoFolder)?;
        let relative = Path::new(location);
        if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(ExternalProblem::Outside);
        }
        // The names alone do not tell where symbolic links lead.
        let (home, path) = (directory.canonicalize()?, directory.join(relative).canonicalize()?);
        if !path.starts_with(home) {
            return Err(ExternalProblem::Outside);
        }
        let bytes = memory_map::read(&path)?;
        self.files.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// Resolves every tensor in the attributes of a node that is kept whole, subgraphs included.
    pub(super) fn resolve_node(&mut self, node: &mut NodeProto) -> Result<(), ReadProblem> {
        node.attribute.iter_mut().try_for_each(|attribute| self.resolve_attribute(attribute))
    }

    fn resolve_attribute(&mut self, attribute: &mut AttributeProto) -> Result<(), ReadProblem> {
        attribute
            .t
            .as_deref_mut()
            .into_iter()
            .chain(&mut attribute.tensors)
            .try_for_each(|tensor| self.resolve(tensor))?;
        attribute
            .sparse_tensor
            .as_deref_mut()
            .into_iter()
            .chain(&mut attribute.sparse_tensors)
            .try_for_each(|tensor| self.resolve_sparse(tensor))?;
        attribute
            .g
            .as_deref_mut()
            .into_iter()
            .chain(&mut attribute.graphs)
            .try_for_each(|graph| self.resolve_graph(graph))
    }

    pub(super) fn resolve_sparse(&mut self, tensor: &mut SparseTensorProto) -> Result<(), ReadProblem> {
        tensor.values.iter_mut().chain(&mut tensor.indices).try_for_each(|tensor| self.resolve(tensor))
    }

    /// Resolves every tensor of a graph that is kept whole.
    pub(super) fn resolve_graph(&mut self, graph: &mut GraphProto) -> Result<(), ReadProblem> {
        graph.initializer.iter_mut().try_for_each(|tensor| self.resolve(tensor))?;
        graph.sparse_initializer.iter_mut().try_for_each(|tensor| self.resolve_sparse(tensor))?;
        graph.node.iter_mut().try_for_each(|node| self.resolve_node(node))
    }
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
}
