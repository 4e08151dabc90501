#!/usr/bin/env bash
# The ways of docs/COMING-FROM.md that need no other program than rclone and the aws CLI, with real ones, in front of a store:
#
#   MINIO_KMS_SECRET_KEY="old:$(head -c 32 /dev/urandom | base64)" MINIO=… test/e2e/stores/minio.sh test/e2e/coming-from.sh
#
# 1. rclone crypt: a tree is written by crypt straight to the store, copied through the gateway by one rclone, compared byte for byte, and nothing of it is
#    in plaintext at the store.
# 2. The store's own encryption: objects that the store has encrypted by itself (SSE-S3 and, where it has a KMS, SSE-KMS) are sealed in place while a client
#    reads and writes them. A store without a KMS skips the second kind.
# One line per step; the last line counts. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d) passed=0 failed=0 serve_pid=
for program in aws rclone jq; do command -v "$program" >/dev/null 2>&1 || { echo "not installed: $program" >&2; exit 69; }; done
[ -n "${STORE_ENDPOINT:-}" ] || { echo 'run it by test/e2e/stores/STORE.sh' >&2; exit 64; }
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
port=$(free_port) id=COMINGFROM secret=coming-from-client-secret
old=old-$RANDOM$RANDOM bucket=sealed-$RANDOM$RANDOM own=own-$RANDOM$RANDOM
sealgate() { node "$root/src/main.ts" "$@"; }
finish() { [ -z "$serve_pid" ] || { kill "$serve_pid"; wait "$serve_pid" 2>/dev/null; }; rm -rf "$work"; }
trap finish EXIT

export HOME=$work AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER= AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
a() { AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret aws --endpoint-url "http://127.0.0.1:$port" "$@"; }
s() { AWS_ACCESS_KEY_ID=$STORE_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$STORE_SECRET_KEY aws --endpoint-url "$STORE_ENDPOINT" "$@"; }
step() {
  local name=$1 log="$work/log"; shift
  if ( set -e; "$@" ) >"$log" 2>&1; then printf '%-58s ok\n' "$name"; passed=$((passed + 1))
  else printf '%-58s FAIL\n' "$name"; failed=$((failed + 1)); tail -n 5 "$log" | cut -c1-300 | sed 's/^/    | /'; fi
}

sealgate keys create --keyring "$work/keyring.json" >/dev/null 2>&1
cat >"$work/sealgate.yaml" <<YAML
listen: { host: 127.0.0.1, port: $port }
upstream: { endpoint: "$STORE_ENDPOINT", accessKeyId: "$STORE_ACCESS_KEY", secretAccessKey: "$STORE_SECRET_KEY", stateBucket: state-$RANDOM$RANDOM }
clients: [{ accessKeyId: $id, secretAccessKey: $secret, buckets: ["*"] }]
keys: { main: { type: local, keyring: $work/keyring.json } }
buckets: { "*": { key: main }, "own-*": { key: main, plaintext: allow } }
log: { level: error }
YAML
serve() {
  node "$root/src/main.ts" serve --config "$work/sealgate.yaml" >>"$work/serve.log" 2>&1 & serve_pid=$!
  for _ in $(seq 150); do curl -s -o /dev/null "http://127.0.0.1:$port" && return; sleep 0.2; done
  cat "$work/serve.log" >&2; exit 1
}
serve

marker=a-line-that-must-not-be-seen-at-the-store
mkdir -p "$work/tree/sub folder"
for i in $(seq 40); do { echo "$marker $i"; head -c $((i * 3001)) /dev/urandom; } >"$work/tree/sub folder/$i ü+%.bin"; done
{ echo "$marker"; head -c 20000000 /dev/urandom; } >"$work/tree/large"
: >"$work/tree/empty"
cat >"$work/rclone.conf" <<CONF
[store]
type = s3
provider = Other
access_key_id = $STORE_ACCESS_KEY
secret_access_key = $STORE_SECRET_KEY
endpoint = $STORE_ENDPOINT
region = us-east-1
force_path_style = true
[crypt]
type = crypt
remote = store:$old
password = $(rclone obscure a-password)
[sealed]
type = s3
provider = Other
access_key_id = $id
secret_access_key = $secret
endpoint = http://127.0.0.1:$port
region = us-east-1
force_path_style = true
CONF
rc() { rclone --config "$work/rclone.conf" "$@"; }

