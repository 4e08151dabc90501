#!/usr/bin/env bash
# MinIO, the last of its repository: go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c. Program: MINIO (default minio).
. "$(dirname "$0")/with.sh"
MINIO=${MINIO:-minio}
needs "$MINIO"
port=$(free_port)
start env MINIO_ROOT_USER="$id" MINIO_ROOT_PASSWORD="$secret" "$MINIO" server "$folder/data" --address "127.0.0.1:$port" --console-address "127.0.0.1:$(free_port)"
answers "http://127.0.0.1:$port/minio/health/ready"
against "http://127.0.0.1:$port" "$@"
