#!/usr/bin/env bash
# Real clients through the gateway, in front of a store with the limits of one provider after the other (test/support/narrow-profiles.ts). One line
# for each provider: for each client `ok` and the number of its steps, or the steps that failed; the last line counts.
#
#   test/e2e/narrow.sh                                          in front of the embedded store
#   test/e2e/narrow.sh --store http://HOST:PORT --access-key ID --secret-key SECRET [--state BUCKET]
#
# PROVIDERS="r2 b2" and ONLY="aws rclone" choose. Clients: aws, rclone, mc (MC), s3cmd, restic. The reason of a failed step is printed below the
# line, from the last words of the client. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
PROVIDERS=${PROVIDERS:-r2 b2 hetzner ovh scaleway wasabi google storagegrid ecs oss garage cephOld} ONLY=${ONLY:-aws rclone mc s3cmd restic} MC=${MC:-mc}
work=$(mktemp -d) passed=0 failed=0
trap 'rm -rf "$work"' EXIT
export HOME=$work AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER= AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE
head -c 100000 /dev/urandom >"$work/small"; head -c 17000000 /dev/urandom >"$work/large"; mkdir -p "$work/tree/sub"; cp "$work/small" "$work/tree/sub/a b+c"; echo x >"$work/tree/x"

step() {
  local name=$1 log="$work/log"
  if "$name" >"$log" 2>&1; then passed=$((passed + 1)); good=$((good + 1))
  else failed=$((failed + 1)); bad="$bad $name"; reasons="$reasons    | $client $name: $(tail -n 3 "$log" | tr '\n' ' ' | tail -c 300)"$'\n'; fi
}
run() { good=0 bad=; for name in "$@"; do step "$name"; done; line="$line $(printf '%-22s' "$([ -z "$bad" ] && echo "ok $good" || echo "fails:$bad")")"; }

