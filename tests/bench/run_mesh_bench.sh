#!/bin/sh
# One rank with two threads beside two ranks with one thread each, in turn, at the same global batch: whole runs of `fern
# train` on invented text, d 768. `dense` has 12 layers, and ranks that are stages or share every matrix; `experts` has 4
# layers of 8 experts, 2 active, and ranks that share the experts or each hold all. Run it on an idle machine.
# Usage: run_mesh_bench.sh BUILD_DIR dense|experts [ROUNDS [SECTION.KEY=VALUE...]]
set -eu
build=$(cd "$1" && pwd) model=$2 rounds=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 2 ] && shift 3 || shift 2
. "$here/../../launch/environment.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sh "$here/../support/tiny_recipe.sh" "$folder" "$build/fern"
case $model in
  dense)
    layouts="pipeline tensor"
    set -- model.layers=12 model.ffn=2048 batch.micro_sequences=4 "$@" ;;
  experts)
    layouts="expert data"
    set -- model.layers=4 model.ffn=1024 model.experts.count=8 model.experts.active=2 model.experts.balance_loss=0.01 \
      batch.micro_sequences=8 "$@" ;;
  *) echo "run_mesh_bench.sh: expected dense or experts, got '$model'" >&2; exit 2 ;;
esac
settings=
for setting in model.hidden=768 model.heads=12 model.kv_heads=12 model.tie_embeddings=false batch.sequences=64 \
  batch.reduction_shards=4 train.steps=3 optimizer.warmup_steps=1 checkpoint.every=0 parallel.stall_seconds=60 "$@"; do
  settings="$settings --set $setting"
done

# Trains NAME's run by the command that follows, and says the milliseconds of each step but the first.
run() {
  name=$1
  shift
  rm -rf "${folder:?}/$name"
  # shellcheck disable=SC2086 # settings are words
  "$@" "$folder/recipe.toml" --out "$folder/$name" $settings $own 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
  sed -n 's/.*"step":\([0-9]*\),.*"step_s":\([0-9.]*\),.*/\1 \2/p' "$folder/$name/metrics.jsonl" |
    awk -v name="$name" '$1 > 1 { print name, "ms", 1000 * $2 }'
}
for _ in $(seq "$rounds"); do
  own="--set train.threads=2"
  run 1x2 "$build/fern" train
  for axis in $layouts; do
    own="--set train.threads=1"
    [ "$axis" = data ] || own="$own --set parallel.$axis=2"
    run "2x1_$axis" mpirun -n 2 "$build/fern" train
  done
done > "$folder/results"
cat "$folder/results"
[ "$model" = experts ] || "$build/fern" compare "$folder/1x2" "$folder/2x1_pipeline"
sort -k1,1 -k3,3n "$folder/results" | awk '{ ms[$1] = ms[$1] " " $3 }
  END {
    for (name in ms) { n = split(ms[name], all, " "); median[name] = all[int((n + 1) / 2)] }
    for (name in median)
      printf "%-12s median %6.0f ms a step, %.3f of the speed of 1x2\n", name, median[name], median["1x2"] / median[name]
  }'
