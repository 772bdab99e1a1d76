#!/usr/bin/env python3
"""Speed and memory of bench_train's shape beside PyTorch's, from one interleaved run.

    train_peer.py BENCH_TRAIN [--hidden 512 --layers 6 --ffn 1408 ...] [--dtype f32|bf16] [--threads 2] [--rounds 5]
                  [--sparsity 0.9 [--block 4]] [--experts 8 [--active 2]] [--micro-batches 2]

Each round runs bench_train, then every mode of PyTorch: eager and compiled, and for bf16 each of them both with
autocast over fp32 weights and with a model that is bf16 throughout. Both sides take whole steps on the same
batch: forward, backward, clipping, AdamW. Medians over all steps of all rounds are compared. With --sparsity, Fern's
attention projections and feed-forward are sparse, and beside it are its own dense model and PyTorch's modes, each dense
and with masks that multiply the same weights. With --experts every layer has experts of --ffn. --micro-batches cuts
Fern's batch; PyTorch's stays whole.

Every mode lives in a process of its own, and what torch.compile makes is made by an earlier process, so that a
mode's peak memory is that of its steps. The peer is the fastest mode for speed and the smallest for memory.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPE = {"hidden": 512, "layers": 6, "ffn": 1408, "vocabulary": 16000, "context": 512, "sequences": 4}
MODES = {"f32": ["eager", "compiled"],
         "bf16": ["eager autocast", "compiled autocast", "eager pure", "compiled pure"]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bench_train")
    for name, value in SHAPE.items():
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--heads", type=int, help="default: one for every 64 of --hidden")
    parser.add_argument("--dtype", choices=MODES, default="f32")
    parser.add_argument("--sparsity", type=float, default=0, help="share of the weights that do not exist")
    parser.add_argument("--block", type=int, default=1, help="side of Fern's blocks; the masks stay unstructured")
    parser.add_argument("--experts", type=int, default=0, help="experts of --ffn in every layer; 0: dense")
    parser.add_argument("--active", type=int, default=2, help="experts of a token")
    parser.add_argument("--micro-batches", type=int, default=1, help="that Fern cuts a step's sequences into")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of each side in a round")
    parser.add_argument("--modes", nargs="+", help="only these of PyTorch's modes")
    arguments = parser.parse_args()
    arguments.heads = arguments.heads or max(1, arguments.hidden // 64)
    if not arguments.modes:
        arguments.modes = list(MODES[arguments.dtype])
        if arguments.sparsity:
            arguments.modes += [mode + " masked" for mode in arguments.modes]
    return arguments


class Mode:
    """One mode of PyTorch in a process of its own, which train_worker.py is."""

    def __init__(self, mode):
        self.mode, self.name = mode, f"PyTorch {mode}"
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train_worker.py")
        self.process = subprocess.Popen([sys.executable, script, mode, json.dumps(vars(arguments))], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.rates = []
        self.torch = self.answer()["torch"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def run(self, steps):
        print(steps, file=self.process.stdin, flush=True)
        self.rates += self.answer()["tokens_per_s"]

    def end(self):
        print(0, file=self.process.stdin, flush=True)
        memory = self.answer()
        self.process.wait()
        self.peak, self.idle = memory["peak_bytes"], memory["idle_bytes"]


def start(mode):
    """The mode, ready to step; None, saying why, where it does not work (torch.compile needs a compiler)."""
    try:
        if mode.startswith("compiled"):
            Mode(mode).end()  # leaves what it compiled on the disk
        return Mode(mode)
    except RuntimeError as error:
        print(f"left out: {error}")
        return None


class Fern:
    def __init__(self, name, sparsity):
        self.name, self.sparsity = name, sparsity
        self.rates, self.gemm_flops = [], 0

    def run(self, steps):
        options = [*SHAPE, "heads", "dtype", "experts", "active", "micro_batches"]
        shape = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in options]
        if self.sparsity:
            shape += [f"--sparsity={self.sparsity}", f"--block={arguments.block}"]
        output = subprocess.run([arguments.bench_train, f"--steps={steps}", *shape], env=environment, check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        *self.lines, result = output.strip().splitlines()
        result = json.loads(result)
        self.rates += result["tokens_per_s"]
        self.gemm_flops = max(self.gemm_flops, result["gemm_flops"])
        self.flops_per_token = result["flops_per_token"]
        self.peak, self.idle = result["peak_bytes"], result["idle_bytes"]


def print_rates(side):
    print(f"{side.name:30} median {statistics.median(side.rates):7.1f} tokens/s   "
          f"({min(side.rates):.1f} to {max(side.rates):.1f}, {len(side.rates)} steps)   "
          f"peak {side.peak / 1e6:.0f} MB, {(side.peak - side.idle) / 1e6:.0f} above idle")


def print_table(fern, modes):
    fastest = max(modes, key=lambda mode: statistics.median(mode.rates))
    smallest = min(modes, key=lambda mode: mode.peak)
    least_added = min(modes, key=lambda mode: mode.peak - mode.idle)
    ours, theirs = statistics.median(fern.rates), statistics.median(fastest.rates)
    percent = 100 * fern.flops_per_token / fern.gemm_flops

    def row(name, ours, theirs, mode):
        print(f"{name:34}{ours:10.1f}{theirs:10.1f}   {mode.mode:18}{ours / theirs:6.2f}")
    print(f"{'':34}{'Fern':>10}{'PyTorch':>10}   {'in mode':18}{'ratio':>6}")
    row("tokens/s", ours, theirs, fastest)
    row(f"% of GEMM peak {fern.gemm_flops / 1e9:.1f} GFLOP/s", ours * percent, theirs * percent, fastest)
    row("peak memory, MB", fern.peak / 1e6, smallest.peak / 1e6, smallest)
    row("of it above the idle process, MB", (fern.peak - fern.idle) / 1e6,
        (least_added.peak - least_added.idle) / 1e6, least_added)


def print_sparse_table(sparse, others):
    print(f"{'sparse Fern beside':30}{'times as fast':>14}{'of the peak memory':>20}{'of it above idle':>18}")
    for side in others:
        speed = statistics.median(sparse.rates) / statistics.median(side.rates)
        print(f"{side.name:30}{speed:14.2f}{sparse.peak / side.peak:20.2f}"
              f"{(sparse.peak - sparse.idle) / (side.peak - side.idle):18.2f}")


def main():
    modes = [mode for mode in map(start, arguments.modes) if mode]
    ferns = [Fern("Fern sparse", arguments.sparsity)] if arguments.sparsity else []
    ferns.append(Fern("Fern", 0))
    for _ in range(arguments.rounds):
        for side in [*ferns, *modes]:
            side.run(arguments.steps)
    for mode in modes:
        mode.end()
    print(*ferns[0].lines[:2], sep="\n")
    for side in [*ferns, *modes]:
        print_rates(side)
    if modes:
        print(f"against PyTorch {modes[0].torch}, {time.strftime('%F')}, load average {os.getloadavg()[1]:.1f}")
    if arguments.sparsity:
        print_sparse_table(ferns[0], [*ferns[1:], *modes])
    elif modes:
        print_table(ferns[0], modes)


arguments = parse_arguments()
environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
if __name__ == "__main__":
    main()
