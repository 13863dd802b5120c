//! Removal of channels that carry no information.
mod backward;
mod forward;
mod linear;
mod movement;
mod pattern;
use super::{SimplifyOptions, SimplifyReport};
use crate::graph::{Graph, GraphError};

/// Channels of one layer that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerChannels {
    /// Name of the layer's first output.
    pub layer: String,
}

/// Why channels cannot be removed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChannelsError {
    /// The graph's links are broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

pub(super) fn remove(
    graph: &mut Graph,
    options: &SimplifyOptions,
    _report: &mut SimplifyReport,
) -> Result<bool, ChannelsError> {
    let order = graph.schedule()?;
    let constants = forward::constants(graph, &order, options.dead);
    let _needs = backward::needs(graph, &order, &constants, options.dead);
    Ok(false)
}