aws_client() {
  a() { aws --endpoint-url "$endpoint" "$@"; }
  make() { a s3 mb "s3://$bucket"; }
  put() { a s3 cp --no-progress "$work/small" "s3://$bucket/small" && a s3 cp --no-progress "$work/large" "s3://$bucket/large"; }
  get() { a s3 cp --no-progress "s3://$bucket/large" "$work/got" && cmp "$work/large" "$work/got" && a s3api get-object --bucket "$bucket" --key small --range bytes=5-9 "$work/got" && cmp <(tail -c +6 "$work/small" | head -c 5) "$work/got"; }
  lists() { a s3 sync --no-progress "$work/tree" "s3://$bucket/tree" && [ "$(a s3api list-objects-v2 --bucket "$bucket" --prefix tree/ --page-size 1 --query 'length(Contents)')" = 2 ]; }
  copies() { a s3 cp --no-progress "s3://$bucket/small" "s3://$bucket/copied" && a s3 cp --no-progress "s3://$bucket/copied" "$work/got" && cmp "$work/small" "$work/got"; }
  removes() { a s3api delete-objects --bucket "$bucket" --delete 'Objects=[{Key=small},{Key=copied}]' && a s3 rb --force "s3://$bucket"; }
  run make put get lists copies removes
}
rclone_client() {
  printf '[x]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n' "$id" "$secret" "$endpoint" >"$work/rclone.conf"
  r() { rclone --config "$work/rclone.conf" --retries 1 --low-level-retries 1 --s3-upload-cutoff 6M --s3-chunk-size 6M "$@"; }
  make() { r mkdir "x:$bucket"; }
  put() { r copyto "$work/small" "x:$bucket/small" && r copyto "$work/large" "x:$bucket/large"; }
  get() { r cat "x:$bucket/large" >"$work/got" && cmp "$work/large" "$work/got" && r cat --offset 5 --count 5 "x:$bucket/small" >"$work/got" && cmp <(tail -c +6 "$work/small" | head -c 5) "$work/got"; }
  syncs() { rm -rf "$work/down" && r sync "$work/tree" "x:$bucket/tree" && r sync "x:$bucket/tree" "$work/down" && diff -r "$work/tree" "$work/down"; }
  copies() { r copyto "x:$bucket/small" "x:$bucket/copied" && r cat "x:$bucket/copied" >"$work/got" && cmp "$work/small" "$work/got"; }
  removes() { r purge "x:$bucket"; }
  run make put get syncs copies removes
}
mc_client() {
  m() { "$MC" --config-dir "$work/mc" -q "$@"; }
  make() { m alias set x "$endpoint" "$id" "$secret" --api S3v4 --path on && m mb "x/$bucket"; }
  put() { m cp "$work/small" "x/$bucket/small" && m put --part-size 6MiB "$work/large" "x/$bucket/large"; }
  get() { m cat "x/$bucket/large" >"$work/got" && cmp "$work/large" "$work/got"; }
  lists() { m mirror "$work/tree" "x/$bucket/tree" && [ "$(m ls --recursive "x/$bucket/tree" | wc -l)" = 2 ]; }
  copies() { m cp "x/$bucket/small" "x/$bucket/copied" && m cat "x/$bucket/copied" >"$work/got" && cmp "$work/small" "$work/got"; }
  removes() { m rm --recursive --force "x/$bucket/tree" && m rb --force "x/$bucket"; }
  run make put get lists copies removes
}
s3cmd_client() {
  printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\nbucket_location = us-east-1\nmultipart_chunk_size_mb = 6\nmax_retries = 1\n' "$id" "$secret" "${endpoint#*://}" "${endpoint#*://}" >"$work/s3cfg"
  s() { s3cmd -c "$work/s3cfg" --no-progress "$@"; }
  make() { s mb "s3://$bucket"; }
  put() { s put "$work/small" "s3://$bucket/small" && s put "$work/large" "s3://$bucket/large"; }
  get() { s get --force "s3://$bucket/large" "$work/got" && cmp "$work/large" "$work/got"; }
  syncs() { s sync "$work/tree/" "s3://$bucket/tree/" && [ "$(s ls --recursive "s3://$bucket/tree/" | wc -l)" = 2 ]; }
  copies() { s cp "s3://$bucket/small" "s3://$bucket/copied" && s get --force "s3://$bucket/copied" "$work/got" && cmp "$work/small" "$work/got"; }
  removes() { s del --recursive --force "s3://$bucket" && s rb "s3://$bucket"; }
  run make put get syncs copies removes
}
restic_client() {
  q() { RESTIC_PASSWORD=secret restic -o s3.bucket-lookup=path --no-cache -q -r "s3:$endpoint/$bucket/repo" "$@"; }
  backup() { q init && q backup "$work/tree" "$work/large"; }
  check() { q check --read-data; }
  restore() { rm -rf "$work/back" && q restore latest --target "$work/back" && cmp "$work/large" "$work/back$work/large" && diff -r "$work/tree" "$work/back$work/tree"; }
  prune() { q forget --keep-last 0 --unsafe-allow-remove-all --tag '' --prune || q forget "$(q snapshots --json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))[0].short_id')" --prune; }
  run backup check restore prune
}

printf '%-12s' provider; for client in $ONLY; do printf ' %-22s' "$client"; done; echo
for provider in $PROVIDERS; do
  coproc RIG { exec node "$here/rig.ts" --narrow "$provider" "$@"; }
  rig_in=${RIG[1]} rig_pid=$RIG_PID
  IFS= read -r said <&"${RIG[0]}" || { echo "the gateway did not start" >&2; exit 1; }
  say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
  id=$(say accessKeyId) secret=$(say secretAccessKey) endpoint=$(say http)
  export AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret
  line=$(printf '%-12s' "$provider") reasons=
  for client in $ONLY; do
    program=$client; [ "$client" = mc ] && program=$MC
    bucket="rig-${provider,,}-$client-$RANDOM$RANDOM"
    if command -v "$program" >/dev/null 2>&1; then "${client}_client"; else line="$line $(printf '%-22s' 'not installed')"; fi
  done
  echo "$line"; printf '%s' "$reasons"
  exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
