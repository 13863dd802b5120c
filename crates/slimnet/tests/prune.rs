//! `prune`: both kinds, the loop, its controls, interruption, and what it refuses.

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::Folder;
use serde_json::Value;
use slimnet_graph::zoo::random::Stream;
use slimnet_graph::{Graph, onnx};

fn digits() -> Folder {
    let folder = Folder::new();
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits.onnx");
    fs::copy(network, folder.path("net.onnx")).unwrap();
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn network(folder: &Folder, name: &str) -> Graph {
    onnx::read_file(&folder.path(name)).unwrap()
}

/// Elements of the weights (tensors of two axes or more), and how many of them are 0.
fn zeros(graph: &Graph) -> (usize, usize) {
    let data = graph.values().filter_map(|(_, value)| value.data.as_ref()).filter(|data| data.rank() >= 2);
    let values: Vec<f32> = data.flat_map(|data| data.values::<f32>().unwrap().to_vec()).collect();
    (values.len(), values.iter().filter(|value| **value == 0.0).count())
}

/// Exit code and stderr.
fn refused(folder: &Folder, arguments: &str) -> (i32, String) {
    let output = folder.run(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn weights_become_zero_and_stay_so() {
    let folder = digits();
    let prune = "prune net.onnx --weights --sparsity 0.8 --data digits --epochs 2 --max-drop 3 --recover \
                 statistics,distillation -o sparse.onnx --json --quiet";
    let report = json(&folder.succeed(prune));
    assert_eq!(report["reached"], true);
    assert!(report["rounds"].as_array().unwrap().len() >= 3, "{report}");
    let (elements, zero) = zeros(&network(&folder, "sparse.onnx"));
    assert!(zero as f64 / elements as f64 >= 0.8, "{zero} of {elements}");
    // The next commands keep them, each through a file.
    folder.succeed("train sparse.onnx --data digits --epochs 2 --weight-decay 0.001 -o trained.onnx --quiet");
    let (before, after) = (network(&folder, "sparse.onnx"), network(&folder, "trained.onnx"));
    let mut moved = false;
    for (id, value) in before.values() {
        let (Some(old), Some(new)) = (&value.data, after.find_value(&before.value(id).name)) else { continue };
        let (Ok(old), Some(new)) = (old.values::<f32>(), after.value(new).data.as_ref()) else { continue };
        if value.data.as_ref().unwrap().rank() < 2 {
            continue;
        }
        let new = new.values::<f32>().unwrap();
        moved |= old != new;
        assert!(old.iter().zip(new.iter()).all(|(old, new)| *old != 0.0 || *new == 0.0), "{}", value.name);
    }
    assert!(moved);
    // Neurons of a sparse network go, and its zeros stay.
    let prune =
        "prune sparse.onnx --neurons --macs 0.7 --data digits --epochs 1 --max-drop 100 -o both.onnx --json --quiet";
    assert_eq!(json(&folder.succeed(prune))["reached"], true);
    let (elements, zero) = zeros(&network(&folder, "both.onnx"));
    assert!(zero as f64 / elements as f64 > 0.5, "{zero} of {elements}");
}

#[test]
fn patterns_are_what_they_are_called() {
    let folder = digits();
    for (option, name) in [("--nm 2:4", "nm"), ("--block 4x1", "block")] {
        let prune = format!(
            "prune net.onnx {option} --sparsity 0.5 --data digits --recover none --max-drop 100 -o {name}.onnx --quiet --json"
        );
        let report = json(&folder.succeed(&prune));
        assert_eq!(report["subject"], "weights");
        let graph = network(&folder, &format!("{name}.onnx"));
        let weight = graph.value(graph.find_value("layer2.conv2.weight").unwrap());
        let data = weight.data.as_ref().unwrap();
        let (values, shape) = (data.values::<f32>().unwrap(), data.shape());
        let (outputs, inputs, taps) = (shape[0], shape[1], shape[2] * shape[3]);
        let at = |o: usize, i: usize, tap: usize| values[(o * inputs + i) * taps + tap];
        for tap in 0..taps {
            if name == "nm" {
                for (o, group) in (0..outputs).flat_map(|o| (0..inputs / 4).map(move |group| (o, group))) {
                    assert!((0..4).filter(|i| at(o, 4 * group + i, tap) != 0.0).count() <= 2);
                }
            } else {
                for (block, i) in (0..outputs / 4).flat_map(|block| (0..inputs).map(move |i| (block, i))) {
                    let left = (0..4).filter(|o| at(4 * block + o, i, tap) != 0.0).count();
                    assert!(left == 0 || left == 4, "{left} of 4 are left");
                }
            }
        }
    }
}

#[test]
fn neurons_go_until_it_is_small() {
    let folder = digits();
    let prune = "prune net.onnx --neurons --macs 0.5 --round 4 --data digits --epochs 3 --max-drop 10 --control \
                 scratch,random -o small.onnx --json --quiet";
    let report = json(&folder.succeed(prune));
    assert_eq!(report["reached"], true, "{report}");
    let macs =
        |name: &str| json(&folder.succeed(&format!("inspect {name} --json")))["totals"]["macs"].as_u64().unwrap();
    assert!(2 * macs("small.onnx") <= macs("net.onnx"));
    let controls = report["controls"].as_array().unwrap();
    assert_eq!(controls.len(), 2, "{report}");
    // Every layer but the first and the last has a multiple of four channels.
    let graph = network(&folder, "small.onnx");
    for (_, value) in graph.values().filter(|(_, value)| value.name.contains("conv")) {
        if let Some(data) = value.data.as_ref().filter(|data| data.rank() == 4) {
            assert!(data.shape()[0].is_multiple_of(4), "{}: {:?}", value.name, data.shape());
        }
    }
}

#[test]
fn without_data_neurons_go_by_magnitude() {
    let folder = digits();
    folder.succeed("prune net.onnx --neurons --sparsity 0.3 --scope layer --rounds 1 -o small.onnx --quiet");
    folder.succeed("eval small.onnx --data digits --quiet");
    let dry = json(&folder.succeed("prune net.onnx --neurons --sparsity 0.3 --dry-run --quiet --json"));
    assert_eq!(dry["output"], Value::Null);
    assert!(dry["left"].as_f64().unwrap() <= 0.7);
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 2, "a dry run leaves nothing");
}

#[test]
fn a_target_out_of_reach_ends_with_the_nearest() {
    let folder = digits();
    // No recovery, and nothing may be lost: the loop halves its steps until they are too small.
    let prune =
        "prune net.onnx --weights --sparsity 0.99 --rounds 1 --data digits --recover none --max-drop 0 -o near.onnx";
    let output = folder.run(&format!("{prune} --json --quiet"));
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(report["reached"], false);
    let left = report["left"].as_f64().unwrap();
    assert!(left > 0.01 && left < 1.0, "{left}");
    let accuracy = |name: &str| {
        json(&folder.succeed(&format!("eval {name} --data digits --part validation --json --quiet")))["accuracy"]
            .clone()
    };
    assert!(accuracy("near.onnx").as_f64() >= accuracy("net.onnx").as_f64());
    // More MACs than can go: each layer keeps a channel. The report says how little can be left.
    let prune = "prune net.onnx --neurons --macs 0.0001 --rounds 1 -o least.onnx --json --quiet";
    let output = folder.run(prune);
    assert_eq!(output.status.code(), Some(3));
    let report = json(std::str::from_utf8(&output.stdout).unwrap());
    assert!(report["left"].as_f64().unwrap() < 0.1);
    let reason = report["rounds"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("is the least that can be left"), "{reason}");
    let output = folder.run("prune net.onnx --nm 2:4 --sparsity 0.9 --rounds 1 --recover none -o pattern.onnx --quiet");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("as the pattern has no more zeros"), "{said}");
}

#[test]
fn the_same_bytes_on_any_threads_and_after_any_kills() {
    let folder = digits();
    let prune = "prune net.onnx --neurons --macs 0.4 --rounds 3 --data digits --epochs 8 --augment-crop 1 --batch 32 --max-drop 2 \
                 --importance fisher --importance-samples 64 --recover statistics,least-squares,distillation,labels";
    let run = |name: &str, more: &str| folder.run(&format!("{prune} -o {name} --quiet {more}")).status.code().unwrap();
    let code = run("one.onnx", "--threads 1");
    assert!(code == 0 || code == 3);
    assert_eq!(run("two.onnx", "--threads 2"), code);
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("one.onnx") == read("two.onnx"), "threads change the result");
    let again = format!("{prune} -o killed.onnx --resume --quiet");
    let mut kills = 0;
    while kills < 15 {
        let mut child = folder.command(&again).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 + Stream::new(1, kills).below(0, 500)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert_eq!(folder.run(&again).status.code(), Some(code));
    assert!(kills > 1, "only {kills} were killed");
    assert!(read("one.onnx") == read("killed.onnx"), "{kills} kills change the result");
    assert!(!folder.path("killed.onnx.work").exists(), "finished work is cleared away");
}

#[test]
fn kept_work_of_other_options_is_refused() {
    let folder = digits();
    let prune = |more: &str| {
        format!(
            "prune net.onnx --neurons --macs 0.5 --data digits --rounds 2 --epochs 1000 --max-drop 90 -o out.onnx --resume {more}"
        )
    };
    let mut child = folder.command(&format!("{} --quiet", prune(""))).spawn().unwrap();
    // Before the first round has ended, too.
    let kept = folder.path("out.onnx.work/loop.json");
    while !kept.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for (more, words) in [("--seed 1", "other options"), ("--weight-decay 0.1", "other options")] {
        let (code, said) = refused(&folder, &prune(more));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(words) && said.contains("--resume"), "{said}");
    }
    fs::write(kept, "{").unwrap();
    let (code, said) = refused(&folder, &prune(""));
    assert!(code == 1 && said.contains("damaged"), "{said}");
}

