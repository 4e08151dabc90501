#!/usr/bin/env bash
# SeaweedFS, all of it in one process: `go build ./weed` in its module (go install refuses its replace directives). Program: WEED (default weed).
. "$(dirname "$0")/with.sh"
WEED=${WEED:-weed}
needs "$WEED"
port=$(free_port)
mkdir "$folder/data"
printf '{"identities":[{"name":"e2e","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Admin","Read","Write","List","Tagging"]}]}' "$id" "$secret" >"$folder/s3.json"
start "$WEED" server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$folder/data" -master.volumeSizeLimitMB=256 -volume.max=200 \
  -master.port="$(free_port)" -volume.port="$(free_port)" -filer -filer.port="$(free_port)" -s3 -s3.port="$port" -s3.config="$folder/s3.json"
answers "http://127.0.0.1:$port/"
sleep 5
against "http://127.0.0.1:$port" "$@"
