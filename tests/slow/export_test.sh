#!/bin/sh
# Collects real text, trains a small model of each family on it, exports them, and opens the exports with transformers
# (export_test.py). What transformers then saves, experts also stacked, is imported and has the same weights.
# Usage: export_test.sh PROBE FERN SOURCE_ROOT [PYTHON]. Skips (77) without a Python that has torch and transformers.
set -eu
probe=$1 fern=$2 root=$3 python=${4:-}
[ -n "$python" ] || { echo "skipped: no Python given (meson configure build -Dpython=...)"; exit 77; }
"$python" -c 'import torch, transformers, sentencepiece, google.protobuf' ||
  { echo "skipped: $python lacks torch, transformers, sentencepiece or protobuf"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
weights_of() { "$fern" inspect "$1" --json | sed -n 's/.*"weights_hash": "\(.*\)".*/\1/p'; }

quietly "$fern" collect gettext --out "$work/collection"
set -- "$root/recipes/instruct/quickstart.toml" --set "data.segments=[\"$work/collection\"]" \
  --set "data.folder=$work/prepared" --set data.min_segments=50 --set data.max_segments=500 \
  --set tokenizer.vocabulary=6000 --set tokenizer.character_coverage=0.999
quietly "$fern" prepare "$@"
set -- "$@" --set train.steps=40 --set optimizer.warmup_steps=4
quietly "$fern" train "$@" --out "$work/llama"
quietly "$fern" train "$@" --set model.qk_norm=true --set model.head_dim=40 --out "$work/qwen3"
set -- "$@" --set model.experts.count=4 --set model.experts.ffn=256
quietly "$fern" train "$@" --out "$work/mixtral"
set -- "$@" --set model.qk_norm=true --set model.experts.every=2
quietly "$fern" train "$@" --out "$work/qwen3_moe"
quietly "$fern" train "$@" --set model.experts.router=switch --out "$work/qwen3_moe_switch"

for model in llama mixtral qwen3 qwen3_moe qwen3_moe_switch; do
  "$fern" export "$work/$model" --out "$work/$model/export"
  "$python" "$root/tests/slow/export_test.py" "$probe" "$work/$model/export" "$work/collection"
  "$python" "$root/tests/slow/resave.py" "$work/$model/export" "$work/$model/again" "$work/$model/stacked"
  for saved in again stacked; do
    "$fern" import "$work/$model/$saved" --out "$work/$model/import-$saved"
    [ "$(weights_of "$work/$model/import-$saved")" = "$(weights_of "$work/$model")" ] ||
      { echo "$model: what transformers saved ($saved) has other weights"; exit 1; }
  done
done
