#!/usr/bin/env python3
"""Training speed of bench_train's shape in PyTorch, and the ratio, from one interleaved run.

    train_peer.py BENCH_TRAIN [--threads 2] [--rounds 5] [--steps 2] [--no-compile]

Each round runs bench_train, then PyTorch eager, then PyTorch compiled (where torch.compile works), a few steps
each; medians over all steps of all rounds are compared. Both sides take whole steps: forward, backward,
clipping, AdamW. The peer is the faster of its two forms.
"""
import argparse
import os
import platform
import statistics
import subprocess
import time

VOCABULARY, LAYERS, HIDDEN, HEADS, FFN, CONTEXT, SEQUENCES = 16000, 6, 512, 8, 1408, 512, 4


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bench_train")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of each side in a round")
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


arguments = parse_arguments()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
import torch  # noqa: E402  reads OMP_NUM_THREADS when it loads
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(arguments.threads)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = torch.nn.RMSNorm(HIDDEN, eps=1e-5)
        self.qkv = torch.nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.o = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.ffn_norm = torch.nn.RMSNorm(HIDDEN, eps=1e-5)
        self.gate_up = torch.nn.Linear(HIDDEN, 2 * FFN, bias=False)
        self.down = torch.nn.Linear(FFN, HIDDEN, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, HEADS, HIDDEN // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(o.transpose(1, 2).reshape(batch, length, HIDDEN))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = torch.nn.RMSNorm(HIDDEN, eps=1e-5)
        half = HIDDEN // HEADS // 2
        angle = torch.outer(torch.arange(CONTEXT), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embedding.weight)  # tied, as bench_train's
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Peer:
    def __init__(self, compiled):
        torch.manual_seed(1)
        self.model = Llama()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=True)
        self.loss = torch.compile(self.model) if compiled else self.model
        self.ids = torch.randint(0, VOCABULARY, (SEQUENCES, CONTEXT))
        self.targets = torch.randint(0, VOCABULARY, (SEQUENCES, CONTEXT))

    def step(self):
        self.optimizer.zero_grad()
        self.loss(self.ids, self.targets).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def rates(self, steps):
        rates = []
        self.step()  # not counted: bench_train has its own first step
        for _ in range(steps):
            begin = time.perf_counter()
            self.step()
            rates.append(SEQUENCES * CONTEXT / (time.perf_counter() - begin))
        return rates


def compiled_peer():
    try:
        peer = Peer(compiled=True)
        peer.step()
        return peer
    except Exception as error:  # torch.compile needs a compiler and more; say why and go on without
        print(f"torch.compile does not work here: {type(error).__name__}: {str(error).splitlines()[0]}")
        return None


def ours(steps):
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    output = subprocess.run([arguments.bench_train, str(steps)], env=environment, check=True,
                            capture_output=True, text=True).stdout
    lines = output.strip().splitlines()
    return [float(rate) for rate in lines[-1].split()[1:]], lines[:-1]


def main():
    print(f"PyTorch {torch.__version__}, {platform.machine()}, {arguments.threads} threads, fp32; d {HIDDEN}, "
          f"{LAYERS} layers, {HEADS} heads, ffn {FFN}, vocabulary {VOCABULARY}, {SEQUENCES} x {CONTEXT} tokens")
    peers = {"PyTorch eager": Peer(compiled=False)}
    if not arguments.no_compile and (compiled := compiled_peer()):
        peers["PyTorch compiled"] = compiled
    rates = {name: [] for name in ["Fern", *peers]}
    for _ in range(arguments.rounds):
        new, lines = ours(arguments.steps)
        rates["Fern"] += new
        for name, peer in peers.items():
            rates[name] += peer.rates(arguments.steps)
    print(*lines, sep="\n")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"{name:17} median {medians[name]:7.1f} tokens/s   ({min(values):.1f} to {max(values):.1f}, "
              f"{len(values)} steps)")
    best = max(peers, key=medians.get)
    print(f"Fern / {best}: {medians['Fern'] / medians[best]:.2f}")


if __name__ == "__main__":
    main()
