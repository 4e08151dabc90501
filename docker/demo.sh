#!/bin/sh
# Runs in the demo container of docker-compose.yml: one object through the gateway, then the same object as the store has it.
set -eu
gateway() { aws --endpoint-url http://gateway:9000 s3 "$@"; }
store() { AWS_ACCESS_KEY_ID=$STORE_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$STORE_SECRET_ACCESS_KEY aws --endpoint-url http://store:9000 s3 "$@"; }

gateway ls s3://demo >/dev/null 2>&1 || gateway mb s3://demo
echo "hello, sealed world" | gateway cp - s3://demo/hello.txt
echo "--- through the gateway"
gateway ls s3://demo
gateway cp s3://demo/hello.txt -
echo "--- as the store has it"
store ls s3://demo
store cp s3://demo/hello.txt - | od -A d -t x1z | head -n 8
