#!/usr/bin/env bash
# A step of a CI job: runs a program on Spark, shows what it prints, and ends as the Spark job does.
#
#   run-job.sh PROGRAM [ARGUMENT…]
#
# MLP_URL, and in MLP_REFRESH_TOKEN a User's access token, come from the CI system's secrets. MLP_JOB_SECONDS says how long it may
# take (default: 3600). At the end the Spark job is deleted, whatever that end is, a cancelled CI job included; its log stays.
set -euo pipefail

program=${1:?"which program? run-job.sh PROGRAM [ARGUMENT…]"}
shift
seconds=${MLP_JOB_SECONDS:-3600}
[[ $seconds =~ ^[1-9][0-9]{0,4}$ ]] || { echo "MLP_JOB_SECONDS=$seconds: write whole seconds, 1 to 99999" >&2; exit 2; }

name="ci-$(date +%s)-$$"
submit=
# Called by the traps. Where the submit was refused there is no job, and nothing to be said of it.
finish() {
    [[ -z $submit ]] || kill "$submit" 2>/dev/null || true
    mlp job delete "$name" --quiet 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT TERM

# In the background: bash hears of a signal while it waits, and not while a command runs.
mlp job submit "$program" --name "$name" --follow --quiet --timeout "$seconds" -- "$@" &
submit=$!
code=0
wait "$submit" || code=$?
[[ $code -ne 5 ]] || echo "$name has not ended in $seconds seconds: it is deleted" >&2
exit "$code"
