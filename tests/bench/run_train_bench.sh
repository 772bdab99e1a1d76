#!/bin/sh
# Training speed and memory against PyTorch, each shape from one interleaved run.
# Usage: run_train_bench.sh BUILD_DIR PYTHON [train_peer.py options]
# Without --hidden it measures both shapes that Fern's figures are quoted for. PYTHON needs torch. Run it on an idle machine.
set -eu
build=$1 python=$2
shift 2
ninja -C "$build" tests/bench/bench_train >/dev/null
peer() { "$python" "$(dirname "$0")/train_peer.py" "$build/tests/bench/bench_train" "$@"; }
case " $*" in
  *" --hidden"*) peer "$@" ;;
  *)
    peer --hidden 512 --layers 6 --ffn 1408 "$@"
    echo
    peer --hidden 768 --layers 12 --ffn 2048 "$@"
    ;;
esac
