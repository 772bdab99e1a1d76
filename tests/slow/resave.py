"""Saves an exported folder again with transformers: in the layout of published checkpoints, and as transformers 5 holds it.

Usage: resave.py EXPORT_FOLDER OUT STACKED_OUT
"""
import pathlib
import shutil
import sys

import torch
import transformers


def main():
    folder, out, stacked = map(pathlib.Path, sys.argv[1:])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.save_pretrained(out)
    model.save_pretrained(stacked, save_original_format=False)
    for saved in (out, stacked):
        shutil.copy(folder / "tokenizer.model", saved)


if __name__ == "__main__":
    main()
