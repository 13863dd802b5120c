//! Wrong command lines, files and networks: one clear message, the right exit code, and files that are there stay whole.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::Folder;
use slimnet_graph::onnx::write_file;
use slimnet_graph::ops::elementwise::Unary;
use slimnet_graph::{Dim, ElementType, Graph, Value};

#[test]
fn bad_usage() {
    let folder = Folder::new();
    for (name, arguments) in [
        ("nothing", ""),
        ("command", "sompress net.onnx"),
        ("no-output", "simplify net.onnx"),
        ("option", "inspect net.onnx --axes"),
        ("architecture", "new resnet21 -o net.onnx"),
        ("architecture-option", "new ds-cnn -o net.onnx --resolution 64"),
        ("width", "new vgg16-cifar -o net.onnx --width 0"),
        ("init", "new lenet-5 -o net.onnx --init best"),
        ("json", "new resnet21 -o net.onnx --json"),
        ("json-parser", "inspect --json"),
        ("range", "diff a.onnx b.onnx --range 1,0"),
        ("dead", "simplify net.onnx --dry-run --dead 2"),
    ] {
        folder.snapshot(&format!("usage-{name}"), arguments);
    }
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 0, "bad usage wrote a file");
}

#[test]
fn bad_files() {
    let folder = Folder::new();
    folder.succeed("new lenet-5 -o net.onnx");
    let whole = fs::read(folder.path("net.onnx")).unwrap();
    fs::write(folder.path("truncated.onnx"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path("text.onnx"), "this is no network at all\n").unwrap();
    fs::write(folder.path("empty.onnx"), "").unwrap();
    fs::create_dir(folder.path("folder.onnx")).unwrap();
    for name in ["missing", "truncated", "text", "empty", "folder"] {
        folder.snapshot(&format!("file-{name}"), &format!("inspect {name}.onnx"));
    }
    folder.snapshot("file-json", "inspect missing.onnx --json");
    for (name, arguments) in [
        ("output-folder-missing", "simplify net.onnx -o no/such/out.onnx"),
        ("output-is-folder", "simplify net.onnx -o folder.onnx"),
        ("output-new-folder-missing", "new lenet-5 -o no/out.onnx"),
    ] {
        folder.snapshot(name, arguments);
    }
}

#[test]
fn write_protected_output_stays() {
    let folder = Folder::new();
    folder.succeed("new lenet-5 -o net.onnx");
    fs::write(folder.path("kept.onnx"), "precious").unwrap();
    let mut permissions = fs::metadata(folder.path("kept.onnx")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(folder.path("kept.onnx"), permissions).unwrap();
    folder.snapshot("output-write-protected", "simplify net.onnx -o kept.onnx");
    assert_eq!(fs::read_to_string(folder.path("kept.onnx")).unwrap(), "precious");
}

#[test]
fn failure_leaves_the_output_whole() {
    let folder = Folder::new();
    fs::write(folder.path("bad.onnx"), "this is no network at all\n").unwrap();
    fs::write(folder.path("good.onnx"), "precious").unwrap();
    assert_eq!(folder.run("simplify bad.onnx -o good.onnx").status.code(), Some(1));
    assert_eq!(fs::read_to_string(folder.path("good.onnx")).unwrap(), "precious");
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 2, "a temporary file is left");
}

#[test]
fn a_network_may_be_simplified_in_place() {
    let folder = Folder::with_person_detector();
    let before = fs::metadata(folder.path("person-detector.onnx")).unwrap().len();
    folder.succeed("simplify person-detector.onnx -o person-detector.onnx --check 0");
    assert!(fs::metadata(folder.path("person-detector.onnx")).unwrap().len() < before);
}

#[test]
fn networks_that_cannot_be_compared() {
    let folder = Folder::new();
    folder.succeed("new lenet-5 -o a.onnx");
    folder.succeed("new lenet-5 -o classes.onnx --classes 3");
    folder.succeed("new lenet-5 -o channels.onnx --channels 3");
    folder.snapshot("diff-outputs", "diff a.onnx classes.onnx");
    folder.snapshot("diff-inputs", "diff a.onnx channels.onnx --json");
    folder.snapshot("diff-dim", "diff a.onnx a.onnx --dim M=3");
    folder.snapshot("diff-input-name", "diff a.onnx a.onnx --input x=x.npy");
    let header = |shape: &str| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.into_bytes());
        file
    };
    let file = |shape: &str, length: usize| [header(shape), vec![0; 4 * length]].concat();
    fs::write(folder.path("good.npy"), file("(2, 1, 28, 28)", 2 * 28 * 28)).unwrap();
    fs::write(folder.path("shape.npy"), file("(2, 28, 28)", 2 * 28 * 28)).unwrap();
    fs::write(folder.path("short.npy"), file("(2, 1, 28, 28)", 3)).unwrap();
    folder.snapshot("diff-given", "diff a.onnx a.onnx --input input=good.npy");
    folder.snapshot("diff-given-shape", "diff a.onnx a.onnx --input input=shape.npy");
    folder.snapshot("diff-given-short", "diff a.onnx a.onnx --input input=short.npy");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    folder.succeed("new resnet20 -o net.onnx");
    let mut command = folder.command("inspect net.onnx --json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((stderr.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn names_cannot_drive_the_terminal() {
    let folder = Folder::new();
    let mut graph = Graph::new("hostile");
    let mut input = Value::new("x\u{1b}[31m\nred");
    input.element_type = Some(ElementType::F32);
    input.shape = Some(vec![Dim::from(2usize)]);
    let input = graph.add_value(input).unwrap();
    graph.add_input(input).unwrap();
    let output = graph.apply("relu\u{7}", Unary::Relu, &[input]);
    graph.add_output(output);
    write_file(&graph, &folder.path("hostile.onnx")).unwrap();
    for arguments in [
        "inspect hostile.onnx",
        "diff hostile.onnx hostile.onnx --samples 1",
        "diff hostile.onnx hostile.onnx --dim M=1",
    ] {
        let output = folder.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.contains(&0x1b) && !said.contains(&7), "{}", String::from_utf8_lossy(&said));
    }
}
