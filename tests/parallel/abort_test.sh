#!/bin/sh
# A rank that fails ends the others within seconds. Usage: abort_test.sh PROGRAM MPIRUN [ARGUMENT]...
set -u
program=$1
shift
failed=0

# run HOW EXPECTED MPIRUN...: rank 1 fails in this way; mpirun must end by itself with this exit code.
run() {
  how=$1 expected=$2
  shift 2
  timeout 20 "$@" -n 3 "$program" "$how" >/dev/null 2>&1
  status=$?
  [ "$status" -eq "$expected" ] || { echo "abort_test: $how: expected exit code $expected, got $status (124: it hung)"; failed=1; }
}

run abort 4 "$@"   # what main does
run throw 1 "$@"   # an error that unwinds past the communicator
exit $failed
