#!/usr/bin/env bash
# Real clients through the gateway, over http and https. One line per client and step; the last line counts.
#
#   test/e2e/clients.sh                                          in front of the embedded store
#   test/e2e/clients.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#   … --checksum crc32                                           with checksums of stored bytes sent to the store
#
# DIRECT=1 with a store: the clients talk to it itself, to see what fails without the gateway too. It may also be a balancer in front of gateways, over
# https with the certificate of test/support/tls (balancers.ts).
# Clients: aws (v1 and v2, whatever AWS_V1 and AWS_V2 name), boto3 (new: PYTHON; old: PYTHON_OLD), the SDK for JavaScript v3,
# rclone, s3cmd, curl --aws-sigv4. What is not installed is skipped, with its reason. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
AWS_V1=${AWS_V1:-aws} AWS_V2=${AWS_V2:-/usr/bin/aws} PYTHON=${PYTHON:-python3} PYTHON_OLD=${PYTHON_OLD:-}
work=$(mktemp -d) passed=0 failed=0 skipped=0
if [ -n "${DIRECT:-}" ]; then
  trap 'rm -rf "$work"' EXIT
  said=$(CA=$here/../support/tls/localhost-cert.pem node -p 'const a = process.argv.slice(1); const of = (n) => a[a.indexOf(n) + 1];
    const scheme = new URL(of("--store")).protocol.slice(0, -1);
    JSON.stringify({ scheme, [scheme]: of("--store"), accessKeyId: of("--access-key"), secretAccessKey: of("--secret-key"), ca: process.env.CA })' -- "$@")
  schemes=$(node -p 'JSON.parse(process.argv[1]).scheme' "$said")
else
  schemes='http https'
  coproc RIG { exec node "$here/rig.ts" "$@"; }
  rig_in=${RIG[1]} rig_pid=$RIG_PID
  finish() { exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; rm -rf "$work"; }
  trap finish EXIT
  IFS= read -r said <&"${RIG[0]}" || { echo "the gateway did not start" >&2; exit 1; }
fi
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
id=$(say accessKeyId) secret=$(say secretAccessKey) ca=$(say ca)
export HOME=$work AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER= AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN
head -c 3000000 /dev/urandom >"$work/small"; head -c 20000000 /dev/urandom >"$work/large"; mkdir -p "$work/tree/sub"; cp "$work/small" "$work/tree/sub/a b+c"; : >"$work/tree/empty"

row() { printf '%-6s %-10s %-18s %s\n' "$scheme" "$client" "$1" "$2"; }
step() {
  local name=$1 log="$work/log"; shift
  if ( set -e; "$@" ) >"$log" 2>&1; then row "$name" ok; passed=$((passed + 1))
  else row "$name" FAIL; failed=$((failed + 1)); tail -n 5 "$log" | cut -c1-200 | sed 's/^/    | /'; fi
}
skip() { row - "skipped: $1"; skipped=$((skipped + 1)); }
have() { command -v "$1" >/dev/null 2>&1; }
fresh() { bucket="e2e-$client-$scheme-$RANDOM$RANDOM"; bucket=${bucket,,}; }

aws_round() {
  aws_() { "$program" --endpoint-url "$endpoint" "$@"; }
  make() { aws_ s3 mb "s3://$bucket"; }
  put() { aws_ s3 cp --no-progress "$work/small" "s3://$bucket/small" && aws_ s3 cp --no-progress "$work/large" "s3://$bucket/large"; }
  get() { aws_ s3 cp --no-progress "s3://$bucket/large" "$work/got" && cmp "$work/large" "$work/got" && aws_ s3 cp --no-progress "s3://$bucket/small" "$work/got" && cmp "$work/small" "$work/got"; }
  lists() { [ "$(aws_ s3 ls "s3://$bucket/" | awk '{print $3}' | sort -n | xargs)" = "3000000 20000000" ]; }
  range() { aws_ s3api get-object --bucket "$bucket" --key large --range bytes=10000000-10000099 "$work/got" && cmp <(tail -c +10000001 "$work/large" | head -c 100) "$work/got"; }
  copies() { aws_ s3 cp --no-progress "s3://$bucket/large" "s3://$bucket/copy" && aws_ s3 cp --no-progress "s3://$bucket/copy" "$work/got" && cmp "$work/large" "$work/got"; }
  presigns() { curl -fsS --cacert "$ca" -o "$work/got" "$("$program" --endpoint-url "$endpoint" s3 presign "s3://$bucket/small")" && cmp "$work/small" "$work/got"; }
  syncs() { rm -rf "$work/down"; aws_ s3 sync --no-progress "$work/tree" "s3://$bucket/tree" && [ -z "$(aws_ s3 sync --no-progress "$work/tree" "s3://$bucket/tree")" ] && aws_ s3 sync --no-progress "s3://$bucket/tree" "$work/down" && diff -r "$work/tree" "$work/down"; }
  removes() { aws_ s3 rb --force "s3://$bucket"; }
  for name in make put get lists range copies presigns syncs removes; do step "$name" "$name"; done
}

boto_round() {
  make() { "$python" -c "import boto3,sys; boto3.client('s3', endpoint_url=sys.argv[1], verify=sys.argv[3] or None).create_bucket(Bucket=sys.argv[2])" "$endpoint" "$bucket" "$verify"; }
  round() { "$python" "$here/round.py" "$endpoint" "$id" "$secret" "$bucket" ${verify:+"$verify"}; }
  step make make; step round round
}

rclone_round() {
  printf '[x]\ntype = s3\nprovider = %s\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n' Other "$id" "$secret" "$endpoint" >"$work/rclone.conf"
  rc() { env -u AWS_CA_BUNDLE rclone --config "$work/rclone.conf" --ca-cert "$ca" --retries 1 --low-level-retries 1 --s3-upload-cutoff 8M --s3-chunk-size 8M "$@"; }
  make() { rc mkdir "x:$bucket"; }
  put() { rc copyto "$work/small" "x:$bucket/small" && rc copyto "$work/large" "x:$bucket/large"; }
  get() { rc cat "x:$bucket/large" >"$work/got" && cmp "$work/large" "$work/got"; }
  check() { mkdir -p "$work/two" && cp "$work/small" "$work/large" "$work/two/" && rc check --one-way "$work/two" "x:$bucket"; }
  syncs() { rm -rf "$work/down"; rc sync "$work/tree" "x:$bucket/tree" && ! rc sync -v "$work/tree" "x:$bucket/tree" 2>&1 | grep -E 'Copied|Deleted|Updated' && rc sync "x:$bucket/tree" "$work/down" && diff -r "$work/tree" "$work/down"; }
  removes() { rc purge "x:$bucket"; }
  for name in make put get check syncs removes; do step "$name" "$name"; done
}

s3cmd_round() {
  printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = %s\nca_certs_file = %s\nbucket_location = us-east-1\nmultipart_chunk_size_mb = 8\nmax_retries = 1\n' \
    "$id" "$secret" "${endpoint#*://}" "${endpoint#*://}" "$([ "$scheme" = https ] && echo True || echo False)" "$ca" >"$work/s3cfg"
  sc() { s3cmd -c "$work/s3cfg" --no-progress "$@"; }
  make() { sc mb "s3://$bucket"; }
  put() { sc put "$work/small" "s3://$bucket/small" && sc put "$work/large" "s3://$bucket/large"; }
  get() { sc get --force "s3://$bucket/large" "$work/got" && cmp "$work/large" "$work/got"; }
  info() { sc info "s3://$bucket/small" | grep -q "$(md5sum <"$work/small" | cut -d' ' -f1)"; }
  syncs() { sc sync "$work/tree/" "s3://$bucket/tree/" && ! sc sync "$work/tree/" "s3://$bucket/tree/" 2>&1 | grep -E '^(upload|delete):'; }
  removes() { sc del --recursive --force "s3://$bucket" && sc rb "s3://$bucket"; }
  for name in make put get info syncs removes; do step "$name" "$name"; done
}

curl_round() {
  # This curl signs no payload hash unless told; AWS demands one.
  c() { curl -fsS --cacert "$ca" --aws-sigv4 aws:amz:us-east-1:s3 --user "$id:$secret" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"; }
  make() { c -X PUT "$endpoint/$bucket" -H 'Content-Length: 0'; }
  put() { c -T "$work/small" "$endpoint/$bucket/small"; }
  get() { c -o "$work/got" "$endpoint/$bucket/small" && cmp "$work/small" "$work/got"; }
  range() { c -r 5-9 -o "$work/got" "$endpoint/$bucket/small" && cmp <(tail -c +6 "$work/small" | head -c 5) "$work/got"; }
  lists() { c "$endpoint/$bucket?list-type=2" | grep -q '<Size>3000000</Size>'; }
  removes() { c -X DELETE "$endpoint/$bucket/small" && c -X DELETE "$endpoint/$bucket"; }
  for name in make put get range lists removes; do step "$name" "$name"; done
}

sdk_round() {
  make() { node -e "const{S3Client,CreateBucketCommand:C}=require('@aws-sdk/client-s3');new S3Client({endpoint:process.argv[1],region:'us-east-1',forcePathStyle:true}).send(new C({Bucket:process.argv[2]}))" "$endpoint" "$bucket"; }
  step make make; step round node "$here/sdk.ts" "$endpoint" "$id" "$secret" "$bucket"
}

for scheme in $schemes; do
  endpoint=$(say $scheme)
  verify=; unset AWS_CA_BUNDLE NODE_EXTRA_CA_CERTS
  [ $scheme = https ] && verify=$ca && export AWS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca
  for client in aws-v1 aws-v2; do
    fresh; program=$AWS_V1; [ $client = aws-v2 ] && program=$AWS_V2
    if ! have "$program"; then skip "$program is not installed"
    elif ! "$program" --version 2>&1 | grep -q "aws-cli/${client#aws-v}\."; then skip "$program is another version"
    else aws_round; fi
  done
  for client in boto3-new boto3-old; do
    fresh; python=$PYTHON; [ $client = boto3-old ] && python=$PYTHON_OLD
    if [ -z "$python" ]; then skip 'PYTHON_OLD names no Python'
    elif ! "$python" -c 'import boto3' 2>/dev/null; then skip "$python has no boto3"
    else boto_round; fi
  done
  client=sdk-js-v3; fresh; sdk_round
  for client in rclone s3cmd curl; do
    fresh
    if ! have $client; then skip "$client is not installed"
    elif [ $client = curl ] && ! curl --help all | grep -q aws-sigv4; then skip 'this curl has no --aws-sigv4'
    else ${client}_round; fi
  done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
