#!/usr/bin/env python3
"""Writes llama_golden.json or qwen_golden.json: ten training losses of a tiny Llama or Qwen3, and every gradient at its
first step.

The other side of llama_golden_test.cc. Needs torch and transformers:
    python make_llama_golden.py llama > llama_golden.json
    python make_llama_golden.py qwen3 > qwen_golden.json
Initial weights, documents and the optimizer's settings are in the file or follow from formulas that both sides
share. Documents are run one by one, so the test also shows that packing them changes nothing.
"""
import json
import math
import sys

import torch
import transformers

CONFIG = dict(vocabulary=48, layers=2, hidden=32, heads=4, kv_heads=2, ffn=40, context=32)
OPTIMIZER = dict(learning_rate=3e-3, beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0)
DOCUMENT_LENGTHS = [9, 14, 9, 4, 17, 11]  # two sequences of 32, full
STEPS = 10


def uniform(stream, count):
    """Numbers in [0, 1) that any language can make: the fraction of a large sine."""
    values = []
    for i in range(count):
        scaled = math.sin(12.9898 * (i + 1) + 78.233 * stream) * 43758.5453
        values.append(scaled - math.floor(scaled))
    return values


def make_model(family):
    torch.set_default_dtype(torch.float32)
    sizes = dict(
        vocab_size=CONFIG["vocabulary"], hidden_size=CONFIG["hidden"], intermediate_size=CONFIG["ffn"],
        num_hidden_layers=CONFIG["layers"], num_attention_heads=CONFIG["heads"],
        num_key_value_heads=CONFIG["kv_heads"], max_position_embeddings=CONFIG["context"], rms_norm_eps=1e-5,
        tie_word_embeddings=False, attention_bias=False, use_cache=False, attn_implementation="eager")
    if family == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, mlp_bias=False))
    else:
        head_dim = CONFIG["hidden"] // CONFIG["heads"]
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes, head_dim=head_dim))
    with torch.no_grad():
        for stream, (name, weight) in enumerate(model.named_parameters()):
            noise = torch.tensor(uniform(stream, weight.numel()), dtype=torch.float64) * 2 - 1
            start, spread = (1.0, 0.2) if name.endswith("norm.weight") else (0.0, 0.3)
            weight.copy_((start + spread * noise).reshape(weight.shape))
    return model


def make_documents():
    ids = [int(u * CONFIG["vocabulary"]) for u in uniform(1000, sum(DOCUMENT_LENGTHS))]
    documents, begin = [], 0
    for length in DOCUMENT_LENGTHS:
        documents.append(ids[begin:begin + length])
        begin += length
    return documents


def batch_loss(model, documents):
    """Mean over all targets of all documents; each token but a document's first is a target."""
    total, targets = 0.0, 0
    for document in documents:
        ids = torch.tensor([document])
        logits = model(ids).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
        targets += len(document) - 1
    return total / targets


def make_optimizer(model):
    def is_decayed(name):
        return "norm" not in name and "embed" not in name and "lm_head" not in name
    named = list(model.named_parameters())
    groups = [dict(params=[p for n, p in named if is_decayed(n)], weight_decay=OPTIMIZER["weight_decay"]),
              dict(params=[p for n, p in named if not is_decayed(n)], weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=OPTIMIZER["learning_rate"], eps=OPTIMIZER["epsilon"],
                             betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]))


def main():
    family = sys.argv[1]
    model, documents = make_model(family), make_documents()
    optimizer = make_optimizer(model)
    losses, gradients = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = batch_loss(model, documents)
        loss.backward()
        if step == 0:
            gradients = [dict(name=name, values=[float(f"{g:.9g}") for g in weight.grad.flatten().tolist()])
                         for name, weight in model.named_parameters()]
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["clip_norm"])
        optimizer.step()
        losses.append(float(f"{loss.item():.9g}"))
    made_with = f"torch {torch.__version__}, transformers {transformers.__version__}"
    config = CONFIG | (dict(qk_norm=True) if family == "qwen3" else {})
    json.dump(dict(made_with=made_with, config=config, optimizer=OPTIMIZER, documents=documents, losses=losses,
                   gradients=gradients), sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
