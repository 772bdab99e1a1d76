#!/bin/sh
# Training speed against PyTorch from one run. Usage: run_train_bench.sh BUILD_DIR PYTHON [train_peer.py options]
# PYTHON needs torch. Run it on an idle machine.
set -eu
build=$1 python=$2
shift 2
ninja -C "$build" tests/bench/bench_train >/dev/null
exec "$python" "$(dirname "$0")/train_peer.py" "$build/tests/bench/bench_train" "$@"
