//! How large a network is, in the terms in which a target is set.

use std::fmt;

use slimnet_graph::Graph;
use slimnet_graph::cost::{Cost, CostOptions, cost};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::written_size;

use super::PruneError;
use crate::weight::weights;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// The part of the elements of all [`weights`] that is 0.
    Sparsity,
    /// Multiply-accumulate operations, those of the nodes of which they are known; dimensions that are only named, such as
    /// a batch, count 1.
    Macs,
    /// Elements of all parameters, zeros included.
    Params,
    /// Bytes of the ONNX file.
    Bytes,
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Sparsity => "sparsity",
            Self::Macs => "MACs",
            Self::Params => "parameters",
            Self::Bytes => "bytes",
        })
    }
}

/// Measures a network: a part from 0 to 1, or a count, which is exact below 2⁵³.
///
/// # Errors
/// If shapes cannot be inferred, a count does not fit in 64 bits, no file can hold the network, or it has no weights that
/// could be sparse.
pub fn measure(graph: &Graph, amount: Amount) -> Result<f64, PruneError> {
    match amount {
        Amount::Sparsity => sparsity(graph),
        Amount::Macs => Ok(costs(graph)?.macs as f64),
        Amount::Params => Ok(costs(graph)?.parameters as f64),
        Amount::Bytes => Ok(written_size(graph)? as f64),
    }
}

fn sparsity(graph: &Graph) -> Result<f64, PruneError> {
    let (mut zeros, mut elements) = (0, 0);
    for weight in weights(graph) {
        let Some(data) = &graph.value(weight.value).data else { continue };
        let values = data.values::<f32>()?;
        zeros += values.iter().filter(|&&value| value == 0.0).count();
        elements += values.len();
    }
    if elements == 0 { Err(PruneError::Nothing(Amount::Sparsity)) } else { Ok(zeros as f64 / elements as f64) }
}

fn costs(graph: &Graph) -> Result<Cost, PruneError> {
    let mut graph = graph.clone();
    infer_graph(&mut graph)?;
    Ok(cost(&graph, &CostOptions::default())?)
}
