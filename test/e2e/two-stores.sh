#!/usr/bin/env bash
# Two real stores behind one gateway: copies between them by aws, rclone and mc, and one of them stopped and started again. The near store is a
# MinIO that this script starts and stops (MINIO, default minio); the far one is given. One line per step; the last line counts.
#
#   test/e2e/two-stores.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#   RADOSGW=… RADOSGW_ACCESS_KEY=… RADOSGW_SECRET_KEY=… test/e2e/stores/radosgw.sh test/e2e/two-stores.sh
#
# Clients: aws, rclone, mc (MC, default mc). SIZE: bytes of the large object, default 100 MiB. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
MINIO=${MINIO:-minio} MC=${MC:-mc} SIZE=${SIZE:-104857600}
work=$(mktemp -d) passed=0 failed=0 minio_pid=
for program in "$MINIO" "$MC" aws rclone; do command -v "$program" >/dev/null 2>&1 || { echo "not installed: $program" >&2; exit 69; }; done
far=$(node -p 'const a = process.argv.slice(1); const of = (n) => a[a.indexOf(n) + 1] ?? ""; [of("--store"), of("--access-key"), of("--secret-key")].join(" ")' -- "$@")
read -r far_endpoint far_id far_secret <<<"$far"
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
near_port=$(free_port) near_console=$(free_port) near_id=nearaccess near_secret=nearsecretnearsecret
near_start() {
  MINIO_ROOT_USER=$near_id MINIO_ROOT_PASSWORD=$near_secret "$MINIO" server "$work/minio" --address "127.0.0.1:$near_port" --console-address "127.0.0.1:$near_console" >>"$work/minio.log" 2>&1 </dev/null &
  minio_pid=$!
  for _ in $(seq 120); do curl -fs -o /dev/null --max-time 2 "http://127.0.0.1:$near_port/minio/health/ready" && return; sleep 0.5; done
  return 1
}
near_stop() { kill -9 "$minio_pid" 2>/dev/null; wait "$minio_pid" 2>/dev/null; }
near_start || { echo 'MinIO did not start' >&2; exit 69; }
coproc RIG { exec node "$here/rig.ts" --store "http://127.0.0.1:$near_port" --access-key $near_id --secret-key $near_secret --state "sealgate-two-$RANDOM" \
  --far "$far_endpoint" --far-access-key "$far_id" --far-secret-key "$far_secret"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID
finish() { exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; near_stop; rm -rf "$work"; }
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo 'the gateway did not start' >&2; exit 1; }
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
endpoint=$(say http) id=$(say accessKeyId) secret=$(say secretAccessKey)
export HOME=$work AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER= AWS_CONFIG_FILE=$work/none AWS_MAX_ATTEMPTS=1
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE
near="near-two-$RANDOM$RANDOM" far="far-two-$RANDOM$RANDOM"
head -c "$SIZE" /dev/urandom >"$work/large"
mkdir -p "$work/tree/sub"
for i in 1 2 3 4 5; do head -c $((i * 700000)) /dev/urandom >"$work/tree/sub/$i ü+%"; done
: >"$work/tree/empty"

step() {
  local name=$1 began log="$work/log"; shift
  began=$(date +%s%N)
  if ( "$@" ) >"$log" 2>&1; then printf '%-34s ok     %6d ms\n' "$name" $((($(date +%s%N) - began) / 1000000)); passed=$((passed + 1))
  else printf '%-34s FAIL\n' "$name"; failed=$((failed + 1)); tail -n 5 "$log" | cut -c1-200 | sed 's/^/    | /'; fi
}
a() { aws --endpoint-url "$endpoint" "$@"; }
same() { rm -f "$work/got"; a s3 cp --no-progress "s3://$1/$2" "$work/got" && cmp "$work/large" "$work/got"; }
absent() { ! a s3api head-object --bucket "$1" --key "$2" 2>"$work/why" && grep -q 404 "$work/why"; }
printf '[x]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n' "$id" "$secret" "$endpoint" >"$work/rclone.conf"
rc() { rclone --config "$work/rclone.conf" --retries 1 --low-level-retries 1 "$@"; }
m() { "$MC" --config-dir "$work/mc" -q "$@"; }
m alias set x "$endpoint" "$id" "$secret" --api S3v4 --path on >/dev/null

