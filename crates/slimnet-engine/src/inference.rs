//! The form of a network in which it is run and no longer trained.

use slimnet_graph::Graph;
use slimnet_graph::simplify::{SimplifyError, SimplifyOptions, simplify};

/// The network with all that only training needs merged or left out: batch normalisations are part of the layers before
/// them, dropout and masks are gone, what is known is computed. Outputs are the same up to rounding, with their names.
///
/// # Errors
/// If the graph is not valid.
pub fn inference_form(graph: &Graph) -> Result<Graph, Box<SimplifyError>> {
    let mut graph = graph.clone();
    let options = SimplifyOptions {
        dead: 0.0,
        keep_training: false,
        fold_batch_norm: true,
        remove_channels: false,
        ..SimplifyOptions::default()
    };
    simplify(&mut graph, &options)?;
    Ok(graph)
}
