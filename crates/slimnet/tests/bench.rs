//! Measuring by the program. Times are never asserted: they are the machine's.

mod common;

use common::Folder;
use serde_json::Value as Json;
use slimnet_graph::onnx::write_file;
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::ops::index::Gather;
use slimnet_graph::ops::layout::Reshape;
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor, Value};

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn name(name: &str) -> Dim {
    Dim::named(name)
}

/// A file with a network of one node that has one input.
fn write_network(folder: &Folder, file: &str, element_type: ElementType, shape: Vec<Dim>) {
    let mut graph = Graph::new("small");
    let mut input = Value::new("x");
    (input.element_type, input.shape) = (Some(element_type), Some(shape));
    let input = graph.add_value(input).unwrap();
    graph.add_input(input).unwrap();
    let output = if element_type == ElementType::F32 {
        graph.apply("relu", Unary::Relu, &[input])
    } else {
        // Has one row: every index but 0 is out of range.
        let rows = graph.add_constant("rows", Tensor::from_values(vec![1, 2], vec![1f32, 2.0]).unwrap());
        graph.apply("rows_of", Op::Gather(Gather { axis: 0 }), &[rows, input])
    };
    graph.add_output(output);
    write_file(&graph, &folder.path(file)).unwrap();
}

/// Every number of the machine becomes `#`; columns, which are as wide as the numbers, one space.
fn mask(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["AVX2 and FMA", "AVX-512", "NEON", "no vectors", "vectors"] {
        text = text.replace(&format!("engine, {name},"), "engine, INSTRUCTIONS,");
    }
    let mut masked = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' | '.' | ',' if masked.ends_with('#') => {}
            '0'..='9' => masked.push('#'),
            ' ' if masked.ends_with(' ') => {}
            _ => masked.push(letter),
        }
    }
    for prefix in ["k", "M", "G"] {
        masked = masked.replace(&format!("# {prefix}B"), "# B");
    }
    masked
}

#[test]
fn what_is_measured_is_said() {
    let folder = Folder::new();
    folder.snapshot_masked("bench", "bench lenet-5 --runs 3 --batch 1,8 --threads 1", &mask);
    folder.snapshot_masked(
        "bench-against",
        "bench lenet-300-100 --against lenet-5 --runs 3 --batch 2 --threads 1",
        &mask,
    );
    folder.snapshot_masked("bench-train", "bench train lenet-5 --runs 2 --batch 4 --threads 1 --quiet", &mask);
    write_network(&folder, "named.onnx", ElementType::F32, vec![name("N"), name("L"), name("K")]);
    folder.snapshot_masked("bench-dim", "bench named.onnx --dim L=5 --runs 1 --threads 1 --quiet", &mask);
}

