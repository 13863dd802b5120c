"""Runs the experiments of step 4 (pruning) and appends one line of JSON a run to results/step-4.jsonl.

A run is known by the SHA-256 of its commands and of those that it depends on: runs that are in the file already are not run
again as long as their network is there, so that a sweep can be ended and continued; a run that was killed goes on from what it
left.

    python experiments/step-4/run.py SLIMNET DATA_DIR MODELS [NAME...]

MODELS is the folder of public networks. Names may be beginnings of names.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "step-4.jsonl"

RESNET = "resnet20_cifar10_bn.onnx"
CIFAR = "--data cifar10 --batch 64 --augment-crop 4 --augment-flip"


def run(name, *commands, source=None, seed=0, evaluate=None):
    """One run: commands that make OUT of NET, the first of `source`: a run, or a network of MODELS. With `evaluate`, the options
    of `eval`, the result is measured on the training and on the validation samples."""
    known = {"name": name, "source": source, "commands": list(commands), "seed": seed}
    return known if evaluate is None else {**known, "evaluate": evaluate}


def mnist():
    """Han et al. 2015: LeNet-300-100 and LeNet-5, three seeds; each amount from the one before. Labels alone were better on the
    validation samples of the first seed than distillation at rates of 0.05 and 0.1 (99.04 % against 98.60 % and less)."""
    settings = {
        "lenet-300-100": ("--rate 0.1 --weight-decay 0.0001", "--epochs 4 --final-epochs 30", (0, 1, 2)),
        "lenet-5": ("--rate 0.03 --weight-decay 0.0005", "--epochs 2 --final-epochs 10", (0, 1, 2)),
    }
    for kept, before in ((None, None), (8, "dense"), (4, 8), (2, 4), (1, 2), (0.4, 1)):
        for network, (rate, epochs, seeds) in settings.items():
            for seed in seeds:
                name = f"mnist/{network}/{seed}"
                data = f"--data mnist --batch 64 --augment-crop 1 {rate}"
                if kept is None:
                    yield run(f"{name}/dense", f"new {network} -o OUT", f"train NET -o OUT --epochs 20 {data}", seed=seed)
                    continue
                prune = (
                    f"prune NET -o OUT --weights --sparsity {1 - kept / 100:.4f} --importance l1 --rounds 3 {epochs} "
                    f"--max-drop 100 --recover lossless,labels {data}"
                )
                yield run(f"{name}/{kept}", prune, source=f"{name}/{before}", seed=seed)


def cifar():
    """ResNet-20 with itself as teacher, 10 epochs in all, prepared as it was trained. Measured with one thread."""
    data = f"{CIFAR} --mean .485,.456,.406 --std .229,.224,.225 --threads 1"
    recover = f"--max-drop 100 --weight-decay 0.0005 {data}"
    # Inside of the blocks: the channels that blocks add to (those of bn2) stay. Half of each layer, in multiples of 8.
    neurons = (
        "prune NET -o OUT --neurons --macs 0.51 --round 8 --scope layer --exclude bn2 --importance l2 --rounds 1 --epochs 10 "
        f"--recover least-squares,distillation,labels --rate 0.01 {recover}"
    )
    yield run("cifar/neurons", neurons, source=RESNET)
    weights = (
        "prune NET -o OUT --weights --sparsity 0.9 --rounds 4 --pace cubic --epochs 1 --final-epochs 7 "
        f"--recover statistics,distillation,labels --rate 0.01 {recover}"
    )
    yield run("cifar/weights", weights, source=RESNET)
    # What else was tried; validation preferred the run above.
    fast = weights.replace("--rounds 4", "--rounds 3").replace("--final-epochs 7", "--final-epochs 8").replace("--rate 0.01", "--rate 0.04")
    yield run("cifar/weights-fast", fast, source=RESNET)
    soft = weights.replace("--augment-crop 4", "--augment-crop 2") + " --temperature 2 --alpha 0.7"
    yield run("cifar/weights-soft", soft, source=RESNET)


def resnet8():
    """ResNet-8 trained here, so that what is held out was never seen."""
    train = f"train NET -o OUT --epochs 15 --rate 0.05 --weight-decay 0.0005 {CIFAR} --threads 1"
    yield run("resnet8/dense", "new resnet8 -o OUT", train)


# What the practical question compares, with the targets at so much left, and what each recovers with.
METHODS = {
    "weights": ("--weights --sparsity {zeros:g}", "lossless,statistics"),
    "2:4": ("--nm 2:4 --sparsity {zeros:g}", "lossless,statistics"),
    "blocks": ("--block 4x1 --sparsity {zeros:g}", "lossless,statistics"),
    "neurons": ("--neurons --round 4 --params {part:g}", "least-squares"),
}


def practical(group, method, left):
    """ResNet-8 pruned by a method to so many percent of its parameters, recovered as all others are."""
    what, recover = METHODS[method]
    what = what.format(zeros=round(1 - left / 100, 4), part=round(left / 100, 4))
    steps = f"--rounds 1 --epochs 2 --max-drop 100 --recover {recover},distillation,labels"
    prune = f"prune NET -o OUT {what} {steps} --rate 0.01 --weight-decay 0.0005 {CIFAR} --threads 1"
    return run(f"{group}/{method}/{left:g}", prune, source="resnet8/dense")


def table():
    """The practical question: weights, patterns and neurons of ResNet-8 at equal numbers of parameters."""
    for left in (50, 20, 10, 5):
        for method in METHODS if left == 50 else ("weights", "blocks", "neurons"):
            yield practical("table", method, left)


def equal(done):
    """The practical question at equal accuracy: of each method the amount at which it is as accurate on validation samples as 2:4,
    to 0.1 pp, found by bisection."""
    if "table/2:4/50" not in done:
        return
    level = done["table/2:4/50"]["validation_errors"]
    for method in ("weights", "blocks", "neurons"):
        for _ in range(7):
            tried = [line for name, line in done.items() if name.startswith((f"table/{method}/", f"equal/{method}/"))]
            # Of results those of the present definition.
            tried = [line for line in tried if line["what"] == practical(line["name"].split("/")[0], method, float(line["name"].split("/")[2]))]
            points = {float(line["name"].split("/")[2]): line["validation_errors"] - level for line in tried}
            if not points or min(map(abs, points.values())) <= 5:
                break
            enough = min((left for left, more in points.items() if more < 0), default=100)
            # Accuracy is not quite monotonous: what is too small is looked for below what is enough.
            too_few = max((left for left, more in points.items() if more > 0 and left < enough), default=enough / 2)
            name = f"equal/{method}/{(left := round((enough * too_few) ** 0.5, 2)):g}"
            yield practical("equal", method, left)
            if name not in done:
                break


def widths():
    """Small networks are harder to learn: the pruned architecture from random weights, and the pruned network, trained alike."""
    measure = "--data cifar10 --threads 1"
    train = f"train NET -o OUT --epochs 5 --rate 0.05 --weight-decay 0.0005 {CIFAR} --threads 1"
    yield run("widths/pruned/1", train, source="resnet8/dense", evaluate=measure)
    for name, part in (("1-2", 0.5), ("1-4", 0.75), ("1-8", 0.875)):
        prune = f"prune NET -o OUT --neurons --sparsity {part} --scope layer --rounds 1 --recover none --max-drop 100 {measure}"
        yield run(f"widths/pruned/{name}", prune, train, source="resnet8/dense", evaluate=measure)
    for name in ("1", "1-2", "1-4", "1-8"):
        yield run(f"widths/scratch/{name}", f"{train} --fresh", source=f"widths/pruned/{name}", evaluate=measure)


def runs(done):
    """All runs, those that others depend on first. `done` are the results, which some runs are chosen by."""
    yield from mnist()
    yield from cifar()
    yield from resnet8()
    yield from table()
    yield from equal(done)
    yield from widths()


def call(arguments):
    """Runs the program; its JSON."""
    print("+", " ".join(map(str, arguments)), flush=True)
    done = subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"ended with {done.returncode}")
    return json.loads(done.stdout)


def figures(report):
    """What is kept of a report: for pruned networks the rounds, too, and the proof."""
    if report["command"] == "train":
        return {"validation_errors": report["validation"]["errors"], "test_errors": report["after"]["errors"]}
    (scores,) = [network["scores"] for network in report["scores"] if network["network"] == "after"]
    errors = {f"{score['part']}_errors": score["errors"] for score in scores}
    return {"left": report["left"], "rounds": report["rounds"], **errors, "proof": report["proof"]}


def main():
    """Runs what is not done yet."""
    program, data_dir, models, *names = sys.argv[1:]
    work = pathlib.Path(data_dir) / "step-4"
    work.mkdir(exist_ok=True)
    done = {}
    if RESULTS.exists():
        done = {line["name"]: line for line in map(json.loads, RESULTS.read_text().splitlines())}
    file = lambda name: work / (name.replace("/", "-") + ".onnx")
    keys = {}
    for what in runs(done):
        name, source = what["name"], what["source"]
        keys[name] = hashlib.sha256(json.dumps([what, keys.get(source)], sort_keys=True).encode()).hexdigest()[:16]
        if names and not any(name.startswith(wanted) for wanted in names):
            continue
        if name in done and done[name]["key"] == keys[name] and file(name).exists():
            continue
        network = None if source is None else file(source) if source in keys else pathlib.Path(models) / source
        if network is not None and not network.exists():
            print("left out:", name, "needs", source, flush=True)
            continue
        begun = time.time()
        for command in what["commands"]:
            out = file(name) if command is what["commands"][-1] else file(f"{name}-new")
            parts = [{"NET": network, "OUT": out}.get(part, part) for part in command.split()]
            arguments = [program, *parts, "--seed", what["seed"], "--json"]
            if parts[0] != "new":
                arguments += ["--data-dir", data_dir, "--resume"]
            report = call(arguments)
            network = out
        line = {"name": name, "key": keys[name], "what": what, "seconds": round(time.time() - begun, 1), **figures(report)}
        if "evaluate" in what:
            for part in ("train", "validation"):
                arguments = [program, "eval", network, "--part", part, *what["evaluate"].split(), "--data-dir", data_dir, "--json"]
                report = call(arguments)
                line[f"{part}_loss"], line["parameters"] = report["loss"], report["parameters"]
        with RESULTS.open("a") as results:
            results.write(json.dumps(line) + "\n")
        done[name] = line
        print("=", name, f"{line['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
