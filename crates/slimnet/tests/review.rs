//! Findings of a review of training by the program: each test fails until what it shows is mended.

mod common;

use common::Folder;
use slimnet_graph::graph::Dim;
use slimnet_graph::onnx;

const NEW: &str = "new resnet8 --channels 1 --resolution 8 --width 0.25 -o net.onnx --quiet";

fn says(folder: &Folder, arguments: &str) -> (bool, String) {
    let output = folder.run(arguments);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn very_long_patience_is_patience() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "train net.onnx --data digits --epochs 3 --rate 0.01 -o out.onnx --patience 18446744073709551615";
    let (good, said) = says(&folder, train);
    assert!(good, "{said}");
}

#[test]
fn very_many_epochs_do_not_panic() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "train net.onnx --data digits --epochs 18446744073709551615 --patience 1 --rate 0.1 -o out.onnx";
    let (_, said) = says(&folder, train);
    assert!(!said.contains("panicked") && !said.contains("overflow"), "{said}");
}

#[test]
fn settings_outside_their_range_are_refused() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let wrong = ["--clip=-1", "--average=2", "--momentum=-1", "--rate=-0.01", "--weight-decay=-0.1", "--warm-up=-3"];
    let train = "train net.onnx --data digits --epochs 1 -o out.onnx --quiet";
    let taken: Vec<_> = wrong.into_iter().filter(|wrong| says(&folder, &format!("{train} {wrong}")).0).collect();
    assert!(taken.is_empty(), "taken: {taken:?}");
}

/// The time of one sample of a network that can only be run on 64 is not the time of 64.
#[test]
fn the_latency_of_one_sample_is_of_one() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let mut graph = onnx::read_file(&folder.path("net.onnx")).unwrap();
    let input = graph.free_inputs().next().unwrap();
    graph.value_mut(input).shape.as_mut().unwrap()[0] = Dim::from(64usize);
    let values: Vec<_> = graph.values().filter(|(_, value)| value.producer().is_some()).map(|(id, _)| id).collect();
    values.into_iter().for_each(|id| graph.value_mut(id).shape = None);
    slimnet_graph::infer::infer_graph(&mut graph).unwrap();
    onnx::write_file(&graph, &folder.path("fixed.onnx")).unwrap();
    let latency = |net: &str| {
        let report = folder.succeed(&format!("eval {net} --data digits --json --threads 1"));
        serde_json::from_str::<serde_json::Value>(&report).unwrap()["latency_milliseconds"].as_f64()
    };
    let (one, fixed) = (latency("net.onnx").unwrap(), latency("fixed.onnx"));
    assert!(fixed.is_none_or(|fixed| fixed < 8.0 * one), "{one} ms, fixed to 64 samples {fixed:?} ms");
}
