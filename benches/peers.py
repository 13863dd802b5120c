"""Times slimnet beside PyTorch (steps of training) and ONNX Runtime (inference) and prints one table of ratios.

The programs take turns: in each round each runs for a while, and the ratio is that of the medians of the round. The table
has the median ratio of all rounds and the smallest and the largest. PyTorch is given the better of its two memory
layouts; a ratio below 1 says that slimnet is faster.

    pip install -r benches/peers-requirements.txt
    python benches/peers.py --slimnet target/release/slimnet train [ARCHITECTURE…]
    python benches/peers.py --slimnet target/release/slimnet memory [ARCHITECTURE…]
    python benches/peers.py --slimnet target/release/slimnet run NET.onnx…
    python benches/peers.py --slimnet target/release/slimnet sparse NET.onnx…
"""

import argparse
import hashlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy


def slimnet(program, *arguments):
    """What a command of slimnet reports."""
    command = [program, *(str(argument) for argument in arguments), "--json", "--quiet"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def slimnet_milliseconds(options, *arguments):
    """The median time that `slimnet bench` reports."""
    report = slimnet(options.slimnet, "bench", *arguments, "--seconds", options.seconds)
    return report["measurements"][0]["networks"][0]["milliseconds"]["median"]


def median_milliseconds(run, seconds):
    """The median time of `run`."""
    end = time.perf_counter() + 0.1 * seconds
    while time.perf_counter() < end:
        run()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


# PyTorch


def architectures():
    """The networks of `slimnet new`, written as a user of PyTorch writes them, and the shape of a sample."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        """A block of two convolutions; a shortcut that shrinks takes every second pixel and pads channels."""

        def __init__(self, inputs, channels, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.stride, self.added = stride, channels - inputs

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(x)))))
            if self.stride > 1:
                half = self.added // 2
                x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))
            return torch.relu_(y + x)

    class Attention(nn.Module):
        """A layer of a transformer that normalises first."""

        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.linear1, self.linear2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

        def forward(self, x):
            batch, tokens, width = x.shape
            qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(*qkv)
            x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
            return x + self.linear2(nn.functional.gelu(self.linear1(self.norm2(x))))

    class Transformer(nn.Module):
        """Two layers over patches of 4 × 4 pixels."""

        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, 64, 4, 4)
            self.positions = nn.Parameter(torch.zeros(1, 49, 64))
            self.layers = nn.Sequential(Attention(64, 4), Attention(64, 4), nn.LayerNorm(64))
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
            return self.head(self.layers(x).mean(1))

    def conv(inputs, outputs, size, stride=1, groups=1, activation=nn.ReLU6):
        return [
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            activation(inplace=True),
        ]

    def resnet20():
        blocks = [Residual(16, 16, 1) for _ in range(3)]
        blocks += [Residual(16, 32, 2)] + [Residual(32, 32, 1) for _ in range(2)]
        blocks += [Residual(32, 64, 2)] + [Residual(64, 64, 1) for _ in range(2)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        return nn.Sequential(*conv(3, 16, 3, activation=nn.ReLU), *blocks, *head)

    def mobilenet():
        shape = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2)] + [(256, 1)] * 5 + [(512, 2), (512, 1)]
        layers, inputs = conv(3, 16, 3, 2), 16
        for channels, stride in shape:
            layers += conv(inputs, inputs, 3, stride, inputs) + conv(inputs, channels, 1)
            inputs = channels
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))

    def lenet300():
        linear = [nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)]
        return nn.Sequential(nn.Flatten(), *linear)

    def lenet5():
        convolutions = [nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)]
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))

    return {
        "lenet-300-100": (lenet300, (1, 28, 28), []),
        "lenet-5": (lenet5, (1, 28, 28), []),
        "resnet20": (resnet20, (3, 32, 32), []),
        "mobilenet-v1": (mobilenet, (3, 32, 32), ["--width", "0.5", "--resolution", "32"]),
        "transformer-encoder": (Transformer, (1, 28, 28), []),
    }


BATCH = 64


def torch_step(build, shape, channels_last):
    """A function that does a step of training: forward, backward and SGD with momentum."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = build().to(memory_format=layout)
    # Without momentum PyTorch's default loops over parameters are as fast; the fused form is its fastest.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    x = torch.randn(BATCH, *shape).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (BATCH,))

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()

    return step, net


def new_network(options, name, arguments, folder):
    """A file with an untrained network."""
    file = pathlib.Path(folder) / f"{name}.onnx"
    slimnet(options.slimnet, "new", name, *arguments, "-o", file)
    return file


def train(options):
    """Steps of training, beside PyTorch."""
    import torch

    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (build, shape, arguments) in architectures().items():
            if options.networks and name not in options.networks:
                continue
            file = new_network(options, name, arguments, folder)
            steps = {layout: torch_step(build, shape, layout == "channels last") for layout in LAYOUTS}
            ours = slimnet(options.slimnet, "inspect", file)["roles"]["parameters"]["elements"]
            theirs = sum(parameter.numel() for parameter in next(iter(steps.values()))[1].parameters())
            assert ours == theirs, f"{name}: {ours} parameters in slimnet, {theirs} in PyTorch"
            peers = {layout: lambda step=step: median_milliseconds(step, options.seconds) for layout, (step, _) in steps.items()}
            command = ["train", file, "--batch", BATCH, "--threads", options.threads]
            rows.append(compare(options, name, lambda: slimnet_milliseconds(options, *command), peers))
    return rows


LAYOUTS = ("contiguous", "channels last")


# ONNX Runtime


def onnxruntime_run(file, threads, batch=1):
    """A function that runs a network on random numbers."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    length = lambda index, length: length if isinstance(length, int) else batch if index == 0 else 64
    random = numpy.random.default_rng(0)
    feed = {}
    for given in session.get_inputs():
        shape = [length(index, found) for index, found in enumerate(given.shape)]
        feed[given.name] = random.standard_normal(shape, dtype=numpy.float32)
    return lambda: session.run(None, feed)


def run(options):
    """Inference at batch 1 on one thread, beside ONNX Runtime."""
    rows = []
    for file in options.networks:
        session = onnxruntime_run(file, 1)
        peers = {"ONNX Runtime": lambda: median_milliseconds(session, options.seconds)}
        command = [file, "--batch", 1, "--threads", 1]
        rows.append(compare(options, pathlib.Path(file).stem, lambda: slimnet_milliseconds(options, *command), peers))
    return rows


def zero_out(file, sparsity, output):
    """Writes the network with so many random zeros in every weight of a convolution or linear layer."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(file))
    weights = {node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    random = numpy.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.name in weights and len(tensor.dims) >= 2:
            values = numpy_helper.to_array(tensor)
            keep = random.random(values.shape) >= sparsity
            tensor.CopyFrom(numpy_helper.from_array(values * keep, tensor.name))
    onnx.save(model, str(output))


def sparse(options):
    """Networks whose weights are mostly zeros, beside their dense selves in ONNX Runtime."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for file in options.networks:
            name = pathlib.Path(file).stem
            pruned = pathlib.Path(folder) / f"{name}.onnx"
            zero_out(file, options.sparsity, pruned)
            session = onnxruntime_run(file, 1)
            peers = {"ONNX Runtime, dense": lambda: median_milliseconds(session, options.seconds)}
            command = [pruned, "--batch", 1, "--threads", 1]
            label = f"{name}, {100 * options.sparsity:g} % zeros"
            rows.append(compare(options, label, lambda: slimnet_milliseconds(options, *command), peers))
    return rows


# Memory


def high_water(kilobytes):
    """Most memory that a process had, as Linux tells it."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kilobytes + ":"):
            return int(line.split()[1])
    raise OSError("this system does not tell how much memory a process takes")


def torch_memory(name, layout, threads):
    """Prints by how much ten steps of training raise the memory of this process (kB)."""
    import torch

    torch.set_num_threads(threads)
    build, shape, _ = architectures()[name]
    # What the first use of a library takes is not the network's.
    torch_step(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(numpy.prod(shape), 10)), shape, False)[0]()
    before = high_water("VmRSS")
    step, _ = torch_step(build, shape, layout == "channels last")
    for _ in range(10):
        step()
    print(high_water("VmHWM") - before)


def memory(options):
    """Peak memory of steps of training: by how much a network raises it above that of a tiny one, in either."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        steps = ["--batch", BATCH, "--runs", 10, "--threads", options.threads, "--quiet"]
        command = lambda file: [str(argument) for argument in [options.slimnet, "bench", "train", file, *steps]]
        # Where pages lie differs from run to run by about a megabyte.
        median = lambda measure: statistics.median(measure() for _ in range(options.rounds))
        peak = lambda file: median(lambda: peak_of_process(command(file)))
        # What the program itself takes is not the network's.
        before = peak(new_network(options, "mlp", ["--width", "0.01", "--resolution", "8"], folder))
        for name, (_, _, arguments) in architectures().items():
            if options.networks and name not in options.networks:
                continue
            file = new_network(options, name, arguments, folder)
            ours = peak(file) - before
            theirs = {}
            for layout in LAYOUTS:
                child = [sys.executable, __file__, "torch-memory", name, layout, "--threads", str(options.threads)]
                theirs[layout] = median(lambda: int(subprocess.run(child, stdout=subprocess.PIPE, check=True).stdout))
            rows.append({"network": name, "slimnet_kilobytes": ours, "peer_kilobytes": theirs})
            print(f"{name:24} slimnet {ours / 1000:8.1f} MB   " + "   ".join(f"{key} {value / 1000:8.1f} MB" for key, value in theirs.items()))
    return rows


def peak_of_process(command):
    """Most memory that a process had while it ran (kB)."""
    # By a small process between: what is forked from a large one counts the memory of that.
    watch = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(subprocess.run([sys.executable, "-c", watch, *command], stdout=subprocess.PIPE, check=True).stdout)


# Reports


def compare(options, name, ours, peers):
    """Lets slimnet and its peers take turns; prints and returns times and ratios."""
    times = {"slimnet": [], **{peer: [] for peer in peers}}
    for _ in range(options.rounds):
        times["slimnet"].append(ours())
        for peer, measure in peers.items():
            times[peer].append(measure())
    best = min(peers, key=lambda peer: statistics.median(times[peer]))
    ratios = [our / their for our, their in zip(times["slimnet"], times[best])]
    middle = {who: statistics.median(series) for who, series in times.items()}
    ratio = statistics.median(ratios)
    print(
        f"{name:44} ratio {ratio:5.2f} ({min(ratios):.2f}–{max(ratios):.2f})   "
        + "   ".join(f"{who} {value:.3f} ms" for who, value in middle.items()),
        flush=True,
    )
    return {"network": name, "peer": best, "ratio": ratio, "ratios": ratios, "milliseconds": middle}


def main():
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slimnet")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each in a round")
    parser.add_argument("--threads", type=int, default=2, help="threads of a training step")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--json", help="file to append a line with all figures to")
    parser.add_argument("what", choices=["train", "memory", "run", "sparse", "torch-memory"])
    parser.add_argument("networks", nargs="*")
    options = parser.parse_args()
    if options.what == "torch-memory":
        return torch_memory(*options.networks, options.threads)
    rows = {"train": train, "memory": memory, "run": run, "sparse": sparse}[options.what](options)
    if options.json:
        commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
        setting = {
            "what": options.what,
            "networks": [row["network"] for row in rows],
            "rounds": options.rounds,
            "seconds": options.seconds,
            "threads": options.threads if options.what in ("train", "memory") else 1,
            "commit": commit.stdout.strip(),
            "processor": processor(),
        }
        key = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:16]
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **setting, "rows": rows}) + "\n")


def processor():
    """What the processor is called and the widest vectors that it has."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    entry = lambda name: next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")
    vectors = [name for name in ("avx512f", "avx2") if name in entry("flags").split()]
    return f"{entry('model name')}, {vectors[0] if vectors else 'no vectors'}"


if __name__ == "__main__":
    main()
