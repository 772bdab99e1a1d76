#!/bin/sh
# One rank with two threads beside two stages, and two ranks that share every matrix, with one thread each, in turn, at the
# same global batch: whole runs of `fern train` on invented text, d 768 with 12 layers. Run it on an idle machine.
# Usage: run_pipeline_bench.sh BUILD_DIR [ROUNDS [SECTION.KEY=VALUE...]]
set -eu
build=$(cd "$1" && pwd) rounds=${2:-3}
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 1 ] && shift 2 || shift
. "$here/../../launch/environment.sh"
export OMP_WAIT_POLICY=passive
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sh "$here/../support/tiny_recipe.sh" "$folder" "$build/fern"
set -- model.layers=12 model.hidden=768 model.heads=12 model.kv_heads=12 model.ffn=2048 model.tie_embeddings=false \
  batch.sequences=64 batch.micro_sequences=4 batch.reduction_shards=4 train.steps=3 optimizer.warmup_steps=1 checkpoint.every=0 \
  parallel.stall_seconds=60 "$@"
settings=
for setting; do settings="$settings --set $setting"; done

# Milliseconds of the steps after the first.
step_ms() { sed -n 's/.*"step":\([0-9]*\),.*"step_s":\([0-9.]*\),.*/\1 \2/p' "$1/metrics.jsonl" | awk '$1 > 1 { print 1000 * $2 }'; }
for round in $(seq "$rounds"); do
  # shellcheck disable=SC2086 # settings are words
  "$build/fern" train "$folder/recipe.toml" --out "$folder/one$round" $settings --set train.threads=2 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  # shellcheck disable=SC2086
  mpirun -n 2 "$build/fern" train "$folder/recipe.toml" --out "$folder/two$round" $settings --set train.threads=1 \
    --set parallel.pipeline=2 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  "$build/fern" compare "$folder/one$round" "$folder/two$round"
  # shellcheck disable=SC2086
  mpirun -n 2 "$build/fern" train "$folder/recipe.toml" --out "$folder/shares$round" $settings --set train.threads=1 \
    --set parallel.tensor=2 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  for ms in $(step_ms "$folder/one$round"); do echo "1x2 ms $ms"; done
  for ms in $(step_ms "$folder/two$round"); do echo "2_stages_x1 ms $ms"; done
  for ms in $(step_ms "$folder/shares$round"); do echo "2_shares_x1 ms $ms"; done
done | tee "$folder/results"
sort -k1,1 -k3,3n "$folder/results" | awk '$2 == "ms" { ms[$1] = ms[$1] " " $3 }
  END {
    for (name in ms) { n = split(ms[name], all, " "); median[name] = all[int((n + 1) / 2)] }
    for (name in median)
      printf "%-12s median %6.0f ms a step, %.3f of the speed of 1x2\n", name, median[name], median["1x2"] / median[name]
  }'
