"""Trains the networks of step 2 and appends one line of JSON a run to results/step-2.jsonl.

A run is known by the SHA-256 of its commands: runs that are in the file already are not run again, so that a sweep can be
ended and continued. A run that was killed goes on from its checkpoint.

    python experiments/step-2/run.py SLIMNET DATA_DIR [NAME...]
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "step-2.jsonl"


def run(name, new, train, seed, teachers=(), corrected=None):
    """One run: `new` makes the network, `train` trains it; of the class `corrected` it has seen nothing."""
    what = {"name": name, "new": new, "train": train, "seed": seed, "start": None, "teachers": list(teachers)}
    return what if corrected is None else {**what, "corrected": corrected}


def runs():
    """All runs, those that others depend on first."""
    mlp = "--data mnist --epochs 20 --batch 64 --rate 0.1 --weight-decay 0.0001 --augment-crop 1"
    cnn = "--data mnist --epochs 20 --batch 64 --rate 0.03 --weight-decay 0.0005 --augment-crop 1"
    cifar = "--data cifar10 --epochs 15 --batch 64 --rate 0.05 --weight-decay 0.0005 --augment-crop 4 --augment-flip"
    for seed in range(3):
        yield run(f"lenet-300-100/{seed}", "lenet-300-100", mlp, seed)
    for seed in range(3):
        yield run(f"lenet-5/{seed}", "lenet-5", cnn, seed)
    for seed in range(3):
        yield run(f"resnet8/{seed}", "resnet8", cifar, seed)
    # Hinton, Vinyals and Dean 2015, section 3. The teacher's settings were chosen on the validation samples: of 8 epochs AdamW
    # had 107 wrong, SGD at rate 0.02 147; moving by one pixel for 60 epochs 43, by two for 80 epochs 50.
    teacher = "--data mnist --epochs 60 --batch 128 --optimizer adamw --rate 0.001 --augment-crop 1"
    yield run("hinton/teacher", "mlp-dropout", teacher, 0)
    plain = "--data mnist --epochs 25 --batch 128 --rate 0.02 --clip 5"
    moved = f"{plain} --augment-crop 1"
    taught = {"teachers": ["hinton/teacher"]}
    yield run("hinton/800-alone", "mlp", plain, 0)
    yield run("hinton/800-t20", "mlp --width 1.0", f"{plain} --temperature 20 --alpha 0.9", 0, **taught)
    without = f"{plain} --temperature 8 --loss none --only-classes 0,1,2,4,5,6,7,8,9"
    yield run("hinton/800-without-3", "mlp", without, 0, corrected=3, **taught)
    yield run("hinton/800-moved-t4", "mlp", f"{moved} --temperature 4 --alpha 0.9", 0, **taught)
    yield run("hinton/800-moved-alone", "mlp", moved, 0)
    for width in (800, 300, 30):
        for temperature in (20, 8, 4, 1):
            if (width, temperature) != (800, 20):
                train = f"{plain} --temperature {temperature} --alpha 0.9"
                yield run(f"hinton/{width}-t{temperature}", f"mlp --width {width / 800}", train, 0, **taught)
    for width in (300, 30):
        yield run(f"hinton/{width}-alone", f"mlp --width {width / 800}", plain, 0)


def key(what):
    """What a run depends on, hashed."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def call(arguments):
    """Runs the program; its JSON."""
    print("+", " ".join(map(str, arguments)), flush=True)
    done = subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def correct_bias(program, data_dir, network, seen_nothing):
    """Raises the bias of a class by what serves the validation samples best; errors on the test samples before and after."""
    import onnx

    model = onnx.load(network)
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "fc3.bias"]
    start = onnx.numpy_helper.to_array(bias)
    corrected = network.with_suffix(".corrected.onnx")

    def errors(raised, part):
        values = start.copy()
        values[seen_nothing] += raised
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(model, corrected)
        arguments = ["--data", "mnist", "--data-dir", data_dir, "--part", part, "--json"]
        report = call([program, "eval", corrected, *arguments])
        of_class = report["classes"][seen_nothing]
        return report["errors"], of_class["samples"] - of_class["correct"]

    steps = [quarter / 4 for quarter in range(0, 41)]
    best = min(steps, key=lambda raised: errors(raised, "validation")[0])
    (before, missed_before), (after, missed) = errors(0, "test"), errors(best, "test")
    return {
        "bias_raised": best,
        "test_errors": after,
        "test_errors_of_class": missed,
        "test_errors_before": before,
        "test_errors_of_class_before": missed_before,
    }


def main():
    """Runs what is not done yet."""
    program, data_dir, *names = sys.argv[1:]
    work = pathlib.Path(data_dir) / "step-2"
    work.mkdir(exist_ok=True)
    done = {}
    if RESULTS.exists():
        done = {line["name"]: line for line in map(json.loads, RESULTS.read_text().splitlines())}
    file = lambda name: work / (name.replace("/", "-") + ".onnx")
    for what in runs():
        name = what["name"]
        if names and not any(name.startswith(wanted) for wanted in names):
            continue
        if name in done and done[name]["key"] == key(what) and file(name).exists():
            continue
        missing = [teacher for teacher in what["teachers"] if not file(teacher).exists()]
        if missing:
            print("left out:", name, "needs", missing, flush=True)
            continue
        fresh = file(f"fresh/{name}")
        seed = ["--seed", what["seed"]]
        call([program, "new", *what["new"].split(), "-o", fresh, "--json", *seed])
        teachers = [part for teacher in what["teachers"] for part in ("--teacher", file(teacher))]
        begun = time.time()
        train = [*what["train"].split(), "--data-dir", data_dir, *teachers, "--resume"]
        report = call([program, "train", fresh, "-o", file(name), "--json", *seed, *train])
        line = {
            "name": name,
            "key": key(what),
            "what": what,
            "test_errors": report["after"]["errors"],
            "test_accuracy": report["after"]["accuracy"],
            "validation_accuracy": report["validation"]["accuracy"],
            "step_milliseconds": report["step_milliseconds"],
            "seconds": round(time.time() - begun, 1),
        }
        fresh.unlink()
        if "corrected" in what:
            line |= correct_bias(program, data_dir, file(name), what["corrected"])
        with RESULTS.open("a") as results:
            results.write(json.dumps(line) + "\n")
        print(line["name"], line["test_errors"], "errors", flush=True)


if __name__ == "__main__":
    main()
