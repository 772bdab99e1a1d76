#!/bin/sh
# Trains a recipe under Slurm: sbatch launch/slurm.sh [--restarts R] RECIPE [arguments of fern train].
# The number of ranks may differ from one submission to the next: a run resumes on any that divide
# batch.reduction_shards, with the same result. On preemption Slurm's SIGTERM, or SIGUSR1 five minutes before the time
# limit, makes Fern save and exit 3; the job then queues itself again. When a rank dies, hangs or goes astray the others
# exit 4; with --restarts the run then goes on from its last checkpoint, up to R times, on the most of the other ranks that
# can share its work.
#SBATCH --job-name=fern
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=fern-%j.log
set -u
usage() { echo "usage: sbatch launch/slurm.sh [--restarts R] RECIPE [arguments of fern train]" >&2; exit 2; }
restarts=0
[ "${1:-}" != --restarts ] || { [ $# -ge 2 ] || usage; restarts=$2; shift 2; }
[ $# -ge 1 ] || usage
case "$restarts" in ""|*[!0-9]*) usage ;; esac
cd "${FERN_HOME:-${SLURM_SUBMIT_DIR:-.}}" || exit 1
[ -x build/fern ] || { echo "slurm: build/fern is missing: run launch/setup.sh here first, or set FERN_HOME" >&2; exit 1; }
. launch/environment.sh

set -- "$@" --set train.threads="${SLURM_CPUS_PER_TASK:-1}"
ranks=${SLURM_NTASKS:-1}
# Sets status. Slurm's own start-up service is pmix where Open MPI is Debian's; FERN_SLURM_MPI names another. Ranks end by
# themselves, but for one that hangs.
run() {
  srun --ntasks="$ranks" --mpi="${FERN_SLURM_MPI:-pmix}" --kill-on-bad-exit=0 --wait=60 build/fern train "$@"
  status=$?
  # srun gives the signal that killed a rank; for the job that is a rank that failed.
  [ "$status" -le 128 ] || status=4
}

run "$@"
restart=0
while [ "$status" -eq 4 ] && [ "$restart" -lt "$restarts" ]; do
  restart=$((restart + 1))
  left=$((ranks > 1 ? ranks - 1 : 1))
  ranks=$(build/fern train "$@" --most-ranks "$left") || exit 4
  echo "slurm: a rank was lost; restart $restart of $restarts, from the last checkpoint, on $ranks rank(s): the most of the $left left that can share the work"
  run "$@"
done
if [ "$status" -eq 3 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  echo "slurm: stopped after saving; queueing again"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
