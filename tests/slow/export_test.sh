#!/bin/sh
# Collects real text, trains a small model on it, exports it, and opens the export with transformers (export_test.py).
# Usage: export_test.sh PROBE FERN SOURCE_ROOT [PYTHON]. Skips (77) without a Python that has torch and transformers.
set -eu
probe=$1 fern=$2 root=$3 python=${4:-}
[ -n "$python" ] || { echo "skipped: no Python given (meson configure build -Dpython=...)"; exit 77; }
"$python" -c 'import torch, transformers, sentencepiece, google.protobuf' ||
  { echo "skipped: $python lacks torch, transformers, sentencepiece or protobuf"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$fern" collect gettext --out "$work/collection" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
set -- "$root/recipes/instruct/quickstart.toml" --set "data.segments=[\"$work/collection\"]" \
  --set "data.folder=$work/prepared" --set data.min_segments=50 --set data.max_segments=500 \
  --set tokenizer.vocabulary=6000 --set tokenizer.character_coverage=0.999
"$fern" prepare "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
"$fern" train "$@" --set train.steps=40 --set optimizer.warmup_steps=4 --out "$work/run" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
"$fern" export "$work/run" --out "$work/export"
"$python" "$root/tests/slow/export_test.py" "$probe" "$work/export" "$work/collection"
