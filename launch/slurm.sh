#!/bin/sh
# Trains a recipe under Slurm: sbatch launch/slurm.sh RECIPE [arguments of fern train].
# The number of ranks may differ from one submission to the next: a run resumes on any that divide
# batch.reduction_shards, with the same result. On preemption Slurm's SIGTERM, or SIGUSR1 five minutes before the time
# limit, makes Fern save and exit 3; the job then queues itself again.
#SBATCH --job-name=fern
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=fern-%j.log
set -u
[ $# -ge 1 ] || { echo "usage: sbatch launch/slurm.sh RECIPE [arguments of fern train]" >&2; exit 2; }
cd "${FERN_HOME:-${SLURM_SUBMIT_DIR:-.}}" || exit 1
[ -x build/fern ] || { echo "slurm: build/fern is missing: run launch/setup.sh here first, or set FERN_HOME" >&2; exit 1; }
. launch/environment.sh

# Slurm's own start-up service is pmix where Open MPI is Debian's; FERN_SLURM_MPI names another.
srun --mpi="${FERN_SLURM_MPI:-pmix}" --kill-on-bad-exit=0 build/fern train "$@" --set train.threads="${SLURM_CPUS_PER_TASK:-1}"
status=$?
if [ "$status" -eq 3 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  echo "slurm: stopped after saving; queueing again"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
