#!/usr/bin/env bash
# What real programs do that no SDK does: minio-go's encryption headers on parts (mc), locations of other regions (s3fs, aws s3 mb), a host
# as region (git-annex), copy sources encoded as a whole, targets in absolute form (curl), Completes at the same time.
#
#   test/e2e/dialects.sh                                          in front of the embedded store
#   test/e2e/dialects.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#
# Programs: MC (default mc), S3FS (s3fs; needs /dev/fuse), git-annex, AWS (aws), curl with --aws-sigv4. What is missing is skipped, with its
# reason. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
MC=${MC:-mc} S3FS=${S3FS:-s3fs} AWS=${AWS:-aws}
work=$(mktemp -d) passed=0 failed=0 skipped=0
# git-annex signs its host without the port, and so needs the one that goes without saying.
if node -e 'require("net").createServer().on("error", () => process.exit(1)).listen(80, "127.0.0.1", () => process.exit(0))'; then set -- "$@" --second-port 80; fi
coproc RIG { exec node "$here/rig.ts" "$@"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID
finish() { exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo "the gateway did not start" >&2; exit 1; }
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
id=$(say accessKeyId) secret=$(say secretAccessKey) http=$(say http) https=$(say https) second=$(say second)
export HOME=$work AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_EC2_METADATA_DISABLED=true AWS_PAGER= AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION AWS_REGION
host=${http#http://}
head -c 20000000 /dev/urandom >"$work/large"

step() {
  local name=$1 log="$work/log"; shift
  if ( set -e; "$@" ) >"$log" 2>&1; then printf '%-34s ok\n' "$name"; passed=$((passed + 1))
  else printf '%-34s FAIL\n' "$name"; failed=$((failed + 1)); tail -n 6 "$log" | cut -c1-200 | sed 's/^/    | /'; fi
}
skip() { printf '%-34s skipped: %s\n' "$1" "$2"; skipped=$((skipped + 1)); }
have() { command -v "$1" >/dev/null 2>&1; }
fresh() { bucket="dialect-$1-$RANDOM$RANDOM"; }
aws_() { "$AWS" --endpoint-url "$http" --region "${region:-us-east-1}" "$@"; }
signed() { curl -fsS --path-as-is --aws-sigv4 "aws:amz:${region:-us-east-1}:s3" --user "$id:$secret" "$@"; }

mc_round() {
  "$MC" --insecure alias set gateway "$https" "$id" "$secret"
  "$MC" --insecure mb "gateway/$bucket"
  "$MC" --insecure cp -q --enc-s3 "gateway/$bucket" "$work/large" "gateway/$bucket/large"
  "$MC" --insecure cp -q "gateway/$bucket/large" "$work/got"; cmp "$work/large" "$work/got"
  "$MC" --insecure stat "gateway/$bucket/large" | grep -q SSE-S3
  "$MC" --insecure rb --force "gateway/$bucket"
}
s3fs_round() {
  mkdir -p "$work/mount"; printf '%s:%s\n' "$id" "$secret" >"$work/passwd"; chmod 600 "$work/passwd"
  region=eu-west-3 aws_ s3 mb "s3://$bucket"
  "$S3FS" "$bucket" "$work/mount" -o "url=$http,use_path_request_style,passwd_file=$work/passwd,endpoint=eu-west-3"
  trap 'fusermount -u "$work/mount"' EXIT
  mkdir "$work/mount/folder"; cp "$work/large" "$work/mount/folder/large"; cmp "$work/large" "$work/mount/folder/large"
  mv "$work/mount/folder/large" "$work/mount/folder/renamed"; cmp "$work/large" "$work/mount/folder/renamed"
  [ "$(ls "$work/mount/folder")" = renamed ]; rm -r "$work/mount/folder"
}
annex_round() {
  rm -rf "$work/annex"; mkdir "$work/annex"; cd "$work/annex"; git init -q; git config user.email a@b; git config user.name a; git annex init here
  git config annex.security.allowed-ip-addresses 127.0.0.1
  git annex initremote gateway type=S3 encryption=none host=127.0.0.1 port=80 protocol=http requeststyle=path signature=v4 "bucket=$bucket" datacenter=us-east-1
  git annex testremote --fast gateway | tee "$work/annex.log"; grep -qE 'All [0-9]+ tests passed|^ok' "$work/annex.log"
}
aws_mb() { region=eu-west-3 aws_ s3 mb "s3://$bucket"; region=eu-west-3 aws_ s3 cp --no-progress "$work/large" "s3://$bucket/dir/a b+c"; region=eu-west-3 aws_ s3 cp --no-progress "s3://$bucket/dir/a b+c" "$work/got"; cmp "$work/large" "$work/got"; }
whole_source() {
  signed -X PUT -H "x-amz-copy-source: $bucket%2Fdir%2Fa%20b%2Bc" "$http/$bucket/copy"
  aws_ s3 cp --no-progress "s3://$bucket/copy" "$work/got"; cmp "$work/large" "$work/got"
}
absolute() { signed --proxy "$http" "http://$host/$bucket/copy" -o "$work/got"; cmp "$work/large" "$work/got"; }
host_region() { region=127.0.0.1 signed "$http/$bucket/copy" -o "$work/got"; cmp "$work/large" "$work/got"; }
buster() { signed "$http/$bucket/copy?1467293847=" -o "$work/got"; cmp "$work/large" "$work/got"; }
# Two parts of 8 MiB: the store holds three, and its ETag says so.
two_parts() {
  head -c 16777216 "$work/large" >"$work/two"; aws_ s3 mb "s3://opaque-$bucket"
  aws_ s3 cp --no-progress "$work/two" "s3://opaque-$bucket/two"
  aws_ s3api head-object --bucket "opaque-$bucket" --key two --query ETag --output text | grep -E -- '-2"$'
  aws_ s3api list-objects-v2 --bucket "opaque-$bucket" --query 'Contents[0].ETag' --output text | grep -E -- '-2"$'
  aws_ s3 cp --no-progress --sse-c AES256 --sse-c-key 0123456789abcdef0123456789abcdef "$work/two" "s3://$bucket/customer"
  aws_ s3api list-objects-v2 --bucket "$bucket" --prefix customer --query 'Contents[0].ETag' --output text | grep -E -- '-2"$'
}
one_instance() { node "$here/at-once.ts" "$bucket" "$id" "$secret" "$http"; }
two_instances() { node "$here/at-once.ts" "$bucket" "$id" "$secret" "$http" "$second"; }

fresh mc; if have "$MC"; then step "mc, 20 MB with --enc-s3" mc_round; else skip mc "no $MC"; fi
fresh s3fs; if ! have "$S3FS"; then skip s3fs "no $S3FS"; elif [ ! -e /dev/fuse ]; then skip s3fs "no /dev/fuse"; else step "s3fs, mkdir, write, rename, read" s3fs_round; fi
fresh annex; if ! have git-annex; then skip git-annex "no git-annex"; elif [ "$second" != http://127.0.0.1:80 ]; then skip git-annex "port 80 is not ours to take"; else step "git-annex testremote, v4" annex_round; fi
fresh aws
if have "$AWS"; then
  step "aws s3 mb --region eu-west-3" aws_mb
  if curl --aws-sigv4 2>&1 | grep -q 'requires parameter'; then
    step "copy source bucket%2Fkey" whole_source; step "curl through a proxy setting" absolute; step "region 127.0.0.1" host_region; step "?1467293847" buster
  else skip curl "no --aws-sigv4"; fi
  step "ETags of two parts end in -2" two_parts
  step "Completes at once, one gateway" one_instance; step "Completes at once, two gateways" two_instances
else skip aws "no $AWS"; fi
printf '%d steps passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
