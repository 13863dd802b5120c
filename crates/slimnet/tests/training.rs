//! Training and evaluating by the program, on the digits that are built in.

mod common;

use std::fs;
use std::time::Duration;

use common::Folder;
use serde_json::Value;

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
    let log = fs::read_to_string(folder.path("log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 8);
    assert!(json(log.lines().last().unwrap())["validation"]["accuracy"].as_f64().unwrap() > 80.0);
    assert!(!folder.path("out.onnx.checkpoint").exists(), "the state is left behind");
}

#[test]
fn the_same_bytes_on_any_threads_and_after_any_kills() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "train net.onnx --data digits --epochs 6 --augment-crop 1 --batch 32 --seed 4 --average 0.9";
    folder.succeed(&format!("{train} -o one.onnx --threads 1"));
    folder.succeed(&format!("{train} -o two.onnx --threads 2"));
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("one.onnx") == read("two.onnx"), "threads change the result");
    let mut kills = 0;
    loop {
        let mut child = folder.command(&format!("{train} -o killed.onnx --resume --quiet")).spawn().unwrap();
        // Each time a little longer, so that it ends even where an epoch takes longer than the first of these.
        std::thread::sleep(Duration::from_millis(150 + 83 * kills));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 60, "never ends");
    }
    assert!(kills > 0, "nothing was killed");
    assert!(read("one.onnx") == read("killed.onnx"), "{kills} kills change the result");
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
}
