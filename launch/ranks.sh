#!/bin/sh
# Runs a command on N ranks of this machine: launch/ranks.sh N build/fern train RECIPE ...
# Ctrl-C and SIGTERM ask the ranks to save and exit 3, and wait for it. mpirun alone passes the signal on too, but kills
# the ranks a second later, which may be in the middle of saving. A second Ctrl-C does not wait.
set -u
[ $# -ge 2 ] || { echo "usage: launch/ranks.sh N COMMAND [ARGUMENTS...]" >&2; exit 2; }
ranks=$1; shift
. "$(dirname "$0")/environment.sh"

# In a session of its own a terminal's Ctrl-C does not reach mpirun; SIGUSR1 it passes on to the ranks, and does no more.
setsid mpirun -n "$ranks" "$@" &
launcher=$!
stop() {
  trap 'kill -INT "$launcher"' INT TERM
  kill -USR1 "$launcher"
}
trap stop INT TERM USR1
status=0
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher" && status=0 || status=$?; done
exit "$status"
