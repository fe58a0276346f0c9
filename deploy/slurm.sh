#!/usr/bin/env bash
# A study on a SLURM cluster: one job coordinates, an array of jobs works.
#
#   source FOLDER/addresses    # or export REPARAM_BENCH_STORAGE and REPARAM_BENCH_TRACKING_URI yourself
#   deploy/slurm.sh submit vae_vs_glow-mnist 8 vae_vs_glow --dataset mnist --trials 200
#
# The words are: how the study's identifier begins (its name and its data; more of it if the storage holds several that
# begin so), the number of workers, and the arguments of `reparam-bench study`. To add workers later, or to replace
# those that have ended: deploy/slurm.sh workers vae_vs_glow-mnist 8
#
# Environment: OUTPUT (runs; on a file system that all nodes share), COORDINATOR_OPTIONS and WORKER_OPTIONS for sbatch,
# START_SECONDS (1800) that a worker waits for the study to begin. The coordinator needs no accelerator, but time for the
# whole study: workers end once nothing is left to do and no coordinator is heard of.
#
#SBATCH --job-name=reparam-bench
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

readonly OUTPUT=${OUTPUT:-runs}
readonly START_SECONDS=${START_SECONDS:-1800}
readonly RETRY_SECONDS=${RETRY_SECONDS:-30}
readonly STOPPED='^(130|143)$'
readonly REFUSED=2

submit() {
    local beginning=$1 workers=$2 coordinator
    shift 2
    coordinator=$(queued COORDINATOR_OPTIONS "--cpus-per-task=2 --time=3-00:00:00" coordinate "$@")
    echo "coordinator: job $coordinator"
    # No node waits for a study whose coordinator has not started.
    workers "$beginning" "$workers" "--dependency=after:${coordinator%%;*}"
}

workers() {
    local defaults="--cpus-per-task=4 --time=12:00:00 --array=1-$2${3:+ $3}"
    echo "workers: array $(queued WORKER_OPTIONS "$defaults" work "$1")"
}

# The addresses, which may hold passwords, are handed over by the environment and stand in no command line.
queued() {
    local -n own=$1
    local -a options
    read -ra options <<<"$2 ${own:-}"
    shift 2
    mkdir -p -- "$OUTPUT/logs"
    sbatch --parsable --export=ALL --output="$OUTPUT/logs/slurm-%j.log" "${options[@]}" "$0" "$@"
}

coordinate() {
    step reparam-bench study "$@" --workers 0 --output "$OUTPUT"
}

# Refused are a study that has not begun, and whatever else its log then tells of.
work() {
    local until=$((SECONDS + START_SECONDS)) status
    while true; do
        status=0
        step reparam-bench worker "$1" --output "$OUTPUT" --quiet || status=$?
        if ((status != REFUSED || SECONDS >= until)); then
            return "$status"
        fi
        echo "tried again in $RETRY_SECONDS s"
        sleep "$RETRY_SECONDS"
    done
}

# SLURM sends its signal to steps, such as srun starts, 60 to 120 s before the time is over. The job is then queued again:
# the trial that was under way goes on from its checkpoint. One that was cancelled ends at another time, and is not.
step() {
    local status=0
    # Steps do not take over their job's cores by themselves.
    srun --ntasks=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} "$@" || status=$?
    if [[ $status =~ $STOPPED && -n ${SLURM_JOB_END_TIME:-} ]] && (($(date +%s) > SLURM_JOB_END_TIME - 180)); then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$status"
}

: "${REPARAM_BENCH_STORAGE:?is not set: the address of the storage that all nodes reach}"
: "${REPARAM_BENCH_TRACKING_URI:?is not set: the address of the MLflow server that all nodes reach}"
case "${1:-}" in
    submit | workers | coordinate | work) "$@" ;;
    *)
        echo "usage: $0 submit BEGINNING WORKERS STUDY [OPTION...] | $0 workers BEGINNING WORKERS" >&2
        exit 2
        ;;
esac
