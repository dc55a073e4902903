#!/usr/bin/env bash
#SBATCH --job-name=tclap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#
# Ray over the allocated nodes, and a sweep on it:
#
#   sbatch cluster/slurm.sh sweeps/table4.py --preset paper --name paper --data /shared/esc50 --storage /shared/runs \
#     --use-gpu --gpus-per-worker 0.5
#
# Without the line of --gpus-per-node above, leave out --use-gpu and --gpus-per-worker, too.
# Five minutes before the time is over the sweep checkpoints and stops; the same command goes on from there.
# TCLAP_SIF=/shared/tclap.sif runs the image with Apptainer; else `ray` and `python` are those of the shell that submits.
set -euo pipefail
(($#)) || { echo "error: which sweep? sbatch cluster/slurm.sh sweeps/table4.py [FLAGS]" >&2; exit 2; }
: "${SLURM_JOB_ID:?error: start it with sbatch}"
if [[ -z ${MLFLOW_TRACKING_URI:-} ]] && ((SLURM_JOB_NUM_NODES > 1)); then
  echo "note: MLFLOW_TRACKING_URI is not set, so every node writes to one SQLite file: set it where the folder is NFS" >&2
fi

run=()
[[ -z ${TCLAP_SIF:-} ]] || run=(apptainer exec --nv --bind "$PWD${TCLAP_BIND:+,$TCLAP_BIND}" "$TCLAP_SIF")

# Since 22.05 srun does not take it from sbatch, and a task has one core.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
step=(srun --overlap --ntasks-per-node=1)
ip=$("${step[@]}" --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | tr ' ' '\n' | grep -m1 -F .)
address=$ip:$((20000 + SLURM_JOB_ID % 10000)) # jobs that share a node do not meet; 10002-19999 are Ray's

# srun hands the environment on, so that every process has the token and nothing is written or on a command line.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_ADDRESS=$address
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID # Slurm's TMPDIR may be too long for the path of a socket
mkdir -p "$RAY_TMPDIR"
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # for Ray Serve's sake a stopped node would linger for 30 s
node=(--num-cpus "${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}" --dashboard-agent-listen-port 0 --disable-usage-stats --block)

trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
"${step[@]}" --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" "${run[@]}" \
  ray start --head --node-ip-address "$ip" --port "${address#*:}" --dashboard-port $((30000 + SLURM_JOB_ID % 10000)) \
  --temp-dir "/tmp/ray-$SLURM_JOB_ID" "${node[@]}" &

ready() { # ready NODES: wait until so many have joined
  "${run[@]}" python - "$1" <<'PYTHON'
import sys, time, ray

wanted, give_up = int(sys.argv[1]), time.monotonic() + 300
while True:
    try:
        ray.init(logging_level="CRITICAL", ignore_reinit_error=True)
        here = sum(node["Alive"] for node in ray.nodes())
    except (ConnectionError, RuntimeError):  # the head is not there yet
        here = 0
    if here >= wanted:
        break
    if time.monotonic() > give_up:
        sys.exit(f"error: {here} of {wanted} Ray nodes after 5 minutes")
    time.sleep(1)
PYTHON
}

ready 1
if ((${#nodes[@]} > 1)); then
  "${step[@]}" --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="${nodes[0]}" "${run[@]}" \
    ray start --address "$address" "${node[@]}" &
  ready "${#nodes[@]}"
fi

"${run[@]}" python "$@" &
sweep=$!
trap 'kill -TERM $sweep' TERM # of --signal above: the sweep checkpoints what runs
while true; do
  code=0
  wait "$sweep" || code=$?
  kill -0 "$sweep" 2>/dev/null || exit "$code" # else the wait ended because of the signal
done
