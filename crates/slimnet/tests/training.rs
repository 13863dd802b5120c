//! Training and evaluating by the program, on the digits that are built in.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::Folder;
use serde_json::Value;
use slimnet_graph::graph::{Dim, Graph, Value as GraphValue};
use slimnet_graph::ops::index::Gather;
use slimnet_graph::ops::reduction::{Reduce, ReduceKind};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::Stream;
use slimnet_graph::{Op, onnx};

const NEW: &str = "new resnet8 --channels 1 --resolution 8 --width 0.5 -o net.onnx --quiet";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_network_is_trained_and_evaluated() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let report = json(&folder.succeed("train net.onnx --data digits --epochs 8 -o out.onnx --json --log log.jsonl"));
    let accuracy = report["after"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 88.0, "{accuracy}");
    assert!(report["before"]["accuracy"].as_f64().unwrap() < 30.0);
    // The file says how its data is prepared, and evaluates to what training reported.
    let evaluated = json(&folder.succeed("eval out.onnx --data digits --json"));
    assert_eq!(evaluated["accuracy"].as_f64(), Some(accuracy));
    assert_eq!(evaluated["part"], "test");
    let classes = evaluated["classes"].as_array().unwrap();
    let sum = |key: &str| classes.iter().map(|class| class[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((classes.len(), sum("samples"), sum("correct")), (10, 360, evaluated["correct"].as_u64().unwrap()));
    assert!(folder.succeed("eval out.onnx --data digits --by-class").contains("class 9 "));
    let log = fs::read_to_string(folder.path("log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 8);
    assert!(json(log.lines().last().unwrap())["validation"]["accuracy"].as_f64().unwrap() > 80.0);
    assert!(!folder.path("out.onnx.checkpoint").exists(), "the state is left behind");
}

#[test]
fn the_same_bytes_on_any_threads_and_after_any_kills() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "train net.onnx --data digits --epochs 60 --augment-crop 1 --batch 32 --seed 4 --average 0.9 --best";
    folder.succeed(&format!("{train} -o one.onnx --threads 1"));
    folder.succeed(&format!("{train} -o two.onnx --threads 2"));
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("one.onnx") == read("two.onnx"), "threads change the result");
    let again = format!("{train} -o killed.onnx --resume --quiet --save-every 0.02");
    let mut kills = 0;
    while kills < 20 {
        let mut child = folder.command(&again).spawn().unwrap();
        // Somewhere between the start and a few hundred steps.
        std::thread::sleep(Duration::from_millis(60 + Stream::new(1, kills).below(0, 200)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    folder.succeed(&again);
    assert!(kills > 5, "only {kills} were killed");
    assert!(read("one.onnx") == read("killed.onnx"), "{kills} kills change the result");
}

#[test]
fn the_best_epoch_is_kept_and_training_ends_when_none_is_better() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "train net.onnx --data digits --epochs 60 --patience 3 --rate 0.2 --schedule constant";
    let report = json(&folder.succeed(&format!("{train} -o out.onnx --json --log log.jsonl")));
    let log: Vec<_> = fs::read_to_string(folder.path("log.jsonl")).unwrap().lines().map(json).collect();
    let accuracy = |epoch: &Value| epoch["validation"]["accuracy"].as_f64().unwrap();
    let most = log.iter().map(accuracy).fold(0.0, f64::max);
    let first = log.iter().position(|epoch| accuracy(epoch) == most).unwrap() + 1;
    assert!(log.len() < 60 && log.len() == first + 3, "{first} {}", log.len());
    assert_eq!(report["epochs"], log.len());
    assert_eq!(report["best_epoch"], first);
    assert_eq!(report["validation"]["accuracy"].as_f64(), Some(most));
    let evaluated = json(&folder.succeed("eval out.onnx --data digits --part validation --json"));
    assert_eq!(evaluated["accuracy"].as_f64(), Some(most));
}

#[test]
fn batch_normalization_is_put_in_and_measured_anew() {
    let folder = Folder::new();
    folder.succeed("new conv4 --channels 1 --resolution 8 -o net.onnx --quiet");
    let train = "train net.onnx --data digits --epochs 3 --insert-bn --reestimate-bn 20 -o out.onnx --json";
    let report = json(&folder.succeed(train));
    assert!(report["after"]["accuracy"].as_f64().unwrap() > 85.0, "{report}");
    let inspected = folder.succeed("inspect out.onnx");
    assert!(inspected.contains("batch_norm"), "{inspected}");
    // There is no place for more.
    let output = folder.run("train out.onnx --data digits --epochs 1 --insert-bn -o more.onnx");
    let failure = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && failure.contains("no convolution with a bias lacks normalization"),
        "{failure}"
    );
}

/// Where each weight of two axes and more is 0, by name.
fn zeros(graph: &Graph) -> BTreeMap<String, Vec<usize>> {
    let weights = graph.values().filter_map(|(_, value)| Some((value, value.data.as_ref()?)));
    let weights = weights.filter(|(_, data)| data.rank() >= 2 && data.element_type() == ElementType::F32);
    let places = |data: &Tensor| {
        let values = data.values::<f32>().unwrap();
        values.iter().enumerate().filter(|(_, value)| **value == 0.0).map(|(index, _)| index).collect()
    };
    weights.map(|(value, data)| (value.name.clone(), places(data))).collect()
}

#[test]
fn zeros_of_sparse_weights_stay() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let mut graph = onnx::read_file(&folder.path("net.onnx")).unwrap();
    let names: Vec<String> = zeros(&graph).into_keys().collect();
    for name in &names {
        let id = graph.find_value(name).unwrap();
        let data = graph.value(id).data.clone().unwrap();
        let values = data.values::<f32>().unwrap();
        let values =
            values.iter().enumerate().map(|(index, &value)| if index % 2 == 0 { 0.0 } else { value }).collect();
        graph.set_data(id, Tensor::from_values(data.shape().to_vec(), values).unwrap());
    }
    onnx::write_file(&graph, &folder.path("sparse.onnx")).unwrap();
    let before = zeros(&graph);
    let train = |output: &str, options: &str| {
        let output_ = folder.run(&format!("train sparse.onnx --data digits --epochs 4 -o {output} {options}"));
        assert!(output_.status.success());
        let said = String::from_utf8(output_.stderr).unwrap();
        (onnx::read_file(&folder.path(output)).unwrap(), said.contains("kept sparse: "), said)
    };
    let (kept, noted, said) = train("kept.onnx", "--json");
    assert_eq!(zeros(&kept), before);
    let note = format!("{} weights kept sparse: 50.0 % of the elements stay 0 ({0} taken as sparse", names.len());
    assert!(noted && said.contains(&note), "{said}");
    // Plain ONNX, and better than before.
    assert!(kept.nodes().all(|(_, node)| !node.op.is_own()) && kept.model.functions.is_empty());
    let accuracy = json(&folder.succeed("eval kept.onnx --data digits --json"))["accuracy"].as_f64().unwrap();
    assert!(accuracy > 80.0, "{accuracy}");
    let count = |graph: &Graph| zeros(graph).values().map(Vec::len).sum::<usize>();
    let (moved, noted, said) = train("moved.onnx", "--keep nothing");
    assert!(count(&moved) < count(&graph) / 10 && !noted, "{said}");
    // The file has no record, but what was trained has.
    let (moved, noted, said) = train("unrecorded.onnx", "--keep recorded");
    assert!(count(&moved) < count(&graph) / 10 && !noted, "{said}");
    fs::rename(folder.path("kept.onnx"), folder.path("sparse.onnx")).unwrap();
    let (kept, noted, said) = train("recorded.onnx", "--keep recorded");
    assert_eq!(zeros(&kept), before);
    assert!(noted && !said.contains("taken as sparse"), "{said}");
}

/// Sequences of numbers of words, of a length that the network only names; one target a sample, for an output of one number.
#[test]
fn numbers_of_words_and_lengths_come_from_the_data() {
    let folder = Folder::new();
    let mut graph = Graph::new("words");
    let x = graph.add_value(GraphValue::new("words")).unwrap();
    (graph.value_mut(x).element_type, graph.value_mut(x).shape) =
        (Some(ElementType::I64), Some(vec![Dim::named("N"), Dim::named("L")]));
    graph.add_input(x).unwrap();
    let table = Tensor::from_values(vec![5, 1], vec![0.1f32, 0.2, -0.1, 0.0, 0.3]).unwrap();
    let table = graph.add_constant("table", table);
    let found = graph.apply("found", Gather { axis: 0 }, &[table, x]);
    let axes = graph.add_constant("axes", Tensor::vector(vec![1i64]));
    let mean = Reduce { keepdims: false, noop_with_empty_axes: false };
    let mean = graph.apply("mean", Op::Reduce(ReduceKind::Mean, mean), &[found, axes]);
    graph.add_output(mean);
    slimnet_graph::infer::infer_graph(&mut graph).unwrap();
    onnx::write_file(&graph, &folder.path("net.onnx")).unwrap();
    // The mean of the words' own numbers.
    let words: Vec<i64> = (0..60 * 7).map(|place| Stream::new(2, place).below(0, 5) as i64).collect();
    let target: Vec<f32> = words.chunks(7).map(|words| words.iter().sum::<i64>() as f32 / 7.0).collect();
    let mut data = Graph::new("data");
    for (name, tensor) in
        [("words", Tensor::from_values(vec![60, 7], words).unwrap()), ("targets", Tensor::vector(target))]
    {
        data.add_value(GraphValue::with_data(name, tensor)).unwrap();
    }
    write_safetensors(&data, &folder.path("data.safetensors"));
    let train = "train net.onnx --data data.safetensors --epochs 60 --batch 20 --rate 0.5 -o out.onnx --json";
    let report = json(&folder.succeed(train));
    assert!(report["validation"]["loss"].as_f64().unwrap() < 0.02, "{report}");
    folder.succeed("eval out.onnx --data data.safetensors");
}

/// Writes the data of a graph's values.
fn write_safetensors(data: &Graph, file: &std::path::Path) {
    let (mut header, mut bytes) = (serde_json::Map::new(), Vec::new());
    for (_, value) in data.values() {
        let tensor = value.data.as_ref().unwrap();
        let start = bytes.len();
        bytes.extend_from_slice(tensor.bytes().unwrap());
        let dtype = if tensor.element_type() == ElementType::I64 { "I64" } else { "F32" };
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [start, bytes.len()]});
        header.insert(value.name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(file, [&length[..], &header, &bytes].concat()).unwrap();
}

#[test]
fn files_that_are_read_are_not_written_over() {
    let folder = Folder::new();
    folder.succeed(NEW);
    fs::copy(folder.path("net.onnx"), folder.path("teacher.onnx")).unwrap();
    fs::write(folder.path("out.onnx.checkpoint"), "precious").unwrap();
    for wrong in [
        "-o out.onnx --checkpoint out.onnx",
        "-o other.onnx --checkpoint net.onnx",
        "-o teacher.onnx",
        "-o other.onnx --log teacher.onnx",
        "-o other.onnx --log nowhere/log.jsonl",
        "-o out.onnx",
    ] {
        let output = folder.run(&format!("train net.onnx --data digits --epochs 1 --teacher teacher.onnx {wrong}"));
        assert!(!output.status.success(), "{wrong}");
    }
    assert_eq!(fs::read(folder.path("net.onnx")).unwrap(), fs::read(folder.path("teacher.onnx")).unwrap());
    assert_eq!(fs::read_to_string(folder.path("out.onnx.checkpoint")).unwrap(), "precious");
    assert!(!folder.path("out.onnx").exists() && !folder.path("other.onnx").exists());
}

#[test]
fn class_labels_are_targets_of_binary_cross_entropy() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let report =
        json(&folder.succeed("train net.onnx --data digits --epochs 15 --rate 0.2 --loss bce -o out.onnx --json"));
    // Counted by the largest score, as with other losses.
    assert!(report["after"]["accuracy"].as_f64().unwrap() > 80.0 && report["after"]["samples"] == 360, "{report}");
    let classes = json(&folder.succeed("eval out.onnx --data digits --json"));
    assert_eq!(classes["accuracy"], report["after"]["accuracy"]);
}

