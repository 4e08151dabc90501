#!/usr/bin/env bash
# versitygw on a folder: go install github.com/versity/versitygw/cmd/versitygw@latest. Program: VERSITYGW (default versitygw).
# VERSIONS=1 keeps versions, IAM=1 users.
. "$(dirname "$0")/with.sh"
VERSITYGW=${VERSITYGW:-versitygw}
needs "$VERSITYGW"
port=$(free_port)
export STORE_DATA=$folder/data:$folder/versions
mkdir "$folder/data" "$folder/versions" "$folder/users"
# shellcheck disable=SC2086
start env ROOT_ACCESS_KEY="$id" ROOT_SECRET_KEY="$secret" "$VERSITYGW" ${IAM:+--iam-dir "$folder/users"} --port "127.0.0.1:$port" posix ${VERSIONS:+--versioning-dir "$folder/versions"} "$folder/data"
answers "http://127.0.0.1:$port/"
against "http://127.0.0.1:$port" "$@"
