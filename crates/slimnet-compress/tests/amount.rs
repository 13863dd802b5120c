//! What is counted of a network.

use slimnet_compress::prune::{Amount, PruneError, measure};
use slimnet_compress::weight::weights;
use slimnet_graph::onnx::write_bytes;
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{Graph, Tensor};

#[test]
fn amounts_are_those_of_the_network_for_one_sample() {
    let mut graph = build("lenet-300-100", &ZooOptions::default()).unwrap();
    let products = 784 * 300 + 300 * 100 + 100 * 10;
    assert_eq!(measure(&graph, Amount::Macs).unwrap(), f64::from(products));
    assert_eq!(measure(&graph, Amount::Params).unwrap(), f64::from(products + 300 + 100 + 10));
    let bytes = write_bytes(&graph).unwrap().0.len();
    assert_eq!(measure(&graph, Amount::Bytes).unwrap(), bytes as f64);
    assert_eq!(measure(&graph, Amount::Sparsity).unwrap(), 0.0);
    // The largest matrix becomes 0; biases, which are 0 in a new network, are no weights.
    let largest = weights(&graph)[0].value;
    let shape = graph.value(largest).data.as_ref().unwrap().shape().to_vec();
    graph.set_data(largest, Tensor::from_values(shape, vec![-0.0f32; 784 * 300]).unwrap());
    assert_eq!(measure(&graph, Amount::Sparsity).unwrap(), f64::from(784 * 300) / f64::from(products));
    assert_eq!(measure(&graph, Amount::Params).unwrap(), f64::from(products + 410));
}

#[test]
fn a_network_without_weights_has_no_sparsity() {
    let error = measure(&Graph::new("empty"), Amount::Sparsity).unwrap_err();
    assert!(matches!(error, PruneError::Nothing(Amount::Sparsity)), "{error}");
}
