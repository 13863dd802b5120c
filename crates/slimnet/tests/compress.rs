//! Recipes by the program, on the network that ships with it and on the digits that are built in.

mod common;

use std::fs;
use std::time::Duration;

use common::{Folder, round_differences};
use serde_json::Value;
use slimnet_graph::zoo::random::Stream;

const NEW: &str = "new resnet8 --channels 1 --resolution 8 --width 0.5 -o net.onnx --quiet";

/// A folder with a small network and a recipe.
fn with_recipe(recipe: &str) -> Folder {
    let folder = Folder::new();
    folder.succeed(NEW);
    write(&folder, recipe);
    folder
}

fn write(folder: &Folder, recipe: &str) {
    fs::write(folder.path("r.toml"), recipe).unwrap();
}

fn read(folder: &Folder, name: &str) -> Vec<u8> {
    fs::read(folder.path(name)).unwrap()
}

fn compress(folder: &Folder, more: &str) -> Value {
    json(&folder.succeed(&format!("compress net.onnx --recipe r.toml -o out.onnx --json {more}")))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Which steps were done before.
fn reused(report: &Value) -> Vec<bool> {
    report["steps"].as_array().unwrap().iter().map(|step| step["reused"].as_bool().unwrap()).collect()
}

/// Times become `#`, and what differs by rounding loses its digits.
fn mask(text: &str) -> String {
    let rounded = round_differences(text);
    let lines = rounded.lines().map(|line| match line.split_once("\"seconds\": ") {
        Some((before, _)) => format!("{before}\"seconds\": #,\n"),
        None => mask_time(line) + "\n",
    });
    lines.collect()
}

/// `0.3 s` becomes `# s`.
fn mask_time(line: &str) -> String {
    let is_time = |word: &str| word.split_once('.').is_some_and(|(_, tenths)| tenths.len() == 1);
    let words: Vec<_> = line.split(' ').collect();
    let masked = words
        .iter()
        .enumerate()
        .map(|(place, &word)| if is_time(word) && words.get(place + 1) == Some(&"s") { "#" } else { word });
    masked.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_said() {
    let folder = Folder::with_person_detector();
    write(
        &folder,
        "check = 1\n[[step]]\ncommand = \"inspect\"\n[[step]]\ncommand = \"simplify\"\n\
         [[step]]\ncommand = \"simplify\"\nfold-batch-norm = true\ncheck = 0\n",
    );
    let compress = "compress person-detector.onnx --recipe r.toml";
    folder.snapshot("compress-dry-run", &format!("{compress} --dry-run"));
    folder.snapshot("compress-dry-run-json", &format!("{compress} --dry-run --seed 3 --json"));
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 2, "a dry run writes something");
    folder.snapshot_masked("compress", &format!("{compress} -o out.onnx --quiet"), &mask);
    folder.snapshot_masked("compress-again", &format!("{compress} -o out.onnx"), &mask);
    write(&folder, "[[step]]\ncommand = \"simplify\"\n");
    folder.snapshot_masked("compress-json", &format!("{compress} -o out.onnx --json --quiet"), &mask);
}

#[test]
fn a_recipe_gives_what_its_commands_give() {
    let folder = with_recipe(
        "data = \"digits\"\n\
         [[step]]\ncommand = \"train\"\nepochs = 3\naugment-crop = 1\nonly-classes = [0, 1, 2, 3]\n\
         [[step]]\ncommand = \"eval\"\n\
         [[step]]\ncommand = \"simplify\"\nfold-batch-norm = true\n\
         [[step]]\ncommand = \"train\"\nepochs = 1\nrate = 1e-3\n",
    );
    folder.succeed(
        "train net.onnx --data digits --epochs 3 --augment-crop 1 --only-classes 0,1,2,3 -o a.onnx --quiet --seed 5",
    );
    folder.succeed("simplify a.onnx --fold-batch-norm -o b.onnx --quiet");
    folder.succeed("train b.onnx --data digits --epochs 1 --rate 0.001 -o c.onnx --quiet --seed 5");
    let report = compress(&folder, "--seed 5 --threads 1");
    assert!(read(&folder, "out.onnx") == read(&folder, "c.onnx"));
    assert!(read(&folder, "out.onnx.work/1-train/network.onnx") == read(&folder, "a.onnx"));
    let steps = report["steps"].as_array().unwrap();
    let commands: Vec<_> = steps.iter().map(|step| step["report"]["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["train", "eval", "simplify", "train"]);
    assert_eq!(steps[0]["report"]["after"]["accuracy"], steps[1]["report"]["accuracy"]);
    assert!(steps[1]["summary"].is_null() && steps[0]["summary"]["parameters"].is_number());
    assert_eq!(report["after"]["parameters"], steps[3]["summary"]["parameters"]);
    assert_eq!(report["after"]["file_bytes"], read(&folder, "c.onnx").len());
    assert_eq!(report["before"]["file_bytes"], read(&folder, "net.onnx").len());
}

#[test]
fn pruned_twice_by_a_recipe() {
    let folder = with_recipe(
        "data = \"digits\"\nmax-drop = 100\nepochs = 1\n\
         [[step]]\ncommand = \"prune\"\nneurons = true\nmacs = 0.6\nrounds = 2\nround = 2\n\
         [[step]]\ncommand = \"prune\"\nblock = \"2x1\"\nsparsity = 0.5\nrecover = [\"statistics\", \"labels\"]\n\
         [[step]]\ncommand = \"train\"\n",
    );
    let options = "--data digits --epochs 1 --quiet --seed 2";
    let pruned = "--max-drop 100 -o";
    folder.succeed(&format!("prune net.onnx --neurons --macs 0.6 --rounds 2 --round 2 {options} {pruned} a.onnx"));
    folder.succeed(&format!(
        "prune a.onnx --block 2x1 --sparsity 0.5 --recover statistics,labels {options} {pruned} b.onnx"
    ));
    folder.succeed(&format!("train b.onnx {options} -o c.onnx"));
    let report = compress(&folder, "--seed 2");
    for (step, name) in [("1-prune", "a.onnx"), ("2-prune", "b.onnx"), ("3-train", "c.onnx")] {
        assert!(read(&folder, &format!("out.onnx.work/{step}/network.onnx")) == read(&folder, name), "{step}");
    }
    assert_eq!(report["steps"][0]["report"]["counted"], "macs");
    let said = folder.succeed("compress net.onnx --recipe r.toml -o out.onnx --seed 2");
    assert!(said.contains("% of the MACs left, "), "{said}");
    // Other options of the second step: the first is not run again.
    let recipe = fs::read_to_string(folder.path("r.toml")).unwrap().replace("sparsity = 0.5", "sparsity = 0.4");
    write(&folder, &recipe);
    assert_eq!(reused(&compress(&folder, "--seed 2")), [true, false, false]);
}

#[test]
fn only_steps_whose_inputs_changed_are_run_again() {
    let recipe = "[[step]]\ncommand = \"simplify\"\n\
                  [[step]]\ncommand = \"train\"\ndata = \"digits\"\nepochs = 1\n\
                  teacher = \"teacher.onnx\"\nlog = \"log.jsonl\"\n\
                  [[step]]\ncommand = \"simplify\"\nfold-batch-norm = true\n";
    let folder = with_recipe(recipe);
    let teacher = |seed: u64| {
        folder
            .succeed(&format!("new mlp --channels 1 --resolution 8 --width 0.1 -o teacher.onnx --quiet --seed {seed}"));
    };
    teacher(1);
    assert_eq!(reused(&compress(&folder, "")), [false, false, false]);
    let first = read(&folder, "out.onnx");
    fs::remove_file(folder.path("out.onnx")).unwrap();
    assert_eq!(reused(&compress(&folder, "--threads 1")), [true, true, true]);
    assert!(read(&folder, "out.onnx") == first);
    // Options of the last step.
    write(&folder, &recipe.replace("fold-batch-norm = true", "check = 0"));
    assert_eq!(reused(&compress(&folder, "")), [true, true, false]);
    write(&folder, recipe);
    // A file that the second step reads.
    teacher(2);
    assert_eq!(reused(&compress(&folder, "")), [true, false, false]);
    assert!(read(&folder, "out.onnx") != first);
    teacher(1);
    assert_eq!(reused(&compress(&folder, "")), [true, false, false]);
    assert!(read(&folder, "out.onnx") == first);
    // What a step made is no more what it was: made again, as it was.
    fs::copy(folder.path("net.onnx"), folder.path("out.onnx.work/2-train/network.onnx")).unwrap();
    assert_eq!(reused(&compress(&folder, "")), [true, false, true]);
    fs::remove_file(folder.path("out.onnx.work/1-simplify/network.onnx")).unwrap();
    assert_eq!(reused(&compress(&folder, "")), [false, true, true]);
    assert!(read(&folder, "out.onnx") == first);
    // The seed and the network.
    assert_eq!(reused(&compress(&folder, "--seed 1")), [false, false, false]);
    folder.succeed(&format!("{NEW} --seed 9"));
    assert_eq!(reused(&compress(&folder, "--seed 1")), [false, false, false]);
}

#[test]
fn kills_change_no_byte() {
    let folder = with_recipe(
        "data = \"digits\"\nsave-every = 0.02\n\
         [[step]]\ncommand = \"simplify\"\n\
         [[step]]\ncommand = \"train\"\nepochs = 25\n\
         [[step]]\ncommand = \"simplify\"\nfold-batch-norm = true\n\
         [[step]]\ncommand = \"train\"\nepochs = 25\nbest = true\n",
    );
    folder.succeed("compress net.onnx --recipe r.toml -o whole.onnx --quiet");
    let again = "compress net.onnx --recipe r.toml -o killed.onnx --quiet";
    let mut kills = 0;
    while kills < 20 {
        let mut child = folder.command(again).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + Stream::new(1, kills).below(0, 200)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let output = folder.run(&again.replace(" --quiet", ""));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(kills > 3, "only {kills} were killed");
    assert!(said.contains("done already") || said.contains("going on after step"), "it began anew: {said}");
    assert!(read(&folder, "whole.onnx") == read(&folder, "killed.onnx"), "{kills} kills change the result");
}

#[test]
fn training_that_was_ended_goes_on_unless_its_options_changed() {
    let recipe = "data = \"digits\"\nsave-every = 0.02\n[[step]]\ncommand = \"train\"\nepochs = 40\n";
    let folder = with_recipe(recipe);
    let arguments = "compress net.onnx --recipe r.toml -o out.onnx";
    let end_midway = || {
        let mut child = folder.command(&format!("{arguments} --quiet")).spawn().unwrap();
        while !folder.path("out.onnx.work/1-train/network.onnx.checkpoint").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let said = || String::from_utf8(folder.run(arguments).stderr).unwrap();
    end_midway();
    let same = said();
    assert!(same.contains("going on after step"), "{same}");
    write(&folder, &recipe.replace("40", "41"));
    end_midway();
    write(&folder, &recipe.replace("40", "2"));
    let changed = said();
    assert!(changed.contains("epoch 2 of 2") && !changed.contains("going on"), "{changed}");
}

#[test]
fn a_missed_target_is_the_end_and_its_network_the_result() {
    // Weights that are not dead at all are taken for dead: the check after it finds other outputs.
    let folder = with_recipe(
        "data = \"digits\"\n[[step]]\ncommand = \"train\"\nepochs = 1\n[[step]]\ncommand = \"simplify\"\ndead = 0.5\n\
         [[step]]\ncommand = \"train\"\nepochs = 1\n",
    );
    for reused in [false, true] {
        let output = folder.run("compress net.onnx --recipe r.toml -o out.onnx --json --quiet");
        assert_eq!(output.status.code(), Some(3));
        let report = json(std::str::from_utf8(&output.stdout).unwrap());
        assert_eq!(report["steps"].as_array().unwrap().len(), 2);
        assert_eq!((&report["left_out"], &report["target_missed"]), (&Value::from(1), &Value::from(true)));
        assert_eq!(report["steps"][1]["reused"], reused);
        assert!(read(&folder, "out.onnx") == read(&folder, "out.onnx.work/2-simplify/network.onnx"));
    }
    let output = folder.run("compress net.onnx --recipe r.toml -o out.onnx");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("simplify missed its target: its network is the result, and 1 step after it not run"),
        "{said}"
    );
}

#[test]
fn a_failure_names_its_step_and_keeps_what_is_done() {
    let folder = with_recipe(
        "[[step]]\ncommand = \"simplify\"\ncheck = 0\n\
         [[step]]\ncommand = \"train\"\ndata = \"digits\"\nepochs = 1\nfreeze = \"conv9*\"\n",
    );
    folder.snapshot("compress-failure", "compress net.onnx --recipe r.toml -o out.onnx --quiet");
    folder.snapshot("compress-failure-json", "compress net.onnx --recipe r.toml -o out.onnx --quiet --json");
    assert!(!folder.path("out.onnx").exists());
    let text = fs::read_to_string(folder.path("r.toml")).unwrap();
    write(&folder, &text.replace("freeze = \"conv9*\"", ""));
    assert_eq!(reused(&compress(&folder, "")), [true, false]);
}

#[test]
fn a_network_may_be_compressed_in_place() {
    let folder = with_recipe("[[step]]\ncommand = \"simplify\"\nfold-batch-norm = true\n");
    folder.succeed("simplify net.onnx --fold-batch-norm -o simple.onnx");
    folder.succeed("compress net.onnx --recipe r.toml -o net.onnx");
    assert!(read(&folder, "net.onnx") == read(&folder, "simple.onnx"));
}

#[test]
fn bad_recipes() {
    let folder = Folder::new();
    folder.succeed(NEW);
    let train = "[[step]]\ncommand = \"train\"\ndata = \"digits\"\n";
    for (name, recipe) in [
        ("toml", "[[step]]\ncommand = = \"train\"\n".to_owned()),
        ("deep", "a = ".to_owned() + &"[".repeat(10_000)),
        ("empty", "data = \"digits\"\n".to_owned()),
        ("step", "step = \"train\"\n".to_owned()),
        ("steps", "step = [\"train\"]\n".to_owned()),
        ("no-command", "[[step]]\nepochs = 3\n".to_owned()),
        ("command", format!("{train}[[step]]\ncommand = \"diff\"\n")),
        ("itself", "[[step]]\ncommand = \"compress\"\nrecipe = \"r.toml\"\n".to_owned()),
        ("key", format!("[[step]]\ncommand = \"simplify\"\n{train}epoch = 3\n")),
        ("shared-key", format!("epoch = 3\n{train}")),
        ("output", format!("{train}output = \"other.onnx\"\n")),
        ("seed", format!("seed = 3\n{train}")),
        ("switch", format!("{train}nesterov = 1\n")),
        ("type", format!("{train}epochs = true\n")),
        ("value", format!("{train}epochs = \"many\"\n")),
        ("choice", format!("{train}optimizer = \"best\"\n")),
        ("twice", format!("{train}epochs = [3, 4]\n")),
        ("missing", "[[step]]\ncommand = \"train\"\nepochs = 3\n".to_owned()),
        ("nothing-made", "[[step]]\ncommand = \"inspect\"\n".to_owned()),
    ] {
        write(&folder, &recipe);
        folder.snapshot(&format!("recipe-{name}"), "compress net.onnx --recipe r.toml -o out.onnx");
    }
    folder.snapshot("recipe-json", "compress net.onnx --recipe r.toml -o out.onnx --json");
    folder.snapshot("recipe-no-file", "compress net.onnx --recipe none.toml -o out.onnx");
    folder.snapshot("recipe-no-output", "compress net.onnx --recipe r.toml");
    fs::write(folder.path("r.toml"), vec![b'#'; 1_000_001]).unwrap();
    folder.snapshot("recipe-large", "compress net.onnx --recipe r.toml -o out.onnx");
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 2, "a bad recipe leaves something");
}

#[test]
fn files_that_are_read_or_not_ours_stay() {
    let folder =
        with_recipe("[[step]]\ncommand = \"train\"\ndata = \"digits\"\nteacher = \"teacher.onnx\"\nepochs = 1\n");
    fs::copy(folder.path("net.onnx"), folder.path("teacher.onnx")).unwrap();
    folder.snapshot("compress-over-teacher", "compress net.onnx --recipe r.toml -o teacher.onnx");
    folder.snapshot("compress-over-recipe", "compress net.onnx --recipe r.toml -o r.toml");
    fs::create_dir_all(folder.path("out.onnx.work/1-train")).unwrap();
    fs::write(folder.path("out.onnx.work/1-train/mine"), "precious").unwrap();
    folder.snapshot("compress-other-work", "compress net.onnx --recipe r.toml -o out.onnx");
    assert_eq!(read(&folder, "out.onnx.work/1-train/mine"), b"precious");
    fs::write(folder.path("plain.onnx.work"), "precious").unwrap();
    assert_eq!(folder.run("compress net.onnx --recipe r.toml -o plain.onnx").status.code(), Some(1));
    assert_eq!(read(&folder, "plain.onnx.work"), b"precious");
    assert!(!folder.path("out.onnx").exists() && !folder.path("plain.onnx").exists());
}
