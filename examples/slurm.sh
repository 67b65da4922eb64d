#!/bin/bash
# A campaign on several nodes of a Slurm cluster: sbatch examples/slurm.sh (docs/cluster.md).
# When its time is up, or a node is lost, Slurm queues it again, and the campaign goes on from the database.
# Submit it from an environment that has sofim and ray.
#SBATCH --job-name=sofim
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# with GPUs: #SBATCH --gpus-per-node=4, and --gpus-per-trial 1 behind sofim launch

: "${SOFIM_STORAGE:?a database that all nodes reach, as postgresql+psycopg://me@dbhost/sofim; its password in ~/.pgpass}"
export RAY_AUTH_MODE=token RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # which srun no longer has from the job itself
[ -e ~/.ray/auth_token ] || (umask 077 && ray get-auth-token --generate > /dev/null)
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
srun --wait=120 ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --object-store-memory 1000000000 \
  -- sofim launch "${CAMPAIGN:-paper}" --address auto &
wait $!
