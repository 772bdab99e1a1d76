#!/bin/sh
# One rank with two threads beside two ranks with one thread each, in turn. Run it on an idle machine.
# Usage: run_parallel_bench.sh BUILD_DIR [ROUNDS [STEPS_A_ROUND [ZERO]]]
set -eu
build=$1 rounds=${2:-5} steps=${3:-3} zero=${4:-0}
. "$(dirname "$0")/../../launch/environment.sh"
ninja -C "$build" tests/bench/bench_parallel >/dev/null
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for round in $(seq "$rounds"); do
  OMP_NUM_THREADS=2 "$build/tests/bench/bench_parallel" "$steps"
  OMP_NUM_THREADS=1 mpirun -n 2 "$build/tests/bench/bench_parallel" "$steps" "$zero"
done | tee "$results"
awk '$2 == "ms" { for (i = 3; i <= NF; ++i) print $1, $i }' "$results" | sort -k1,1 -k2,2n | awk '
  $1 != name { if (n) medians[name] = ms[int((n + 1) / 2)]; name = $1; n = 0 }
  { ms[++n] = $2 }
  END {
    medians[name] = ms[int((n + 1) / 2)]
    for (name in medians)
      printf "%-16s median %6.0f ms a step, %.3f of the speed of 1x2\n", name, medians[name], medians["1x2"] / medians[name]
  }'
