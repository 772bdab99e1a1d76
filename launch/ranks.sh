#!/bin/sh
# Runs a command on N ranks of this machine: launch/ranks.sh [--restarts R] N build/fern train RECIPE ...
# Ctrl-C and SIGTERM ask the ranks to save and exit 3, and wait for it. mpirun alone passes the signal on too, but kills
# the ranks a second later, which may be in the middle of saving. A second Ctrl-C does not wait.
# When a rank dies, hangs or goes astray the others exit 4. With --restarts the run then goes on from its last checkpoint,
# up to R times, without the rank that was lost: on the most of the others that can share the recipe's work.
set -u
usage() { echo "usage: launch/ranks.sh [--restarts R] N COMMAND [ARGUMENTS...]" >&2; exit 2; }
restarts=0
[ "${1:-}" != --restarts ] || { [ $# -ge 2 ] || usage; restarts=$2; shift 2; }
[ $# -ge 2 ] || usage
case "$restarts$1" in *[!0-9]*) usage ;; esac
ranks=$1; shift
. "$(dirname "$0")/environment.sh"

asked_to_stop=
stop() {
  asked_to_stop=yes
  trap 'kill -INT "$launcher"' INT TERM
  kill -USR1 "$launcher"
}

# Sets status.
run() {
  # In a session of its own a terminal's Ctrl-C does not reach mpirun; SIGUSR1 it passes on to the ranks, and does no more.
  setsid mpirun -n "$ranks" "$@" &
  launcher=$!
  trap stop INT TERM USR1
  status=0
  while kill -0 "$launcher" 2>/dev/null; do wait "$launcher" && status=0 || status=$?; done
  # mpirun gives the signal that killed a rank; for the job that is a rank that failed.
  [ "$status" -le 128 ] || [ -n "$asked_to_stop" ] || status=4
}

run "$@"
restart=0
while [ "$status" -eq 4 ] && [ "$restart" -lt "$restarts" ] && [ -z "$asked_to_stop" ]; do
  restart=$((restart + 1))
  left=$((ranks > 1 ? ranks - 1 : 1))
  ranks=$("$@" --most-ranks "$left") || exit 4
  echo "ranks: a rank was lost; restart $restart of $restarts, from the last checkpoint, on $ranks rank(s): the most of the $left left that can share the work" >&2
  run "$@"
done
exit "$status"
