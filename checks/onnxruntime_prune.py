#!/usr/bin/env python3
"""Prunes 30 % of the neurons of networks without data and runs the result in ONNX Runtime.

    checks/onnxruntime_prune.py --slimnet target/release/slimnet NETWORK_OR_FOLDER...

For each network one line of JSON: neurons left, bytes and MACs before and after, and the largest difference between slimnet's
engine and ONNX Runtime on random inputs. Ends with 1 if that is above 1e-4 of the largest output (where values are quantized:
more than a step of some of them) or a network that has neurons to remove cannot be pruned.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import onnx
import onnxruntime


def library():
    """The library inside the Python package."""
    folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
    return next(file for file in sorted(folder.iterdir()) if file.name.startswith("libonnxruntime.so"))


def is_rounding(difference, network):
    """Whether a difference is one of rounding: where values are quantized, a few of them by one step of 1/256."""
    largest = difference["largest_difference"] / max(difference["largest_value"], 1e-30)
    quantized = any(node.op_type == "QuantizeLinear" for node in onnx.load(network).graph.node)
    few = difference["unequal"] <= difference["elements"] / 100 and largest <= 1 / 250
    return difference["not_comparable"] == 0 and (largest <= 1e-4 or (quantized and few))


def main():
    """Prunes each network."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slimnet", required=True)
    parser.add_argument("networks", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    networks = [file for path in options.networks for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            out = pathlib.Path(folder) / network.name
            prune = [options.slimnet, "prune", network, "--neurons", "--sparsity", "0.3", "--scope", "layer", "--rounds", "1"]
            prune += ["--recover", "none", "-o", out, "--ort", library(), "--json", "--quiet"]
            done = subprocess.run([str(part) for part in prune], capture_output=True, text=True, check=False)
            line = {"network": network.name}
            if done.returncode == 0:
                report = json.loads(done.stdout)
                before, after = report["proof"]["networks"][:2]
                difference = after["difference_of_runtimes"]
                line |= {"neurons_left": round(report["left"], 4)}
                for figure in ("file_bytes", "parameters", "macs"):
                    line[figure] = [before[figure], after[figure]]
                line["difference"] = difference
                line["good"] = difference is not None and is_rounding(difference, network)
            else:
                error = json.loads(done.stderr.strip().splitlines()[-1])["error"]
                line["refused"] = error["why"]
                # What has nothing that could go is refused, and so is what ONNX Runtime itself refuses.
                line["good"] = "no neuron can be removed" in error["why"]
            bad += not line["good"]
            print(json.dumps(line), flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
