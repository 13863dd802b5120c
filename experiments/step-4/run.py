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


def run(name, *commands, source=None, seed=0):
    """One run: commands that make OUT of NET, the first of `source`: a run, or a network of MODELS."""
    return {"name": name, "source": source, "commands": list(commands), "seed": seed}


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
    """ResNet-20 with itself as teacher, 10 epochs in all."""
    recover = f"--max-drop 100 --recover statistics,distillation,labels --rate 0.01 --weight-decay 0.0005 {CIFAR}"
    neurons = f"prune NET -o OUT --neurons --macs 0.5 --importance taylor --rounds 1 --epochs 10 {recover}"
    yield run("cifar/neurons", neurons, source=RESNET)
    weights = f"prune NET -o OUT --weights --sparsity 0.9 --rounds 4 --pace cubic --epochs 1 --final-epochs 7 {recover}"
    yield run("cifar/weights", weights, source=RESNET)


def resnet8():
    """ResNet-8 trained here, so that what is held out was never seen."""
    train = f"train NET -o OUT --epochs 15 --rate 0.05 --weight-decay 0.0005 {CIFAR}"
    yield run("resnet8/dense", "new resnet8 -o OUT", train)


def table():
    """The practical question: weights, patterns and neurons of ResNet-8 at equal numbers of parameters, recovered alike."""
    recover = f"--max-drop 100 --recover statistics,distillation,labels --rate 0.01 --weight-decay 0.0005 {CIFAR}"
    steps = "--rounds 1 --epochs 3"
    for left in (50, 20, 10, 5):
        zeros = f"{1 - left / 100:g}"
        yield run(f"table/weights/{left}", f"prune NET -o OUT --weights --sparsity {zeros} {steps} {recover}", source="resnet8/dense")
        yield run(f"table/blocks/{left}", f"prune NET -o OUT --block 4x1 --sparsity {zeros} {steps} {recover}", source="resnet8/dense")
        yield run(f"table/neurons/{left}", f"prune NET -o OUT --neurons --params {left / 100} {steps} {recover}", source="resnet8/dense")
    yield run("table/2:4/50", f"prune NET -o OUT --nm 2:4 --sparsity 0.5 {steps} {recover}", source="resnet8/dense")


def widths():
    """Small networks are harder to learn: the pruned architecture from random weights, and the pruned network."""
    recover = f"--max-drop 100 --recover statistics,labels --rate 0.05 --weight-decay 0.0005 {CIFAR}"
    train = f"train NET -o OUT --rate 0.05 --weight-decay 0.0005 --epochs 8 {CIFAR}"
    yield run("widths/pruned/1", train, source="resnet8/dense")
    for name, part in (("1-2", 0.5), ("1-4", 0.75), ("1-8", 0.875)):
        prune = f"prune NET -o OUT --neurons --sparsity {part} --scope layer --rounds 1 --epochs 8 {recover}"
        yield run(f"widths/pruned/{name}", prune, source="resnet8/dense")
    for name in ("1", "1-2", "1-4", "1-8"):
        yield run(f"widths/scratch/{name}", f"{train} --fresh", source=f"widths/pruned/{name}")


def runs():
    """All runs, those that others depend on first."""
    yield from mnist()
    yield from cifar()
    yield from resnet8()
    yield from table()
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
    for what in runs():
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
            for other in keys:
                command = command.replace(f"{{{other}}}", str(file(other)))
            parts = [{"NET": network, "OUT": out}.get(part, part) for part in command.split()]
            arguments = [program, *parts, "--seed", what["seed"], "--json"]
            if parts[0] != "new":
                arguments += ["--data-dir", data_dir, "--resume"]
            report = call(arguments)
            network = out
        line = {"name": name, "key": keys[name], "what": what, "seconds": round(time.time() - begun, 1), **figures(report)}
        with RESULTS.open("a") as results:
            results.write(json.dumps(line) + "\n")
        print("=", name, f"{line['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