# Whether the marker is in an object of the bucket, as the store gives its bytes out.
plain_at_store() { rm -rf "$work/raw"; mkdir "$work/raw"; s s3 sync --only-show-errors "s3://$1" "$work/raw"; grep -rlq "$marker" "$work/raw"; }
sealed_at_store() { ! plain_at_store "$1"; }
states() { sealgate scan --config "$work/sealgate.yaml" --bucket "$1" --report "$work/scan.jsonl" --json >"$work/scan.out" 2>&1 || true; jq -r .state "$work/scan.jsonl" | grep -v null | sort | uniq -c | awk '{print $2"="$1}' | xargs; }
has_states() { local found; found=$(states "$1"); [ "$found" = "$2" ] || { echo "states: $found, not $2"; return 1; }; }

written() { s s3 mb "s3://$old" && rc copy "$work/tree" crypt: && sealed_at_store "$old"; }
moved() { a s3 mb "s3://$bucket" && rc copy --metadata crypt: "sealed:$bucket" && rc check --download crypt: "sealed:$bucket"; }
read_back() { rm -rf "$work/back" && a s3 sync --only-show-errors "s3://$bucket" "$work/back" && diff -r "$work/tree" "$work/back"; }
again() { rc copy --metadata -v --stats-one-line crypt: "sealed:$bucket" 2>&1 | tee "$work/again"; ! grep -q 'Copied' "$work/again"; }
step 'rclone crypt: written straight to the store' written
step 'rclone crypt: copied through the gateway, every byte same' moved
step 'rclone crypt: read back by the aws CLI' read_back
step 'rclone crypt: a second copy moves nothing' again
step 'rclone crypt: nothing in plaintext at the store' sealed_at_store "$bucket"
step 'rclone crypt: scan says that all are sealed' has_states "$bucket" 'sealed=42'

s s3 mb "s3://$own" >/dev/null
kinds=(AES256)
echo probe >"$work/probe"
if s s3 cp --only-show-errors --sse aws:kms "$work/probe" "s3://$own/probe" 2>/dev/null; then kinds+=(aws:kms); s s3 rm --only-show-errors "s3://$own/probe"
else echo 'SSE-KMS of the store: skipped, it has no KMS'; fi
own_written() { for kind in "${kinds[@]}"; do s s3 sync --only-show-errors --sse "$kind" --exclude empty --content-type text/x-own --metadata a=b "$work/tree" "s3://$own/$kind"; done; }
step "store's encryption: written straight to the store (${kinds[*]})" own_written
expected=$(( ${#kinds[@]} * 41 ))
step "store's encryption: to whoever may read it is plaintext" plain_at_store "$own"
step "store's encryption: scan says plaintext" has_states "$own" "plaintext=$expected"
through() { for kind in "${kinds[@]}"; do rm -rf "$work/back"; a s3 sync --only-show-errors "s3://$own/$kind" "$work/back"; diff -r --exclude empty "$work/tree" "$work/back"; done; }
step "store's encryption: served through the gateway" through
# A client that reads and writes meanwhile.
( i=0; while [ ! -e "$work/stop" ]; do i=$((i + 1)); a s3 cp --only-show-errors "$work/tree/sub folder/7 ü+%.bin" "s3://$own/new-$((i % 5))" && a s3 cp --only-show-errors "s3://$own/new-$((i % 5))" - | cmp - "$work/tree/sub folder/7 ü+%.bin" || echo bad; done >"$work/meanwhile" 2>&1; echo "$i" >"$work/rounds" ) &
meanwhile=$!
sealed_in_place() { sealgate encrypt --config "$work/sealgate.yaml" --bucket "$own" --verify; }
step "store's encryption: sealed in place, a client meanwhile" sealed_in_place
: >"$work/stop"; wait $meanwhile
quiet() { [ ! -s "$work/meanwhile" ] || { head -n 3 "$work/meanwhile"; return 1; }; }
step "store's encryption: the client saw nothing ($(cat "$work/rounds") rounds)" quiet
sed -i 's/, plaintext: allow//' "$work/sealgate.yaml"
kill "$serve_pid"; wait "$serve_pid" 2>/dev/null; serve
step "store's encryption: same with plaintext refused" through
step "store's encryption: nothing in plaintext at the store" sealed_at_store "$own"
kept() { a s3api head-object --bucket "$own" --key AES256/large >"$work/head" && jq -e '.ContentType == "text/x-own" and .Metadata.a == "b"' "$work/head"; }
step "store's encryption: content type and metadata kept" kept
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
