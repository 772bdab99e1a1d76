#!/usr/bin/env python3
"""Writes sparse_golden.json: ten training losses of a tiny Llama whose weights are masked, as PyTorch computes them.

The other side of sparse_golden_test.cc; model, documents and optimizer are those of make_llama_golden.py. Once with
masks that stay, once with RigL (Evci et al. 2020): after step 5 the smallest weights go and those with the largest
gradients come, starting at zero with moments and a step count of their own. Needs torch and transformers:
    python make_sparse_golden.py > sparse_golden.json
"""
import json
import math
import sys

import torch
import transformers

from make_llama_golden import CONFIG, OPTIMIZER, STEPS, batch_loss, make_documents, make_model, uniform

DENSITY = 0.3
RIGL = dict(drop_fraction=0.3, interval=5, stop=0.75)  # one update, after step 5
MASK_STREAM = 500  # of uniform(), plus the parameter's number


def is_matrix(name):
    return "self_attn" in name or "mlp" in name


class MaskedAdamW:
    """AdamW whose every weight counts its own steps."""

    def __init__(self, named, masks):
        self.named, self.masks = named, masks
        self.m = {n: torch.zeros_like(w) for n, w in named.items()}
        self.v = {n: torch.zeros_like(w) for n, w in named.items()}
        self.age = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in named.items()}

    def step(self):
        beta1, beta2, rate = OPTIMIZER["beta1"], OPTIMIZER["beta2"], OPTIMIZER["learning_rate"]
        for name, weight in self.named.items():
            m, v, age = self.m[name], self.v[name], self.age[name]
            age += 1
            m.mul_(beta1).add_(weight.grad, alpha=1 - beta1)
            v.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
            change = (m / (1 - beta1 ** age)) / ((v / (1 - beta2 ** age)).sqrt() + OPTIMIZER["epsilon"])
            decay = OPTIMIZER["weight_decay"] if is_matrix(name) else 0.0
            weight.mul_(1 - rate * decay).sub_((rate * change).to(weight.dtype))
            if name in self.masks:
                weight.mul_(self.masks[name])

    def grow(self, name, grown):
        for tensor in (self.named[name], self.m[name], self.v[name], self.age[name]):
            tensor[grown] = 0


def update_topology(optimizer, name, dense_gradient, step):
    weight, mask = optimizer.named[name], optimizer.masks[name]
    way = step / (RIGL["stop"] * STEPS)
    share = RIGL["drop_fraction"] * 0.5 * (1 + math.cos(math.pi * way))
    count = int(math.floor(share * int(mask.sum()) + 0.5))
    flat = mask.flatten()
    size = weight.abs().flatten().masked_fill(flat == 0, math.inf)
    gain = dense_gradient.abs().flatten().masked_fill(flat == 1, -1)
    dropped, grown = torch.argsort(size)[:count], torch.argsort(gain, descending=True)[:count]
    flat[dropped] = 0
    flat[grown] = 1
    new = torch.zeros_like(flat, dtype=torch.bool)
    new[grown] = True
    weight.mul_(mask)
    optimizer.grow(name, new.reshape(mask.shape))


def train(rigl):
    model, documents = make_model(), make_documents()
    named = dict(model.named_parameters())
    masks = {}
    with torch.no_grad():
        for stream, (name, weight) in enumerate(named.items()):
            if not is_matrix(name):
                continue
            chance = torch.tensor(uniform(MASK_STREAM + stream, weight.numel()), dtype=torch.float64)
            masks[name] = (chance < DENSITY).reshape(weight.shape).to(weight.dtype)
            weight.mul_(masks[name])
    optimizer, losses = MaskedAdamW(named, masks), []
    for step in range(1, STEPS + 1):
        model.zero_grad()
        loss = batch_loss(model, documents)
        loss.backward()
        dense = {name: named[name].grad.clone() for name in masks}
        for name, mask in masks.items():
            named[name].grad.mul_(mask)
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["clip_norm"])
        with torch.no_grad():
            optimizer.step()
            if rigl and step == RIGL["interval"]:
                for name in masks:
                    update_topology(optimizer, name, dense[name], step)
        losses.append(float(f"{loss.item():.9g}"))
    exist = [dict(name=name, places=mask.flatten().nonzero().flatten().tolist()) for name, mask in masks.items()]
    return dict(losses=losses, exist=exist)


def main():
    json.dump(dict(made_with=f"torch {torch.__version__}, transformers {transformers.__version__}", config=CONFIG,
                   optimizer=OPTIMIZER, documents=make_documents(), density=DENSITY, rigl=RIGL,
                   parameters=[name for name, _ in make_model().named_parameters()],
                   static=train(False), grown=train(True)), sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
