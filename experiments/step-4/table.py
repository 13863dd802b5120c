"""Sums up what run.py measured of ResNet-8: tables in Markdown, and a chart of accuracy against parameters left.

    pip install zstandard matplotlib
    python experiments/step-4/table.py DATA_DIR CHART.svg

DATA_DIR has the networks (step-4/*.onnx), which are compressed here by zstd at level 19.
"""

import json
import pathlib
import sys

import matplotlib
import zstandard

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results" / "step-4.jsonl"
METHODS = {"weights": "single weights", "2:4": "2:4", "blocks": "blocks 4×1", "neurons": "neurons"}


def network(line, which):
    """What the proof says of the network `before` or `after`."""
    return next(network for network in line["proof"]["networks"] if network["network"] == which)


def ratios(line, which="after"):
    """Times of the whole network at batch 1 as parts of those of the original, measured in turn: own dense and sparse, ONNX Runtime."""
    (batch,) = [batch for batch in network(line, which)["batches"] if batch["batch"] == 1]
    part = lambda name: batch[name] and batch[name]["part_of_first"]
    return part("own_dense"), part("own_sparse"), part("ort")


def row(what, line, work, own, which="after"):
    """A row of the table."""
    found = network(line, which)
    dense, sparse, runtime = ratios(line, which)
    time = sparse if own == "sparse" else dense
    file = work / ((line["name"] if which == "after" else line["what"]["source"]).replace("/", "-") + ".onnx")
    packed = len(zstandard.ZstdCompressor(level=19).compress(file.read_bytes()))
    left = found["nonzero_parameters"]
    cells = [
        what,
        f"{left:,} ({100 * left / network(line, 'before')['parameters']:.1f} %)",
        f"{file.stat().st_size / 1000:.1f}",
        f"{packed / 1000:.1f}",
        "–" if time is None else f"{time:.2f}",
        "–" if runtime is None else f"{runtime:.2f}",
        "not measured",
        f"{found['validation']['accuracy']:.2f}",
        f"{found['test']['accuracy']:.2f}",
    ]
    print("|", " | ".join(cells), "|")


HEAD = """| | parameters that are not 0 | file, kB | after zstd, kB | slimnet's engine | ONNX Runtime | GPU | validation, % | test, % |
|---|---|---|---|---|---|---|---|---|"""


def rows_of(line, method, work):
    """A method's rows: zeros are shown with dense and, where the engine has some for them, with sparse kernels."""
    if method == "neurons":
        row("neurons removed", line, work, "dense")
        return
    row(f"{METHODS[method]}: zeros, dense kernels", line, work, "dense")
    if ratios(line)[1] is not None:
        row(f"{METHODS[method]}: zeros, sparse kernels", line, work, "sparse")


def main():
    """Prints the tables and draws the chart."""
    data_dir, chart = sys.argv[1:]
    work = pathlib.Path(data_dir) / "step-4"
    done = {line["name"]: line for line in map(json.loads, RESULTS.read_text().splitlines())}
    level = done["table/2:4/50"]
    errors = level["validation_errors"]
    of = lambda method, *groups: [
        line for name, line in done.items() if name.split("/")[0] in groups and name.split("/")[1] == method
    ]
    print("At equal accuracy on validation samples:\n")
    print(HEAD)
    row("as trained", level, work, "dense", "before")
    for method in METHODS:
        line = min(of(method, "table", "equal"), key=lambda line: abs(line["validation_errors"] - errors))
        rows_of(line, method, work)
    for left in (50, 20, 10, 5):
        print(f"\n{left} % of the parameters left:\n")
        print(HEAD)
        for method in METHODS:
            if line := done.get(f"table/{method}/{left}"):
                rows_of(line, method, work)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    total = network(level, "before")["parameters"]
    axes.axhline(network(level, "before")["test"]["accuracy"], color="gray", linestyle=":", label="as trained")
    for method, marker in (("weights", "o"), ("blocks", "^"), ("neurons", "s")):
        points = [(network(line, "after")["nonzero_parameters"], network(line, "after")["test"]["accuracy"]) for line in of(method, "table")]
        points.sort()
        axes.plot([100 * left / total for left, _ in points], [accuracy for _, accuracy in points], marker=marker, label=METHODS[method])
    axes.set(xscale="log", xlabel="parameters that are not 0, %", ylabel="test accuracy, %", title="ResNet-8 on CIFAR-10, pruned")
    axes.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(chart, metadata={"Date": None}, bbox_inches="tight")


if __name__ == "__main__":
    main()
