"""One mode of PyTorch, which train_peer.py starts: train_worker.py MODE ARGUMENTS_AS_JSON.

Reads a number of steps a line and answers each with their tokens/s; 0 ends it, and it answers with its memory.
Every answer is a line of JSON.
"""
import json
import sys
import time
from types import SimpleNamespace

import torch
import torch.nn.functional as F

MODE, SHAPE = sys.argv[1].split(), SimpleNamespace(**json.loads(sys.argv[2]))
HEAD_SIZE = SHAPE.hidden // SHAPE.heads


def status_bytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM begins anew at what is resident now


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class MaskedLinear(torch.nn.Linear):
    """Simulated sparsity: the mask multiplies the weight, and by that its gradient too."""

    def __init__(self, inputs, outputs, bias):
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("mask", (torch.rand(outputs, inputs) >= SHAPE.sparsity).float())

    def forward(self, x):
        return F.linear(x, self.weight * self.mask)


class Experts(torch.nn.Module):
    """Top-k experts, Mixtral's gates: rows sorted by expert, a product for each group of them."""

    def __init__(self):
        super().__init__()
        def weights(*shape):
            return torch.nn.ParameterList(torch.nn.Parameter(torch.empty(*shape)) for _ in range(SHAPE.experts))
        self.router = torch.nn.Linear(SHAPE.hidden, SHAPE.experts, bias=False)
        self.gate_up = weights(2 * SHAPE.ffn, SHAPE.hidden)
        self.down = weights(SHAPE.hidden, SHAPE.ffn)

    def forward(self, x):
        n = x.flatten(0, 1)
        gates, chosen = self.router(n).float().softmax(-1).topk(SHAPE.active)
        gates = (gates / gates.sum(-1, keepdim=True)).flatten()
        order = chosen.flatten().argsort(stable=True)
        token = order // SHAPE.active
        groups = n[token].split(chosen.flatten().bincount(minlength=SHAPE.experts).tolist())
        rows = torch.cat([self.expert(e, group) for e, group in enumerate(groups)])
        y = torch.zeros_like(n).index_add_(0, token, (rows * gates[order, None]).to(n.dtype))
        return y.view(x.shape)

    def expert(self, e, rows):
        gate, up = F.linear(rows, self.gate_up[e]).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, self.down[e])


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        hidden, ffn = SHAPE.hidden, SHAPE.ffn
        Linear = MaskedLinear if "masked" in MODE else torch.nn.Linear
        self.attention_norm = torch.nn.RMSNorm(hidden, eps=1e-5)
        self.qkv = Linear(hidden, 3 * hidden, bias=False)
        self.o = Linear(hidden, hidden, bias=False)
        self.ffn_norm = torch.nn.RMSNorm(hidden, eps=1e-5)
        if SHAPE.experts:
            self.experts = Experts()
            return
        self.gate_up = Linear(hidden, 2 * ffn, bias=False)
        self.down = Linear(ffn, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, hidden = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, SHAPE.heads, HEAD_SIZE)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(o.transpose(1, 2).reshape(batch, length, hidden))
        if SHAPE.experts:
            return x + self.experts(self.ffn_norm(x))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(SHAPE.vocabulary, SHAPE.hidden)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(SHAPE.layers))
        self.norm = torch.nn.RMSNorm(SHAPE.hidden, eps=1e-5)
        half = HEAD_SIZE // 2
        angle = torch.outer(torch.arange(SHAPE.context), 10000.0 ** (-torch.arange(half) / half))
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
    def __init__(self):
        torch.manual_seed(1)
        self.model = Llama()
        if "pure" in MODE:
            self.model.to(torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=True)
        self.loss = torch.compile(self.model) if "compiled" in MODE else self.model
        self.ids, self.targets = (torch.randint(0, SHAPE.vocabulary, (SHAPE.sequences, SHAPE.context))
                                  for _ in range(2))

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="autocast" in MODE):
            loss = self.loss(self.ids, self.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def rates(self, steps):
        rates = []
        self.step()  # not counted: bench_train has its own first step
        for _ in range(steps):
            begin = time.perf_counter()
            self.step()
            rates.append(SHAPE.sequences * SHAPE.context / (time.perf_counter() - begin))
        return rates


def answer(**values):
    print(json.dumps(values), flush=True)


def main():
    torch.set_num_threads(SHAPE.threads)
    idle_bytes = status_bytes("VmRSS")
    peer = Peer()
    for _ in range(2):
        peer.step()  # compiled, and all memory touched
    forget_peak()
    answer(torch=torch.__version__)
    while steps := int(sys.stdin.readline()):
        answer(tokens_per_s=peer.rates(steps))
    peer.step()
    answer(peak_bytes=status_bytes("VmHWM"), idle_bytes=idle_bytes)


main()