#[test]
fn a_student_learns_from_teachers_without_labels() {
    let folder = Folder::new();
    folder.succeed(NEW);
    folder.succeed("train net.onnx --data digits --epochs 8 -o teacher.onnx --quiet");
    folder.succeed("new mlp --channels 1 --resolution 8 --width 0.1 -o student.onnx --quiet --seed 2");
    let train =
        "train student.onnx --data digits --epochs 12 --loss none --teacher teacher.onnx -o out.onnx --json --quiet";
    let report = json(&folder.succeed(train));
    assert!(report["after"]["accuracy"].as_f64().unwrap() > 80.0, "{report}");
}

#[test]
fn what_does_not_fit_is_said_and_nothing_is_written() {
    let folder = Folder::new();
    folder.succeed(NEW);
    folder.succeed("new lenet-5 -o large.onnx --quiet");
    folder.succeed("new resnet8 --channels 1 --resolution 8 --classes 5 -o few.onnx --quiet");
    for (name, arguments) in [
        ("shape", "train large.onnx --data digits -o out.onnx"),
        ("labels", "train few.onnx --data digits -o out.onnx"),
        ("rate", "train net.onnx --data digits -o out.onnx --rate 1e9 --quiet"),
        ("data", "train net.onnx --data nothing -o out.onnx"),
        ("no-loss", "train net.onnx --data digits -o out.onnx --loss none"),
        ("teacher", "train net.onnx --data digits -o out.onnx --teacher few.onnx"),
        ("mse", "train net.onnx --data digits -o out.onnx --loss mse"),
        ("best", "train net.onnx --data digits -o out.onnx --best --validation 0"),
        ("temperature", "train net.onnx --data digits -o out.onnx --teacher net.onnx --temperature 0"),
        (
            "weights",
            "train net.onnx --data digits -o out.onnx --teacher net.onnx --teacher-weight 1 --teacher-weight 2",
        ),
        ("freeze", "train net.onnx --data digits -o out.onnx --freeze conv9*"),
        ("schedule", "train net.onnx --data digits -o out.onnx --schedule slowly"),
        ("eval-part", "eval net.onnx --data digits --output-name logit"),
        ("fetch", "data fetch imagenet"),
    ] {
        folder.snapshot(&format!("training-{name}"), arguments);
    }
    assert!(!folder.path("out.onnx").exists());
    // A state of another run is refused.
    let mut child = folder.command("train net.onnx --data digits --epochs 500 -o out.onnx --quiet").spawn().unwrap();
    for _ in 0..600 {
        if folder.path("out.onnx.checkpoint").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    folder.snapshot("training-other-run", "train net.onnx --data digits --epochs 400 -o out.onnx --resume");
    let other = "train net.onnx --data digits --epochs 500 -o out.onnx --quiet --resume --keep nothing";
    assert!(!folder.run(other).status.success(), "zeros that are kept make no difference");
}

const SMALL: &str = "new resnet8 --channels 1 --resolution 8 --width 0.25 -o net.onnx --quiet";

fn says(folder: &Folder, arguments: &str) -> (bool, String) {
    let output = folder.run(arguments);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn very_long_patience_is_patience() {
    let folder = Folder::new();
    folder.succeed(SMALL);
    let train = "train net.onnx --data digits --epochs 3 --rate 0.01 -o out.onnx --patience 18446744073709551615";
    let (good, said) = says(&folder, train);
    assert!(good, "{said}");
}

#[test]
fn very_many_epochs_do_not_panic() {
    let folder = Folder::new();
    folder.succeed(SMALL);
    let train = "train net.onnx --data digits --epochs 18446744073709551615 --patience 1 --rate 0.1 -o out.onnx";
    let (_, said) = says(&folder, train);
    assert!(!said.contains("panicked") && !said.contains("overflow"), "{said}");
}

#[test]
fn settings_outside_their_range_are_refused() {
    let folder = Folder::new();
    folder.succeed(SMALL);
    let wrong = ["--clip=-1", "--average=2", "--momentum=-1", "--rate=-0.01", "--weight-decay=-0.1", "--warm-up=-3"];
    let train = "train net.onnx --data digits --epochs 1 -o out.onnx --quiet";
    let taken: Vec<_> = wrong.into_iter().filter(|wrong| says(&folder, &format!("{train} {wrong}")).0).collect();
    assert!(taken.is_empty(), "taken: {taken:?}");
}

/// The time of one sample of a network that can only be run on 64 is not the time of 64.
#[test]
fn the_latency_of_one_sample_is_of_one() {
    let folder = Folder::new();
    folder.succeed(SMALL);
    let mut graph = onnx::read_file(&folder.path("net.onnx")).unwrap();
    let input = graph.free_inputs().next().unwrap();
    graph.value_mut(input).shape.as_mut().unwrap()[0] = Dim::from(64usize);
    let values: Vec<_> = graph.values().filter(|(_, value)| value.producer().is_some()).map(|(id, _)| id).collect();
    for id in values {
        graph.value_mut(id).shape = None;
    }
    slimnet_graph::infer::infer_graph(&mut graph).unwrap();
    onnx::write_file(&graph, &folder.path("fixed.onnx")).unwrap();
    let latency = |net: &str| {
        let report = folder.succeed(&format!("eval {net} --data digits --json --threads 1"));
        serde_json::from_str::<Value>(&report).unwrap()["latency_milliseconds"].as_f64()
    };
    let (one, fixed) = (latency("net.onnx").unwrap(), latency("fixed.onnx"));
    assert!(fixed.is_none_or(|fixed| fixed < 8.0 * one), "{one} ms, fixed to 64 samples {fixed:?} ms");
}