#[test]
fn what_is_small_enough_is_left_alone_and_a_pattern_reaches_no_further() {
    let folder = digits();
    folder.succeed("prune net.onnx --weights --sparsity 0.6 --recover none -o sparse.onnx --quiet");
    let report =
        json(&folder.succeed("prune sparse.onnx --weights --sparsity 0.5 --recover none -o same.onnx --quiet --json"));
    assert!(report["rounds"].as_array().unwrap().is_empty() && report["reached"] == true, "{report}");
    assert_eq!(zeros(&network(&folder, "same.onnx")), zeros(&network(&folder, "sparse.onnx")));
    let output = folder.run("prune net.onnx --nm 2:4 --sparsity 0.9 --recover none -o nm.onnx --quiet --json");
    assert_eq!(output.status.code(), Some(3));
    // Cubic steps of less than 1 % are steps all the same.
    let cubic =
        "prune net.onnx --weights --sparsity 0.9 --pace cubic --rounds 10 --recover none -o cubic.onnx --quiet --json";
    let report = json(&folder.succeed(cubic));
    assert_eq!(report["rounds"].as_array().unwrap().len(), 10);
    assert!(report["left"].as_f64() <= report["aim"].as_f64(), "{} {}", report["left"], report["aim"]);
    // Where nothing was removed there is nothing to compare with.
    let control = "prune net.onnx --weights --sparsity 0.99 --rounds 1 --data digits --recover none --min-accuracy 100.5 --control \
                   random -o none.onnx --quiet --json";
    let output = folder.run(control);
    let report = json(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!((output.status.code(), report["left"].as_f64()), (Some(3), Some(1.0)));
    assert!(report["controls"].as_array().unwrap().is_empty());
}

#[test]
fn patterns_hold_after_lossless_removal_or_it_is_said() {
    // One channel of few is not read any more, so that lossless removal would move the groups of what it feeds.
    let folder = digits();
    let prune =
        "prune net.onnx --nm 1:4 --sparsity 0.75 --data digits --epochs 1 --max-drop 100 -o nm.onnx --json --quiet";
    let report = json(&folder.succeed(prune));
    let layers = report["layers"].as_array().unwrap();
    for layer in layers.iter().filter(|layer| layer["shape"][1].as_u64() >= Some(4)) {
        assert_eq!(layer["pattern"], "1:4", "{layer}");
    }
    // Neurons that go move groups: each lost pattern is named.
    let less = folder.succeed("prune nm.onnx --neurons --sparsity 0.4 --recover none -o less.onnx --quiet");
    assert!(less.contains("no longer 1:4"), "{less}");
    // Weights that are no kernels or matrices are named, too.
    let (code, _) = refused(&folder, "prune net.onnx --weights --sparsity 0.5 --rounds 99999 -o x.onnx");
    assert_eq!(code, 2);
}

#[test]
fn a_pattern_is_whole_where_groups_are_cut_off() {
    let folder = digits();
    // Layers of 3, 6, 12 … channels and the like.
    folder.succeed("prune net.onnx --neurons --sparsity 0.3 --recover none -o odd.onnx --quiet");
    let prune = "prune odd.onnx --nm 2:4 --sparsity 0.5 --recover none -o nm.onnx --json --quiet";
    let report = json(&folder.succeed(prune));
    let odd = |layer: &&Value| layer["shape"][1].as_u64().is_some_and(|inputs| inputs > 4 && inputs % 4 != 0);
    let layers = report["layers"].as_array().unwrap();
    assert!(layers.iter().any(|layer| odd(&layer)) && report["left"].as_f64() > Some(0.5), "{layers:?}");
    assert!(layers.iter().filter(odd).all(|layer| layer["pattern"] == "2:4"), "{layers:?}");
}

#[test]
fn bytes_are_those_of_the_file() {
    let folder = Folder::new();
    folder.succeed("new resnet8 --channels 1 --resolution 8 --width 0.5 -o net.onnx --quiet");
    let prune = |bytes: u64| {
        let options = "--neurons --data digits --recover none --max-drop 100 --pace one-shot --importance l2";
        folder.succeed(&format!("prune net.onnx {options} --bytes {bytes} -o out.onnx --quiet"));
        fs::metadata(folder.path("out.onnx")).unwrap().len()
    };
    // How data is prepared is recorded in the file, and takes bytes, too.
    let first = prune(fs::metadata(folder.path("net.onnx")).unwrap().len() / 2);
    assert!(prune(first) <= first);
    let less = prune(first - 1);
    assert!(less < first, "{less} of {first}");
}

#[test]
fn what_is_not_a_number_is_refused_wherever_it_is() {
    let folder = digits();
    let mut graph = network(&folder, "net.onnx");
    let bias = graph.find_value("fc.bias").unwrap();
    let shape = graph.value(bias).data.as_ref().unwrap().shape().to_vec();
    let values = vec![f32::NAN; shape.iter().product()];
    graph.set_data(bias, slimnet_graph::Tensor::from_values(shape, values).unwrap());
    onnx::write_file(&graph, &folder.path("nan.onnx")).unwrap();
    let (code, said) = refused(&folder, "prune nan.onnx --neurons --sparsity 0.3 --importance random -o out.onnx");
    assert!(code == 1 && said.contains("fc.bias"), "{said}");
}

/// Some library of the system, under the name of ONNX Runtime, lies where the program is called.
#[cfg(target_os = "linux")]
#[test]
fn a_library_in_the_current_folder_is_not_loaded() {
    let folder = digits();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.lines().find_map(|line| Some(&line[line.find('/')?..]).filter(|file| file.contains("libc.so")));
    let Some(library) = library else { return };
    fs::copy(library, folder.path("libonnxruntime.so")).unwrap();
    let prune = "prune net.onnx --neurons --sparsity 0.3 --dry-run --quiet";
    let output = folder.command(prune).env_remove("ORT_DYLIB_PATH").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Named, it is loaded, and is not ONNX Runtime.
    let output = folder.command(prune).env("ORT_DYLIB_PATH", "libonnxruntime.so").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not ONNX Runtime"));
}

#[test]
fn a_control_at_random_has_as_many_epochs() {
    let folder = digits();
    let prune = "prune net.onnx --weights --sparsity 0.93 --data digits --max-drop 3 --epochs 2 --rounds 2 --control \
                 random,scratch -o out.onnx --json --quiet";
    let output = folder.run(prune);
    let report = json(std::str::from_utf8(&output.stdout).unwrap());
    let rounds = report["rounds"].as_array().unwrap();
    let accepted = rounds.iter().filter(|round| round["verdict"] == "accurate" || round["verdict"] == "alright");
    let epochs: u64 = accepted.map(|round| round["epochs"].as_u64().unwrap()).sum();
    let controls = report["controls"].as_array().unwrap();
    assert_eq!(controls.len(), 2);
    for control in controls {
        assert_eq!(control["epochs"].as_u64(), Some(epochs), "{control}");
    }
}

#[test]
fn a_folder_in_use_is_left_to_who_uses_it() {
    let folder = digits();
    let prune = "prune net.onnx --neurons --macs 0.5 --data digits --rounds 2 --epochs 1000 --max-drop 90 -o out.onnx";
    let mut child = folder.command(&format!("{prune} --quiet")).spawn().unwrap();
    while !folder.path("out.onnx.work/loop.json").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, said) = refused(&folder, prune);
    assert!(code == 1 && said.contains("in use by another process"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    // Files that are not ours stay.
    fs::write(folder.path("out.onnx.work/loop.json"), "{}").unwrap();
    let (code, said) = refused(&folder, prune);
    assert!(code == 1 && said.contains("no unfinished work"), "{said}");
    assert_eq!(fs::read(folder.path("out.onnx.work/loop.json")).unwrap(), b"{}");
    // What fails at once leaves nothing behind.
    let (code, _) = refused(&folder, "prune net.onnx --neurons --sparsity 0.5 --exclude . -o none.onnx");
    assert!(code == 1 && !folder.path("none.onnx.work").exists());
}

#[test]
fn records_stay_true_when_neurons_go() {
    let folder = digits();
    folder.succeed("prune net.onnx --nm 2:4 --sparsity 0.5 --recover none -o nm.onnx --quiet");
    let records = |name: &str| {
        let graph = network(&folder, name);
        let of = |value: &slimnet_graph::graph::Value| value.metadata.iter().any(|(_, record)| record == "sparse 2:4");
        graph.values().filter(|(_, value)| of(value)).count()
    };
    assert!(records("nm.onnx") > 3);
    folder.succeed("prune nm.onnx --neurons --sparsity 0.4 --recover none -o less.onnx --quiet");
    assert!(records("less.onnx") < records("nm.onnx"), "{} {}", records("less.onnx"), records("nm.onnx"));
}

#[test]
fn what_cannot_be_is_said() {
    let folder = digits();
    let says = |arguments: &str, expected: i32, words: &str| {
        let (code, said) = refused(&folder, arguments);
        assert_eq!(code, expected, "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
        assert!(!folder.path("o.onnx").exists());
    };
    says("prune net.onnx -o o.onnx --sparsity 0.5", 2, "--weights");
    says("prune net.onnx -o o.onnx --weights", 2, "--sparsity");
    says("prune net.onnx -o o.onnx --weights --sparsity 1", 2, "below 1");
    says("prune net.onnx -o o.onnx --weights --macs 0.5", 2, "still multiplied");
    says("prune net.onnx -o o.onnx --weights --sparsity 0", 2, "above 0");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --round 8", 2, "--round");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --threads 100000", 2, "--threads");
    let data = "--data digits --recover";
    says(&format!("prune net.onnx -o o.onnx --weights --sparsity 0.5 {data} least-squares"), 2, "--neurons");
    says(&format!("prune net.onnx -o o.onnx --neurons --macs 0.5 {data} none --control scratch"), 2, "scratch");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --exclude nothing_like_it", 2, "matches no tensor");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --exclude ( ", 2, "--exclude");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --exclude .", 1, "excluded");
    says("prune net.onnx -o o.onnx --neurons --macs 0.5 --exclude .", 1, "excluded");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --importance taylor", 2, "--data");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --max-drop 1", 2, "--data");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --recover labels", 2, "--data");
    says("prune net.onnx -o o.onnx --weights --sparsity 0.5 --importance bn-scale", 1, "l1");
    says("prune missing.onnx -o o.onnx --weights --sparsity 0.5", 1, "no such file");
    // Weights that are no numbers.
    let mut graph = network(&folder, "net.onnx");
    let id = graph.find_value("layer2.conv2.weight").unwrap();
    let data = graph.value(id).data.clone().unwrap();
    let mut values = data.values::<f32>().unwrap().to_vec();
    values[3] = f32::NAN;
    graph.set_data(id, slimnet_graph::tensor::Tensor::from_values(data.shape().to_vec(), values).unwrap());
    onnx::write_file(&graph, &folder.path("nan.onnx")).unwrap();
    says("prune nan.onnx -o o.onnx --weights --sparsity 0.5", 1, "layer2.conv2.weight");
    says("prune nan.onnx -o o.onnx --neurons --macs 0.5", 1, "layer2.conv2.weight");
}

#[test]
fn help_and_refusals() {
    let folder = digits();
    folder.snapshot("help-prune", "prune --help");
    folder.snapshot("prune-no-target", "prune net.onnx --weights -o o.onnx");
    folder.snapshot("prune-macs-of-weights", "prune net.onnx --weights --macs 0.5 -o o.onnx");
    folder.snapshot("prune-all-excluded", "prune net.onnx --neurons --macs 0.5 --exclude . -o o.onnx");
    folder.snapshot("prune-excluded-nothing", "prune net.onnx --neurons --macs 0.5 --exclude fc9 -o o.onnx");
    folder.snapshot("prune-drop-without-data", "prune net.onnx --neurons --macs 0.5 --max-drop 1 -o o.onnx");
}
