#!/bin/sh
# Instructions per token of whole training steps of a tiny model on one thread, beside the recorded figures in
# instructions.txt. The same on every machine, busy or not. Usage: count_instructions.sh BUILD_DIR [DTYPE...]
# BUILD_DIR is for a processor that valgrind knows: meson setup BUILD_DIR -Dcpu=x86-64-v3 -Dcuda=disabled
# Without DTYPE it counts every dtype that has a recorded figure.
set -eu
build=$1 here=$(cd "$(dirname "$0")" && pwd)
shift
[ $# -gt 0 ] || set -- $(sed -n 's/^\([a-z]*[0-9]*\) .*/\1/p' "$here/instructions.txt")
sequences=2 context=64 more_steps=4
ninja -C "$build" tests/bench/bench_train >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Of the whole program with that many timed steps. A machine with more than AVX2 must not show oneDNN so.
instructions() {
  OMP_NUM_THREADS=1 DNNL_MAX_CPU_ISA=AVX2 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    "$build/tests/bench/bench_train" --hidden 64 --layers 2 --ffn 176 --heads 4 --vocabulary 512 \
    --context $context --sequences $sequences --dtype "$1" --steps "$2" --no-peak >"$log" 2>&1 ||
    { cat "$log" >&2; exit 1; }
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log"
}

for dtype; do
  few=$(instructions "$dtype" 1)
  many=$(instructions "$dtype" $((1 + more_steps)))
  now=$(((many - few) / (more_steps * sequences * context)))
  recorded=$(sed -n "s/^$dtype  *//p" "$here/instructions.txt")
  awk -v dtype="$dtype" -v now="$now" -v recorded="$recorded" 'BEGIN {
    printf "%s: %d instructions per token", dtype, now
    if (recorded == "") print ", none recorded"
    else printf ", recorded %d: %+.2f %%\n", recorded, 100 * (now - recorded) / recorded
  }'
done
