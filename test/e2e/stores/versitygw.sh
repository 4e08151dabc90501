#!/usr/bin/env bash
# versitygw on a folder: go install github.com/versity/versitygw/cmd/versitygw@latest. Program: VERSITYGW (default versitygw).
# VERSIONS=1 keeps versions.
. "$(dirname "$0")/with.sh"
VERSITYGW=${VERSITYGW:-versitygw}
needs "$VERSITYGW"
port=$(free_port)
mkdir "$folder/data" "$folder/versions"
# shellcheck disable=SC2086
start env ROOT_ACCESS_KEY="$id" ROOT_SECRET_KEY="$secret" "$VERSITYGW" --port "127.0.0.1:$port" posix ${VERSIONS:+--versioning-dir "$folder/versions"} "$folder/data"
answers "http://127.0.0.1:$port/"
against "http://127.0.0.1:$port" "$@"
