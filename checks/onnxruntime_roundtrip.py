#!/usr/bin/env python3
"""Compares networks with what slimnet makes of them, in ONNX Runtime on random inputs.

Each network is read and written unchanged by the example program `roundtrip`, simplified by `slimnet`, and given masks on its
weights by the example program `training_form`. All results must give the outputs of the original. Prints one JSON line for each network and step; ends with 1 if any failed.

    checks/onnxruntime_roundtrip.py --slimnet target/release/slimnet \
        --roundtrip target/release/examples/roundtrip --training-form target/release/examples/training_form examples/

Needs the packages of checks/requirements.txt.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
import onnxruntime

ELEMENT_TYPES = {
    "tensor(float)": numpy.float32,
    "tensor(double)": numpy.float64,
    "tensor(float16)": numpy.float16,
    "tensor(bool)": numpy.bool_,
    "tensor(int8)": numpy.int8,
    "tensor(uint8)": numpy.uint8,
    "tensor(int16)": numpy.int16,
    "tensor(uint16)": numpy.uint16,
    "tensor(int32)": numpy.int32,
    "tensor(uint32)": numpy.uint32,
    "tensor(int64)": numpy.int64,
    "tensor(uint64)": numpy.uint64,
}


def session(path):
    """A session that computes the graph as it is written: fusions of the runtime would round differently."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_inputs(inputs, generator):
    """Normal floats, integers of 0 to 9; dimensions that have only a name are 1 long."""
    feed = {}
    for value in inputs:
        shape = [length if isinstance(length, int) else 1 for length in value.shape]
        element_type = ELEMENT_TYPES[value.type]
        if numpy.issubdtype(element_type, numpy.floating):
            feed[value.name] = generator.standard_normal(shape).astype(element_type)
        else:
            feed[value.name] = generator.integers(0, 2 if element_type is numpy.bool_ else 10, shape).astype(element_type)
    return feed


def is_valid(path):
    """Whether ONNX itself takes the file; some real exports are not quite right to begin with."""
    try:
        onnx.checker.check_model(str(path))
        return True
    except onnx.checker.ValidationError:
        return False


def custom_nodes(path):
    """How many nodes of each operator of another domain a network has."""
    nodes = onnx.load(path).graph.node
    return collections.Counter(f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx"))


def compare(first_path, second_path, samples, seed):
    """Largest difference over all outputs, and the largest value it is to be seen against."""
    first, second = session(first_path), session(second_path)
    names = [value.name for value in first.get_outputs()]
    found = [value.name for value in second.get_outputs()]
    if names != found:
        raise ValueError(f"outputs: expected {names}, found {found}")
    generator = numpy.random.default_rng(seed)
    # An initializer that is also listed as an input is a parameter, no input.
    free = {value.name for value in second.get_inputs()}
    inputs = [value for value in first.get_inputs() if value.name in free]
    largest_difference = largest_value = 0.0
    for _ in range(samples):
        feed = random_inputs(inputs, generator)
        for name, a, b in zip(names, first.run(names, feed), second.run(names, feed)):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise ValueError(f"output {name}: expected {a.dtype}{a.shape}, found {b.dtype}{b.shape}")
            a, b = a.astype(numpy.float64), b.astype(numpy.float64)
            if not numpy.array_equal(numpy.isfinite(a), numpy.isfinite(b)):
                raise ValueError(f"output {name}: NaN or infinite in one network only")
            if a.size:
                largest_difference = max(largest_difference, float(numpy.nanmax(numpy.abs(a - b), initial=0.0)))
                largest_value = max(largest_value, float(numpy.nanmax(numpy.abs(a), initial=0.0)))
    return largest_difference, largest_value


def check(network, step, command, output, arguments):
    """One step on one network; the line that says how it went."""
    line = {"sha256": hashlib.sha256(network.read_bytes()).hexdigest(), "network": network.name, "step": step}
    started = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    line["seconds"] = round(time.monotonic() - started, 3)
    if result.returncode != 0:
        return line | {"ok": False, "error": result.stderr.strip() or f"exit code {result.returncode}"}
    line |= {"bytes_before": network.stat().st_size, "bytes_after": output.stat().st_size}
    try:
        if is_valid(network) and not is_valid(output):
            return line | {"ok": False, "error": "onnx.checker refuses it"}
        if custom := custom_nodes(network):
            kept = custom_nodes(output)
            return line | {"ok": kept == custom, "custom_nodes": dict(kept), "expected": dict(custom)}
        difference, value = compare(network, output, arguments.samples, arguments.seed)
    except Exception as error:  # whatever the runtime throws is a result of the check
        return line | {"ok": False, "error": f"{type(error).__name__}: {error}"}
    # Outputs above 1 are compared relatively: their rounding alone is larger.
    ok = difference <= arguments.tolerance * max(1.0, value)
    return line | {"ok": ok, "samples": arguments.samples, "largest_difference": difference, "largest_value": value}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slimnet", required=True, help="the program")
    parser.add_argument("--roundtrip", help="the example program that reads and writes")
    parser.add_argument("--training-form", help="the example program that writes the training form")
    parser.add_argument("--samples", type=int, default=100, help="random inputs for each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("networks", nargs="+", type=pathlib.Path, help="files, or folders of them")
    arguments = parser.parse_args()
    networks = []
    for path in arguments.networks:
        networks += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    if not networks:
        sys.exit("no networks found")
    failed = done = 0
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            written = pathlib.Path(folder) / f"{network.stem}.written.onnx"
            simplified = pathlib.Path(folder) / f"{network.stem}.simplified.onnx"
            steps = {"simplify": ([arguments.slimnet, "simplify", network, "-o", simplified, "--check", "0"], simplified)}
            if arguments.roundtrip:
                steps = {"roundtrip": ([arguments.roundtrip, network, written], written)} | steps
            if arguments.training_form:
                masked = pathlib.Path(folder) / f"{network.stem}.masked.onnx"
                steps["training form"] = ([arguments.training_form, network, masked], masked)
            for step, (command, output) in steps.items():
                line = check(network, step, command, output, arguments)
                failed, done = failed + (not line["ok"]), done + 1
                print(json.dumps(line), flush=True)
    if failed:
        sys.exit(f"{failed} of {done} checks failed")


if __name__ == "__main__":
    main()