make() { a s3 mb "s3://$near" && a s3 mb "s3://$far" && [ "$(a s3 ls | grep -cE " ($near|$far)\$")" = 2 ]; }
put() { a s3 cp --no-progress --metadata a=b "$work/large" "s3://$near/large" && same "$near" large; }
# The CLI copies objects of this size by UploadPartCopy, in parts of 8 MiB.
there() { a s3 cp --no-progress "s3://$near/large" "s3://$far/large" && same "$far" large; }
back() { a s3 cp --no-progress "s3://$far/large" "s3://$near/back" && same "$near" back; }
copy_object() { a s3api copy-object --bucket "$far" --key whole --copy-source "$near/large" && same "$far" whole && [ "$(a s3api head-object --bucket "$far" --key whole --query Metadata.a --output text)" = b ]; }
# The far store has other bytes than the client, and than the near store, but for zeros that pad.
sealed() {
  AWS_ACCESS_KEY_ID=$far_id AWS_SECRET_ACCESS_KEY=$far_secret aws --endpoint-url "$far_endpoint" s3 cp --no-progress "s3://$far/whole" "$work/at-far" &&
  AWS_ACCESS_KEY_ID=$near_id AWS_SECRET_ACCESS_KEY=$near_secret aws --endpoint-url "http://127.0.0.1:$near_port" s3 cp --no-progress "s3://$near/large" "$work/at-near" &&
  [ "$(stat -c %s "$work/at-far")" -ge "$SIZE" ] && [ "$(stat -c %s "$work/at-near")" -ge "$SIZE" ] &&
  node -e 'const { readFileSync: r } = require("fs"); const of = (f) => { const b = r(f), s = new Set(); for (let i = 0; i + 64 <= b.length; i += 64) s.add(b.latin1Slice(i, i + 16)); return s };
    const [plain, near, far] = process.argv.slice(1).map(of); for (const x of far) if (/[^\0]/.test(x) && (plain.has(x) || near.has(x))) process.exit(1)' "$work/large" "$work/at-near" "$work/at-far"
}
rclone_syncs() { rc copy "$work/tree" "x:$near/tree" && rc sync "x:$near" "x:$far" && rc check --download "x:$near" "x:$far" && rc check --download "$work/tree" "x:$far/tree"; }
rclone_again() { ! rc sync -v "x:$near/tree" "x:$far/tree" 2>&1 | grep -E 'Copied|Deleted|Updated'; }
rclone_back() { rc sync "x:$far/tree" "x:$near/tree2" && rc check --download "$work/tree" "x:$near/tree2"; }
mc_mirrors() { m mirror "x/$near/tree" "x/$far/mirror" && [ -z "$(m diff "x/$near/tree" "x/$far/mirror")" ] && rc check --download "$work/tree" "x:$far/mirror"; }
mc_back() { m mirror "x/$far/mirror" "x/$near/mirrored" && [ -z "$(m diff "x/$far/mirror" "x/$near/mirrored")" ] && rc check --download "$work/tree" "x:$near/mirrored"; }
# The near store dies in the middle: the copy is whole, or there is none.
dies() {
  a s3api copy-object --bucket "$far" --key cut --copy-source "$near/large" & copying=$!
  sleep 0.7
  near_stop
  if wait "$copying"; then same "$far" cut; else absent "$far" cut; fi
}
others_serve() { same "$far" large && a s3 cp --no-progress "$work/large" "s3://$far/later" && same "$far" later; }
fails() { ! a s3api head-object --bucket "$near" --key large 2>"$work/why" && grep -Eq '503|500|502|504' "$work/why"; }
no_copy() { ! a s3api copy-object --bucket "$far" --key none --copy-source "$near/large" && absent "$far" none; }
no_short_list() { ! a s3api list-buckets >"$work/listed" 2>&1 && ! grep -q "$far" "$work/listed"; }
again() { same "$near" large && a s3 cp --no-progress "s3://$near/large" "s3://$far/again" && same "$far" again && [ "$(a s3 ls | grep -cE " ($near|$far)\$")" = 2 ]; }
removes() { a s3 rb --force "s3://$near" && a s3 rb --force "s3://$far"; }

step 'two buckets in one list' make
step 'aws: 100 MiB to near' put
step 'aws: near to far, in parts' there
step 'aws: far to near, in parts' back
step 'aws: CopyObject with metadata' copy_object
step 'bytes at far are its own' sealed
step 'rclone: sync near to far, check' rclone_syncs
step 'rclone: nothing left to sync' rclone_again
step 'rclone: sync far to near, check' rclone_back
step 'mc: mirror near to far' mc_mirrors
step 'mc: mirror far to near' mc_back
step 'near dies during a copy' dies
near_stop
step 'near down: far serves' others_serve
step 'near down: its objects are 5xx' fails
step 'near down: no copy from it' no_copy
step 'near down: no shorter list' no_short_list
near_start || echo 'MinIO did not start again' >&2
step 'near back: reads, copies, list' again
step 'removes both buckets' removes
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
