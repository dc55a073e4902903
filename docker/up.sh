#!/usr/bin/env bash
# make up: build what has changed, start, wait until every service is healthy, and say where it is and how to log in.
# Arguments go to `docker compose up`: docker/up.sh --scale ray-worker=2
set -uo pipefail
[[ -z ${TCLAP_DATA:-} || $TCLAP_DATA == /* ]] || TCLAP_DATA=$PWD/$TCLAP_DATA # compose would read it from docker/
cd "$(dirname "$0")" || exit
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
GIT_COMMIT=${GIT_COMMIT:-$(git rev-parse HEAD 2>/dev/null)}
export GIT_COMMIT

fail() { # print the one line that says what is wrong
  echo "error: $1" >&2
  exit 1
}

docker info >/dev/null 2>&1 || fail "no Docker engine answers (docker info): start it, or set DOCKER_HOST"

log=$(mktemp)
started=$(date -u +%FT%TZ)
trap 'rm -f "$log"' EXIT
if ! "${compose[@]}" up --detach --build --wait --wait-timeout 180 "$@" 2>&1 | tee "$log"; then
  taken=$(grep -E 'port is already allocated|address already in use' "$log" | head -1)
  if [[ -n $taken ]]; then
    variable=CLUSTER_MLFLOW_PORT
    [[ $taken != *ray-head* ]] || variable=CLUSTER_DASHBOARD_PORT
    at=$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$taken" | head -1)
    fail "$at is taken: choose another $variable (docker/.env.example)"
  fi
  missing=$(sed -n 's/.*bind source path does not exist: *//p' "$log" | head -1 | sed 's/[[:space:]]*$//')
  [[ -z $missing ]] || fail "TCLAP_DATA=$missing is not a folder on this machine"
  told=$("${compose[@]}" logs --no-log-prefix --no-color --since "$started" 2>/dev/null)
  reason=$(sed -n 's/^error: //p' <<<"$told" | tail -1)
  fail "${reason:-the cluster did not become healthy in 3 minutes: ${compose[*]} -f docker/compose.yaml logs}"
fi

address() { "${compose[@]}" port "$1" "$2"; }
cat <<TEXT

Ray     http://$(address ray-head 8265)
        token:     ${compose[*]} -f docker/compose.yaml exec ray-head cat /secrets/jobs/ray-token
MLflow  http://$(address mlflow 5000)
        user tclap, password: ${compose[*]} -f docker/compose.yaml exec ray-head cat /secrets/jobs/credentials
TEXT
