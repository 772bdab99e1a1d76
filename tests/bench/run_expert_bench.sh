#!/bin/sh
# One rank with two threads beside two ranks with one thread each, that share the experts or that each hold all, in
# turn, at the same global batch: whole runs of `fern train` on invented text, d 768 with 4 layers of 8 experts, 2 active.
# Run it on an idle machine.
# Usage: run_expert_bench.sh BUILD_DIR [ROUNDS [SECTION.KEY=VALUE...]]
set -eu
build=$(cd "$1" && pwd) rounds=${2:-3}
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 1 ] && shift 2 || shift
. "$here/../../launch/environment.sh"
export OMP_WAIT_POLICY=passive
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sh "$here/../support/tiny_recipe.sh" "$folder" "$build/fern"
set -- model.layers=4 model.hidden=768 model.heads=12 model.kv_heads=12 model.ffn=1024 model.tie_embeddings=false \
  model.experts.count=8 model.experts.active=2 model.experts.balance_loss=0.01 \
  batch.sequences=64 batch.micro_sequences=8 batch.reduction_shards=4 train.steps=3 optimizer.warmup_steps=1 checkpoint.every=0 \
  parallel.stall_seconds=60 "$@"
settings=
for setting; do settings="$settings --set $setting"; done

# Milliseconds of the steps after the first.
step_ms() { sed -n 's/.*"step":\([0-9]*\),.*"step_s":\([0-9.]*\),.*/\1 \2/p' "$1/metrics.jsonl" | awk '$1 > 1 { print 1000 * $2 }'; }
for round in $(seq "$rounds"); do
  # shellcheck disable=SC2086 # settings are words
  "$build/fern" train "$folder/recipe.toml" --out "$folder/one$round" $settings --set train.threads=2 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  # shellcheck disable=SC2086
  mpirun -n 2 "$build/fern" train "$folder/recipe.toml" --out "$folder/expert$round" $settings --set train.threads=1 \
    --set parallel.expert=2 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  # shellcheck disable=SC2086
  mpirun -n 2 "$build/fern" train "$folder/recipe.toml" --out "$folder/data$round" $settings --set train.threads=1 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  for ms in $(step_ms "$folder/one$round"); do echo "1x2 ms $ms"; done
  for ms in $(step_ms "$folder/expert$round"); do echo "2_expert_x1 ms $ms"; done
  for ms in $(step_ms "$folder/data$round"); do echo "2_data_x1 ms $ms"; done
done | tee "$folder/results"
sort -k1,1 -k3,3n "$folder/results" | awk '$2 == "ms" { ms[$1] = ms[$1] " " $3 }
  END {
    for (name in ms) { n = split(ms[name], all, " "); median[name] = all[int((n + 1) / 2)] }
    for (name in median)
      printf "%-12s median %6.0f ms a step, %.3f of the speed of 1x2\n", name, median[name], median["1x2"] / median[name]
  }'
