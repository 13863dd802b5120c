//! What each command says, as text and as JSON, in committed files.

mod common;

use common::Folder;

#[test]
fn help() {
    let folder = Folder::new();
    folder.snapshot("help", "--help");
    for command in ["new", "inspect", "simplify", "compress", "diff", "train", "eval", "data", "bench"] {
        folder.snapshot(&format!("help-{command}"), &format!("{command} --help"));
    }
    folder.snapshot("help-bench-train", "bench train --help");
}

#[test]
fn new() {
    let folder = Folder::new();
    folder.snapshot("new-list", "new --list");
    folder.snapshot("new-list-json", "new --list --json");
    folder.snapshot("new", "new lenet-5 -o net.onnx --seed 3");
    folder.snapshot("new-json", "new lenet-5 -o net.onnx --classes 7 --json");
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let folder = Folder::new();
    folder.succeed("new resnet8 -o a.onnx --seed 5");
    folder.succeed("new resnet8 -o b.onnx --seed 5");
    folder.succeed("new resnet8 -o c.onnx --seed 6");
    let read = |name| std::fs::read(folder.path(name)).unwrap();
    assert!(read("a.onnx") == read("b.onnx"));
    assert!(read("a.onnx") != read("c.onnx"));
}

#[test]
fn inspect() {
    let folder = Folder::with_person_detector();
    folder.snapshot("inspect-person-detector", "inspect person-detector.onnx");
    for name in ["lenet-300-100", "resnet20", "ds-cnn", "transformer-encoder"] {
        folder.succeed(&format!("new {name} -o {name}.onnx"));
        folder.snapshot(&format!("inspect-{name}"), &format!("inspect {name}.onnx"));
    }
    folder.snapshot("inspect-json", "inspect lenet-300-100.onnx --json");
}

#[test]
fn simplify() {
    let folder = Folder::with_person_detector();
    folder.snapshot("simplify", "simplify person-detector.onnx -o small.onnx --check 2");
    folder.snapshot("simplify-json", "simplify person-detector.onnx -o small.onnx --check 1 --json");
    folder.snapshot("simplify-nothing", "simplify small.onnx --dry-run --check 0");
    folder.snapshot("inspect-simplified", "inspect small.onnx");
}

#[test]
fn simplified_person_detector_is_small_and_equal() {
    let folder = Folder::with_person_detector();
    folder.succeed("simplify person-detector.onnx -o small.onnx --check 0");
    let weights = |name| {
        let graph = slimnet_graph::onnx::read_file(&folder.path(name)).unwrap();
        let floats = graph.values().filter_map(|(_, value)| value.data.clone()).filter(|data| data.rank() >= 2);
        floats.map(|data| data.len()).sum::<usize>()
    };
    assert_eq!(weights("person-detector.onnx"), 208_112);
    assert!(weights("small.onnx") <= 30_000, "{}", weights("small.onnx"));
    assert!(std::fs::metadata(folder.path("small.onnx")).unwrap().len() <= 135_000);
    let diff = "diff person-detector.onnx small.onnx --samples 3 --range 0,1 --tolerance 1e-6 --json";
    let diff: serde_json::Value = serde_json::from_str(&folder.succeed(diff)).unwrap();
    assert_eq!(diff["within_tolerance"], true);
}

#[test]
fn diff() {
    let folder = Folder::new();
    folder.succeed("new lenet-300-100 -o a.onnx --seed 1");
    folder.succeed("new lenet-300-100 -o b.onnx --seed 2");
    folder.succeed("new resnet8 -o net.onnx");
    folder.succeed("new resnet8 -o narrow.onnx --width 0.5");
    folder.snapshot("diff-equal", "diff a.onnx a.onnx --samples 2 --tolerance 0");
    folder.snapshot("diff", "diff a.onnx b.onnx --samples 2 --dim N=3 --range -1,1 --seed 4");
    folder.snapshot("diff-json", "diff a.onnx b.onnx --samples 1 --json");
    folder.snapshot("diff-shapes", "diff net.onnx narrow.onnx --samples 1");
    folder.snapshot("diff-tolerance", "diff a.onnx b.onnx --samples 1 --tolerance 0.001");
}

#[test]
fn threads_change_no_result() {
    let folder = Folder::new();
    folder.succeed("new lenet-5 -o a.onnx --seed 1");
    folder.succeed("new lenet-5 -o b.onnx --seed 2");
    let diff = |threads| folder.succeed(&format!("diff a.onnx b.onnx --samples 5 --json --threads {threads}"));
    assert_eq!(diff(1), diff(4));
}
