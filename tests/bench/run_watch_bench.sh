#!/bin/sh
# What it costs that ranks watch each other: steps with and without, in turn. Run it on an idle machine.
# Usage: run_watch_bench.sh BUILD_DIR [RANKS [ROUNDS [STEPS_A_ROUND]]]
set -eu
build=$1 ranks=${2:-2} rounds=${3:-5} steps=${4:-2}
. "$(dirname "$0")/../../launch/environment.sh"
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for round in $(seq "$rounds"); do
  for stall in 0 10; do mpirun -n "$ranks" "$build/tests/bench/bench_parallel" "$steps" 0 "$stall"; done
done > "$results"
# A round's steps without watching are beside those with it: the median of the rounds' ratios.
awk '$2 == "ms" && $1 ~ /overlapped/ {
    sum = 0
    for (i = 3; i <= NF; ++i) sum += $i
    mean = sum / (NF - 2)
    if ($1 ~ /watched/) print mean / plain, plain, mean; else plain = mean
  }' "$results" | sort -n | awk -v ranks="$ranks" '
  { ratio[NR] = $1; plain[NR] = $2; watched[NR] = $3 }
  END {
    m = int((NR + 1) / 2)
    printf "%d ranks: a watched step takes %.4f of one that is not (median of %d rounds; %.4f to %.4f; there %.1f and %.1f ms)\n", ranks, ratio[m], NR, ratio[1], ratio[NR], plain[m], watched[m]
  }'
