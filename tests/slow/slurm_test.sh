#!/bin/sh
# Runs a command line against a real one-node Slurm that lives in a temporary folder for as long as it takes.
# Usage: slurm_test.sh SOURCE_ROOT BUILD_ROOT. Skips (77) where slurmctld, slurmd and munged are missing
# (Debian: slurm-wlm munge) or where it is not run as root.
set -u
root=$1 build=$2
for program in slurmctld slurmd munged srun sbatch; do
  command -v "$program" >/dev/null || { echo "skipped: no $program (Debian: slurm-wlm, munge)"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: a Slurm of one's own needs root"; exit 77; }
pgrep -x slurmctld >/dev/null && { echo "skipped: a Slurm is running here already"; exit 77; }

work=$(mktemp -d)
cleanup() {
  for daemon in slurmd slurmctld munged; do
    [ -f "$work/$daemon.pid" ] || continue
    pid=$(cat "$work/$daemon.pid")
    kill "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null && sleep 0.5; done
  done
  rm -rf "$work"
}
trap cleanup EXIT INT TERM
fail() { echo "failed: $1" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }

# munge answers at a socket of its own, so that a machine's munge is left alone.
mkdir -p "$work/munge" "$work/state" "$work/spool"
dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 2>/dev/null
chmod 400 "$work/munge.key"
chmod 755 "$work" "$work/munge"
munged --force --key-file="$work/munge.key" --socket="$work/munge/socket" --pid-file="$work/munged.pid" \
  --log-file="$work/munged.log" --seed-file="$work/munge.seed" || fail "munged did not start"

cpus=$(nproc)
cat > "$work/slurm.conf" <<END
ClusterName=fern
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=pmix
ReturnToService=2
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmctldPort=26817
SlurmdPort=26818
KillWait=30
MinJobAge=300
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF="$work/slurm.conf"
slurmctld -c -f "$SLURM_CONF" || fail "slurmctld did not start"
slurmd -f "$SLURM_CONF" || fail "slurmd did not start"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sinfo -h -o %T 2>/dev/null | grep -q idle && break
  sleep 1
done
sinfo -h -o %T | grep -q idle || fail "the node never became idle"

# A tiny corpus, prepared; then the job script itself, stopped by Slurm half way and queued again.
export FERN_HOME="$work/home"
mkdir -p "$FERN_HOME/launch" "$FERN_HOME/build"
cp "$root"/launch/*.sh "$FERN_HOME/launch/"
ln -s "$build/fern" "$FERN_HOME/build/fern"
"$root/tests/support/tiny_recipe.sh" "$work/tiny" "$build/fern" || fail "the tiny corpus was not prepared"

cd "$FERN_HOME" || exit 1
job=$(sbatch --parsable --ntasks=2 --cpus-per-task=1 --output="$work/job.log" launch/slurm.sh "$work/tiny/recipe.toml" \
  --out "$work/run" --set train.steps=400) || fail "sbatch refused the job"
for _ in $(seq 60); do
  [ -s "$work/run/metrics.jsonl" ] && [ "$(wc -l < "$work/run/metrics.jsonl")" -ge 5 ] && break
  sleep 1
done
[ -s "$work/run/metrics.jsonl" ] || fail "the job wrote no metrics in a minute"
scancel --signal=USR1 "$job"
for _ in $(seq 120); do
  state=$(squeue -h -j "$job" -o %T 2>/dev/null)
  [ -z "$state" ] && break
  # Slurm holds a queued-again job back for two minutes; a test need not wait so long. But a credential of the second
  # in which the job was ended counts as revoked.
  [ "$state" = PENDING ] && sleep 3 && scontrol update JobId="$job" StartTime=now
  sleep 1
done
grep -q "queueing again" "$work/job.log" || fail "the job did not save and queue itself again"
last=$(tail -n 1 "$work/run/metrics.jsonl")
case "$last" in *'"step":400'*) ;; *) fail "the job ended before step 400: $last" ;; esac
[ "$(wc -l < "$work/run/metrics.jsonl")" -eq 400 ] || fail "steps were lost or repeated over the restart"

# The same, uninterrupted, on one rank without Slurm: equal.
unset SLURM_CONF
"$build/fern" train "$work/tiny/recipe.toml" --out "$work/solo" --set train.steps=400 >/dev/null || fail "the run on one rank failed"
"$build/fern" compare "$work/run" "$work/solo" || fail "the run under Slurm differs from the one without"
echo "ok: two ranks under Slurm, stopped and queued again, equal one rank that never stopped"
