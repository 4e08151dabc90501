#!/usr/bin/env bash
# Backup tools through the gateway over TLS, set up as in docs/RECIPES.md: back up, verify, restore, compare; then look
# at what the store holds. Once with `etag: md5`, once with `etag: opaque`. One line per tool and step; the last line counts.
#
#   test/e2e/backups.sh                                          in front of the embedded store
#   test/e2e/backups.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#
# Tools: restic, rclone. What is not installed is skipped. ONLY=restic chooses.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) passed=0 failed=0 skipped=0
coproc RIG { exec node "$here/rig.ts" "$@"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID
finish() {
  exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; rm -rf "$work"
}
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo "the gateway did not start" >&2; exit 1; }
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
id=$(say accessKeyId) secret=$(say secretAccessKey) endpoint=$(say https) ca=$work/ca.pem
port=${endpoint##*:}; cp "$(say ca)" "$ca"; chmod 755 "$work"
export HOME=$work AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE # rclone 1.60 fails when there is one
mkdir -p "$work/tree/sub"; head -c 20000000 /dev/urandom >"$work/tree/large"; seq 1 300000 >"$work/tree/sub/text"; : >"$work/tree/empty"
for i in $(seq 100); do head -c $((i * 700)) /dev/urandom >"$work/tree/sub/a b+$i"; done

row() { printf '%-11s %-7s %-18s %s\n' "$client" "$mode" "$1" "$2"; }
step() {
  local name=$1 log="$work/log" result; shift
  ( set -e; "$@" ) >"$log" 2>&1; result=$? # not as a condition: there, set -e does nothing
  if [ $result = 0 ]; then row "$name" ok; passed=$((passed + 1))
  else row "$name" FAIL; failed=$((failed + 1)); tail -n 5 "$log" | cut -c1-200 | sed 's/^/    | /'; fi
}
skip() { row - "skipped: $1"; skipped=$((skipped + 1)); }
have() { command -v "$1" >/dev/null 2>&1; }
bucket() { # made by the gateway's own SDK: not every tool can
  node -e "const{S3Client,CreateBucketCommand:C}=require('@aws-sdk/client-s3');new S3Client({endpoint:process.argv[1],region:'us-east-1',forcePathStyle:true}).send(new C({Bucket:process.argv[2]}))" "$(say http)" "$bucket"
}
stored() { node "$here/stored.ts" "$said" "$bucket"; }

restic_round() {
  restic_() { RESTIC_PASSWORD=secret RESTIC_FROM_PASSWORD=secret restic --cacert "$ca" -o s3.bucket-lookup=path --no-cache -q "$@"; }
  snapshots() { restic_ -r "$a" snapshots --json | node -p "const all = JSON.parse(fs.readFileSync(0, 'utf8')); $1"; }
  local a=s3:$endpoint/$bucket/repo b=s3:$endpoint/$bucket/second
  backup() { restic_ -r "$a" init; restic_ -r "$a" backup "$work/tree"; cp -r "$work/tree/sub" "$work/more"; restic_ -r "$a" backup "$work/tree" "$work/more"; }
  check() { restic_ -r "$a" check --read-data; }
  restore() { rm -rf "$work/back"; restic_ -r "$a" restore "$(snapshots 'all[0].short_id')" --target "$work/back"; diff -r "$work/tree" "$work/back$work/tree"; }
  copies() { restic_ -r "$b" init --from-repo "$a" --copy-chunker-params; restic_ -r "$b" copy --from-repo "$a"; restic_ -r "$b" check --read-data; }
  prune() { restic_ -r "$a" forget --group-by host --keep-last 1 --prune; restic_ -r "$a" check --read-data; [ "$(snapshots all.length)" = 1 ]; }
  for name in backup check restore copies prune; do step "$name" "$name"; done
}

rclone_round() {
  printf '[x]\ntype = s3\nprovider = %s\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n%s\n' \
    "$provider" "$id" "$secret" "$endpoint" "$([ "$mode" = md5 ] || echo 'use_multipart_etag = false')" >"$work/rclone.conf"
  rc() { rclone --config "$work/rclone.conf" --ca-cert "$ca" --retries 1 --low-level-retries 1 --s3-upload-cutoff 8M --s3-chunk-size 5M "$@"; }
  local to=x:$bucket/$provider
  sync() { rc sync "$work/tree" "$to/tree"; rc sync -v "$work/tree" "$to/tree" >"$work/said" 2>&1; [ "$(grep -cE 'Copied|Deleted|Updated' "$work/said")" = 0 ]; }
  check() { rc check --download "$work/tree" "$to/tree"; if [ "$mode" = md5 ]; then rc check "$work/tree" "$to/tree"; fi; }
  streams() { rc rcat "$to/stream" <"$work/tree/large"; rc copyto "$to/stream" "$work/stream"; cmp "$work/stream" "$work/tree/large"; }
  copies() { rc copy "$to/tree" "$to/copy"; rc check --download "$work/tree" "$to/copy"; rc moveto "$to/stream" "$to/moved"; }
  back() { rm -rf "$work/back"; rc sync "$to/tree" "$work/back"; diff -r "$work/tree" "$work/back"; }
  for name in sync check streams copies back; do step "$provider $name" "$name"; done
}

for mode in md5 opaque; do
  for client in ${ONLY:-restic rclone}; do
    bucket=$RANDOM$RANDOM; bucket="${mode/md5/md}-$client-$bucket"
    if ! have "$client"; then skip "$client is not installed"; continue; fi
    step bucket bucket
    if [ "$client" = rclone ]; then for provider in Other Ceph; do rclone_round; done; else "${client}_round"; fi
    step stored stored
  done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
