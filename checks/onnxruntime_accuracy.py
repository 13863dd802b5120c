"""Trains networks with slimnet and counts their errors in ONNX Runtime: both must count the same.

Samples are noisy images of ten random patterns, so that some are hard. The network's metadata says how they are prepared;
nothing else is known here of what slimnet does with them.

    python checks/onnxruntime_accuracy.py --slimnet SLIMNET
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnxruntime

# Architecture and how it is made and trained.
RUNS = [
    ("resnet8", "--channels 1 --resolution 8 --width 0.5", "--epochs 3"),
    ("conv2", "--channels 1 --resolution 8 --width 0.25", "--epochs 3 --insert-bn --reestimate-bn 10"),
    ("mlp-dropout", "--channels 1 --resolution 8 --width 0.1", "--epochs 4 --average 0.9"),
    ("transformer-encoder", "--channels 1 --resolution 8", "--epochs 6 --optimizer adamw --rate 0.003"),
    ("ds-cnn", "--channels 1 --classes 10 --width 0.5", "--epochs 8 --best --batch 32"),
]
SHAPES = {"ds-cnn": (49, 10)}


def samples(count, shape, seed):
    """Bytes of images and their labels."""
    patterns = numpy.random.default_rng(0).integers(0, 256, (10, *shape))
    random = numpy.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    noise = random.normal(0, 1, (count, *shape)) * random.uniform(20, 300, (count, 1, 1))
    return (patterns[labels] + noise).clip(0, 255).astype(numpy.uint8), labels.astype(numpy.int64)


def call(*arguments):
    """Runs the program; its JSON."""
    done = subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def errors(file, images, labels):
    """How many samples ONNX Runtime takes for another class."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    entries = session.get_modelmeta().custom_metadata_map
    numbers = lambda key, usual: numpy.array(json.loads("[" + entries.get(f"slimnet.data.{key}", usual).strip("[]") + "]"))
    x = images[:, None].astype(numpy.float32) * numpy.float32(numbers("scale", "1")[0])
    channel = lambda values: values.astype(numpy.float32).reshape(1, -1, 1, 1)
    x = (x - channel(numbers("mean", "0"))) / channel(numbers("std", "1"))
    scores = session.run(None, {session.get_inputs()[0].name: x.astype(numpy.float32)})[0]
    return int((scores.argmax(1) != labels).sum())


def main():
    """Trains, evaluates and compares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slimnet", required=True)
    slimnet = parser.parse_args().slimnet
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, new, train in RUNS:
            shape = SHAPES.get(name, (8, 8))
            for part, (count, seed) in {"train": (2000, 1), "test": (3000, 2)}.items():
                images, labels = samples(count, shape, seed)
                numpy.savez(folder / f"{part}.npz", images=images[:, None], labels=labels)
            fresh, out = folder / "fresh.onnx", folder / "out.onnx"
            call(slimnet, "new", name, *new.split(), "-o", fresh, "--json")
            prepared = ["--scale", "0.0039215", "--mean", "0.4", "--std", "0.3"]
            call(slimnet, "train", fresh, "-o", out, "--data", folder / "train.npz", *prepared, *train.split(), "--json", "--quiet")
            test = ["--data", folder / "test.npz", "--validation", "0", "--part", "train", "--json"]
            reported = call(slimnet, "eval", out, *test)["errors"]
            found = errors(out, *samples(3000, shape, 2))
            differ += reported != found
            print(f"{name}: {reported} errors in slimnet, {found} in ONNX Runtime, of 3000")
            if not 0 < reported < 2000:
                sys.exit(f"{name} learned nothing, or nothing is hard: the check says nothing")
    if differ:
        sys.exit(f"{differ} networks are counted differently")


if __name__ == "__main__":
    main()