#[test]
fn runs_and_operators() {
    let folder = Folder::new();
    let report = json(&folder.succeed("bench lenet-5 --runs 3 --batch 1,4 --threads 2 --operators --json --quiet"));
    assert_eq!((&report["what"], &report["runtime"]), (&"run".into(), &"own".into()));
    assert_eq!(report["threads"], 2);
    let measurements = report["measurements"].as_array().unwrap();
    let batches: Vec<_> = measurements.iter().map(|measurement| measurement["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [1, 4]);
    let of = |index: usize| &measurements[index]["networks"][0];
    let whole = |value: &Json| value.as_u64().unwrap();
    assert_eq!(whole(&of(1)["macs"]), 4 * whole(&of(0)["macs"]));
    for index in [0, 1] {
        let figures = of(index);
        assert_eq!(figures["runs"], 3);
        let number = |value: &Json| value.as_f64().unwrap();
        let spread = &figures["milliseconds"];
        assert!(number(&spread["percentile_10"]) <= number(&spread["median"]));
        assert!(number(&spread["median"]) <= number(&spread["percentile_90"]));
        assert!(whole(&figures["memory_lower_bound_bytes"]) <= whole(&figures["memory_bytes"]));
        let nodes = figures["operators"]["nodes"].as_array().unwrap();
        let operators = figures["operators"]["operators"].as_array().unwrap();
        for parts in [nodes, operators] {
            // Moves of tensors to another layout belong to no node.
            let shares = parts.iter().map(|part| number(&part["share"])).sum::<f64>();
            assert!(shares < 1.0 + 1e-9 && (shares > 1.0 - 1e-9 || parts.len() == nodes.len()), "{shares}");
            let macs = parts.iter().filter_map(|part| part["macs"].as_u64()).sum::<u64>();
            assert_eq!(macs, whole(&figures["macs"]), "every MAC is some node's");
            let times: Vec<_> = parts.iter().map(|part| number(&part["milliseconds"])).collect();
            assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        }
        let convolutions = operators.iter().find(|operator| operator["operator"] == "Conv").unwrap();
        assert_eq!(convolutions["nodes"], 2);
    }
}

#[test]
fn training_has_gradients_and_an_optimizer() {
    let folder = Folder::new();
    let bench = |options: &str| {
        let command = format!("bench train lenet-300-100 --runs 2 --operators --json --quiet {options}");
        json(&folder.succeed(&command))
    };
    let (sgd, adam) = (bench("--batch 3"), bench("--optimizer adamw"));
    assert_eq!((&sgd["what"], &sgd["measurements"][0]["batch"]), (&"train".into(), &3.into()));
    assert_eq!(adam["measurements"][0]["batch"], 64);
    let figures = |report: &Json| report["measurements"][0]["networks"][0].clone();
    let bytes = |report: &Json| figures(report)["optimizer_bytes"].as_u64().unwrap();
    // One vector of float32 as long as the parameters, or two; tensors may be padded.
    assert!((266_610 * 4..270_000 * 4).contains(&bytes(&sgd)), "{}", bytes(&sgd));
    assert_eq!(bytes(&adam), 2 * bytes(&sgd));
    let names: Vec<_> = figures(&sgd)["operators"]["operators"].as_array().unwrap().clone();
    for operator in ["Gemm", "Gemm (gradient)", "optimizer"] {
        assert!(names.iter().any(|found| found["operator"] == operator), "{operator}: {names:?}");
    }
}

#[test]
fn two_networks_take_turns() {
    let folder = Folder::new();
    folder.succeed("new lenet-300-100 -o a.onnx --quiet");
    for what in ["", "train "] {
        let command = format!("bench {what}a.onnx --against a.onnx --batch 2 --runs 5 --json --quiet");
        let report = json(&folder.succeed(&command));
        let measurement = &report["measurements"][0];
        assert_eq!(measurement["networks"].as_array().unwrap().len(), 2);
        assert!(measurement["ratio"]["median"].as_f64().unwrap() > 0.0);
        let memory = |index: usize| measurement["networks"][index]["memory_bytes"].clone();
        assert_eq!(memory(0), memory(1));
    }
}

#[test]
fn inputs_fit_the_network() {
    let folder = Folder::new();
    write_network(&folder, "indices.onnx", ElementType::I64, vec![name("N"), Dim::from(3usize)]);
    folder.succeed("bench indices.onnx --runs 1 --quiet");
    write_network(&folder, "fixed.onnx", ElementType::F32, vec![Dim::from(2usize), Dim::from(3usize)]);
    let report = json(&folder.succeed("bench fixed.onnx --runs 1 --json --quiet"));
    assert_eq!(report["measurements"].as_array().unwrap().len(), 1);
    assert_eq!(report["measurements"][0]["batch"], 2);
    folder.succeed("bench fixed.onnx --runs 1 --batch 2 --quiet");
}

#[test]
fn a_usual_batch_that_a_network_cannot_have_is_left_out() {
    let folder = Folder::new();
    let mut graph = Graph::new("small");
    let mut input = Value::new("x");
    (input.element_type, input.shape) = (Some(ElementType::F32), Some(vec![name("N"), Dim::from(3usize)]));
    let input = graph.add_value(input).unwrap();
    graph.add_input(input).unwrap();
    let shape = graph.add_constant("shape", Tensor::vector(vec![3i64, 1]));
    let output = graph.apply("turned", Op::Reshape(Reshape { allowzero: false }), &[input, shape]);
    graph.add_output(output);
    write_file(&graph, &folder.path("one.onnx")).unwrap();
    folder.snapshot_masked("bench-left-out", "bench one.onnx --runs 1 --threads 1", &mask);
    folder.snapshot("bench-not-at-two", "bench one.onnx --batch 2");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = Folder::new();
    write_network(&folder, "fixed.onnx", ElementType::F32, vec![Dim::from(2usize), Dim::from(3usize)]);
    write_network(&folder, "other.onnx", ElementType::F32, vec![Dim::from(4usize), Dim::from(3usize)]);
    for (name, arguments) in [
        ("nothing", "bench"),
        ("missing", "bench missing.onnx"),
        ("architecture", "bench lenet-6"),
        ("batch", "bench lenet-5 --batch 0"),
        ("huge", "bench lenet-5 --batch 1000000000000000000"),
        ("fixed", "bench fixed.onnx --batch 2,64"),
        ("fixed-both", "bench fixed.onnx --against other.onnx"),
        ("dim-unknown", "bench lenet-5 --dim M=3"),
        ("dim-batch", "bench lenet-5 --dim N=3"),
        ("seconds", "bench lenet-5 --seconds 0"),
        ("train-parameters", "bench train fixed.onnx"),
        ("train-fixed", "bench train fixed.onnx --batch 64 --json"),
        ("train-loss", "bench train lenet-5 --loss none"),
        ("train-output", "bench train lenet-5 --output-name y"),
        ("runtime", "bench lenet-5 --runtime tvm"),
        ("ort-alone", "bench lenet-5 --ort some.so"),
    ] {
        folder.snapshot(&format!("bench-{name}"), arguments);
    }
}

#[test]
fn a_library_that_is_named_must_be_onnx_runtime() {
    let folder = Folder::new();
    std::fs::write(folder.path("text.so"), "no library").unwrap();
    for name in ["text.so", "missing.so", "."] {
        let arguments = format!("bench lenet-5 --runtime ort --ort {name}");
        // The command line goes before the variable.
        let by_option = folder.command(&arguments).env("ORT_DYLIB_PATH", "other.so").output().unwrap();
        let by_variable =
            folder.command("bench lenet-5 --runtime own,ort").env("ORT_DYLIB_PATH", name).output().unwrap();
        for output in [by_option, by_variable] {
            let why = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{why}");
            assert!(why.starts_with(&format!("error: cannot use ONNX Runtime: {name} cannot be loaded")), "{why}");
        }
    }
}

/// Needs ONNX Runtime: `ORT_DYLIB_PATH`, or a `libonnxruntime` where the system looks for it.
#[test]
fn networks_run_in_onnx_runtime() {
    let folder = Folder::new();
    let command = "bench lenet-5 --runtime own,ort --runs 3 --batch 1,4 --threads 1 --json --quiet --operators";
    let output = folder.run(command);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        assert!(why.contains("its library is not found"), "{why}");
        println!("NOT TESTED: ONNX Runtime is not found");
        return;
    }
    let report = json(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(report["runtime"], "own,ort");
    assert!(report["ort_version"].as_str().unwrap().starts_with("1."));
    let runtimes: Vec<_> = report["networks"].as_array().unwrap().iter().map(|network| &network["runtime"]).collect();
    assert_eq!(runtimes, ["own", "ort"]);
    for measurement in report["measurements"].as_array().unwrap() {
        let [own, ort] = measurement["networks"].as_array().unwrap().as_slice() else { panic!("two") };
        assert_eq!((&own["macs"], &own["runs"]), (&ort["macs"], &ort["runs"]));
        assert!(ort["milliseconds"]["median"].as_f64().unwrap() > 0.0 && ort["memory_bytes"].is_null());
        assert!(own["operators"].is_object() && ort["operators"].is_null());
        assert!(measurement["ratio"]["median"].as_f64().unwrap() > 0.0);
    }
    // Each of two networks in each runtime; inputs of integers.
    let both = "bench lenet-5 --against lenet-300-100 --runtime ort,own --runs 1 --batch 2 --quiet";
    let text = folder.succeed(both);
    assert!(text.contains("lenet-5 against lenet-300-100: runs in ONNX Runtime 1."), "{text}");
    write_network(&folder, "indices.onnx", ElementType::I64, vec![name("N"), Dim::from(3usize)]);
    folder.succeed("bench indices.onnx --runs 1 --runtime ort --quiet");
}
