#!/usr/bin/env python3
"""Fern's sparse layer beside PyTorch's dense, masked and sparse ones, from one interleaved run.

    sparse_peer.py BENCH_SPARSE [--shapes 2048x512 ...] [--densities 0.5 ...] [--threads 2] [--rounds 5]
                   [--worker COMMAND ...]

Forward + dX + dW of a layer in fp32, unstructured patterns, activations token-major in and out. For every shape and
density each round runs bench_sparse, which brings the best dense products that Fern is linked with, then every mode
of PyTorch. Printed are medians over rounds, in ms, and how many times as long as Fern's sparse layer each takes: the
median over rounds of the ratio. --worker adds another program that speaks as sparse_worker.py says.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

SHAPES, DENSITIES = ["2048x512", "512x2048", "512x512", "3072x3072"], [0.5, 0.2, 0.1, 0.05]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bench_sparse")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="OUTPUTSxINPUTS")
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2, help="of each side in a round, after one that warms up")
    parser.add_argument("--modes", nargs="+", help="only these of the workers' modes")
    parser.add_argument("--worker", action="append", default=[], metavar="COMMAND", help="one more program")
    return parser.parse_args()


class Worker:
    """Another program's layers, in a process of their own."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=environment)
        hello = self.answer()
        self.program = hello["program"]
        self.modes = [mode for mode in hello["modes"] if mode in (arguments.modes or hello["modes"])]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self.process.wait()}")
        return json.loads(line)

    def seconds(self, mode, case):
        print(json.dumps({"mode": mode, "calls": arguments.calls, **case}), file=self.process.stdin, flush=True)
        answer = self.answer()
        if "error" in answer:
            raise RuntimeError(f"{self.program} {mode}: {answer['error']}")
        return statistics.median(answer["seconds"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def fern(case):
    command = [arguments.bench_sparse, "--json", f"--shapes={case['outputs']}x{case['inputs']}",
               f"--densities={case['density']}", f"--tokens={case['tokens']}", f"--rounds={arguments.calls}"]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(case, workers):
    """Seconds by side, each a list with an entry a round."""
    sides = {}
    for _ in range(arguments.rounds):
        ours = fern(case)
        sides.setdefault("sparse", []).append(statistics.median(ours["sparse_s"]))
        sides.setdefault("best dense", []).append(statistics.median(ours["dense_s"]))
        for worker in workers:
            for mode in worker.modes:
                sides.setdefault(mode, []).append(worker.seconds(mode, case))
    return sides


def cell(side, ours):
    ratio = statistics.median(theirs / mine for theirs, mine in zip(side, ours))
    return f"{1e3 * statistics.median(side):9.1f} {ratio:6.2f}"


def print_head(workers):
    machine = fern({"outputs": 64, "inputs": 64, "tokens": 64, "density": 0.5})
    programs = " and ".join(worker.program for worker in workers)
    print(f"{machine['processor']}, {arguments.threads} threads, {machine['simd']}; {arguments.tokens} tokens, f32, "
          f"unstructured; forward + dX + dW in ms, and that over Fern's sparse time\n"
          f"beside {programs}, {time.strftime('%F')}, load average {os.getloadavg()[1]:.1f}, "
          f"medians of {arguments.rounds} rounds")
    modes = [mode for worker in workers for mode in worker.modes]
    print(f"{'':18}{'Fern':>9}{'Fern best':>17}" + "".join(f"{worker.program.split()[0]:>17}" for worker in workers
                                                          for _ in worker.modes))
    print(f"{'shape':12}{'':6}{'sparse':>9}" + "".join(f"{name:>17}" for name in ["dense", *modes]))


def main():
    workers = [Worker(command) for command in
               [[sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "sparse_worker.py")],
                *map(shlex.split, arguments.worker)]]
    print_head(workers)
    for shape in arguments.shapes:
        for density in arguments.densities:
            outputs, inputs = map(int, shape.split("x"))
            sides = measure({"outputs": outputs, "inputs": inputs, "tokens": arguments.tokens, "density": density},
                            workers)
            ours = sides.pop("sparse")
            print(f"{shape:12}{100 * (1 - density):4.0f} %{1e3 * statistics.median(ours):9.1f} "
                  + " ".join(cell(side, ours) for side in sides.values()), flush=True)
    for worker in workers:
        worker.end()


arguments = parse_arguments()
environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
if __name__ == "__main__":
    main()
