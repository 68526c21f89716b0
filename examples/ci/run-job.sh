#!/usr/bin/env bash
# A step of a CI job: runs a program on Spark, shows its log, and ends as the Spark job does.
#
#   run-job.sh PROGRAM [ARGUMENT…]
#
# MLP_URL, and in MLP_REFRESH_TOKEN a User's access token, come from the CI system's secrets. MLP_JOB_SECONDS says how long it may
# take (default: 3600). Whatever ends this script early, a cancelled CI job included, deletes the Spark job.
set -euo pipefail

program=${1:?"which program? run-job.sh PROGRAM [ARGUMENT…]"}
shift
seconds=${MLP_JOB_SECONDS:-3600}
[[ $seconds =~ ^[1-9][0-9]{0,4}$ ]] || { echo "MLP_JOB_SECONDS=$seconds: write whole seconds, 1 to 99999" >&2; exit 2; }

name="ci-$(date +%s)-$$"
over=no
# Called by the trap. Where the submit was refused there is no job, and nothing to be said of it.
finish() { [[ $over = yes ]] || mlp job delete "$name" --quiet 2>/dev/null || true; }
trap finish EXIT
trap 'exit 130' INT TERM

mlp job submit "$program" --name "$name" --quiet -- "$@"
while true; do
    status=$(mlp job show "$name" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])')
    [[ $status = COMPLETED || $status = FAILED ]] && break
    if ((SECONDS >= seconds)); then
        mlp job explain "$name" >&2
        echo "$name has not ended in $seconds seconds: it is deleted" >&2
        exit 5
    fi
    sleep 2
done
over=yes

mlp job logs "$name"
[[ $status = COMPLETED ]] && exit 0
mlp job explain "$name" >&2
exit 1
