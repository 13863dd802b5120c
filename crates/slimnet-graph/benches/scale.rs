//! How the time of each step grows with the size of the graph: `cargo bench --bench scale`.
//!
//! A network of residual blocks with few channels, of 10,000 and of 100,000 nodes, is written, read, validated, inferred,
//! counted, labelled and simplified. Where time grows linearly the ratio stays near 10.

use std::hint::black_box;
use std::time::{Duration, Instant};

use slimnet_graph::axes::{self, CoupleOptions};
use slimnet_graph::cost::{self, CostOptions};
use slimnet_graph::simplify::{self, SimplifyOptions};
use slimnet_graph::zoo::{BuildError, Builder, Conv2d, Init};
use slimnet_graph::{Dim, Graph, infer, onnx, validate};

/// Blocks of convolution, batch normalisation, activation and addition.
fn network(nodes: usize) -> Result<Graph, BuildError> {
    let mut net = Builder::new("scale", 0, Init::KaimingFanIn);
    let shape = [Dim::named("N"), Dim::from(4usize), Dim::from(8usize), Dim::from(8usize)];
    let mut x = net.input("input", &shape)?;
    for block in 0..nodes / 4 {
        x = net.scope(&format!("blocks.{block}"), |net| {
            let y = net.conv2d("conv", x, Conv2d::new(4, 1))?;
            let y = net.batch_norm("bn", y, 1e-5)?;
            let y = net.relu("relu", y)?;
            net.add("add", x, y)
        })?;
    }
    net.output("output", x);
    Ok(net.finish())
}

fn time<T>(times: &mut Vec<(&'static str, Duration)>, step: &'static str, body: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = body();
    times.push((step, start.elapsed()));
    result
}

fn measure(nodes: usize) -> Vec<(&'static str, Duration)> {
    let mut times = Vec::new();
    let graph = time(&mut times, "build", || network(nodes).expect("the blocks fit each other"));
    let (bytes, _) = time(&mut times, "write", || onnx::write_bytes(&graph).expect("it can be written"));
    let mut graph = time(&mut times, "read", || onnx::read_bytes(bytes.into(), None).expect("it can be read"));
    time(&mut times, "validate", || validate::validate(&graph).expect("it is valid"));
    time(&mut times, "infer", || infer::infer_graph(&mut graph).expect("its shapes fit"));
    black_box(time(&mut times, "cost", || cost::cost(&graph, &CostOptions::default()).expect("it is small")));
    black_box(time(&mut times, "label", || axes::couple(&graph, &CoupleOptions::default()).expect("it has an order")));
    let options = SimplifyOptions::default();
    time(&mut times, "simplify", || simplify::simplify(&mut graph, &options).expect("it can be simplified"));
    let total = times.iter().map(|(_, time)| *time).sum();
    times.push(("total", total));
    times
}

fn main() {
    let sizes = [10_000, 100_000];
    // Pages and caches are warm afterwards.
    measure(1_000);
    let [small, large] = sizes.map(measure);
    println!("{:10} {:>12} {:>12} {:>7}", "nodes", sizes[0], sizes[1], "ratio");
    for ((step, small), (_, large)) in small.into_iter().zip(large) {
        let (small, large) = (small.as_secs_f64(), large.as_secs_f64());
        println!("{step:10} {small:>10.3} s {large:>10.3} s {:>7.1}", large / small);
    }
}
