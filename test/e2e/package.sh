#!/usr/bin/env bash
# Packs twice, installs the package into an empty directory with each version of Node, and brings it to the first sealed object, with nothing of the checkout
# and nothing of the network but npm's registry. Then what older versions of Node say, npx, two workers, a reload, and that the same command runs a configuration of one's own.
#
#   test/e2e/package.sh [NODE-VERSION …]       default: 24.11.0 (the oldest), the pinned one, 26
#
# Needs npm and curl. The last line counts; 1 when a step failed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
machine=$(uname -s | tr A-Z a-z)-$(uname -m | sed "s/x86_64/x64/;s/aarch64/arm64/")   # as npm has the binaries of Node
work=$(mktemp -d) passed=0 failed=0
versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(24.11.0 "$(sed -n 's/.*"node": "\([0-9.]*\)".*/\1/p' "$root/package.json")" 26)
for program in npm curl; do command -v "$program" >/dev/null 2>&1 || { echo "not installed: $program" >&2; exit 69; }; done
finish() { [ -n "${serve:-}" ] && kill "$serve" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
step() { if eval "$2"; then passed=$((passed + 1)); echo "ok      $1"; else failed=$((failed + 1)); echo "FAILED  $1"; fi; }
now() { date +%s%3N; }
until_in() { for _ in $(seq 600); do grep -q "$1" "$2" 2>/dev/null && return; sleep 0.05; done; echo "waited in vain for $1" >&2; return 1; }
# A value of the credentials that a trial makes.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" data/credentials.json; }
s3() { curl -sS --fail-with-body -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:us-east-1:s3 --user "$(field accessKeyId):$(field secretAccessKey)" "$@"; }

cd "$root" || exit 1
npm pack --silent --pack-destination "$work" >/dev/null 2>&1
tarball=$(echo "$work"/sealgate-*.tgz)
first=$(sha256sum <"$tarball")
npm pack --silent --pack-destination "$work" >/dev/null 2>&1
step "packed twice: the same bytes, $(stat -c %s "$tarball") of them" '[ "$first" = "$(sha256sum <"$tarball")" ]'
step 'no tests, no sources, no list left behind' '! tar tzf "$tarball" | grep -E "package/(test|src|bench)/|\.ts$" && [ ! -e "$root/npm-shrinkwrap.json" ]'

for version in "${versions[@]}"; do
  mkdir -p "$work/node-$version" && cd "$work/node-$version" || exit 1
  npm install --silent --no-audit --no-fund "node-$machine@$version" >/dev/null 2>&1
  node_bin=$work/node-$version/node_modules/node-$machine/bin
  step "Node $version: $("$node_bin/node" --version)" '[ -x "$node_bin/node" ]'
  mkdir "$work/empty-$version" && cd "$work/empty-$version" || exit 1
  began=$(now)
  PATH=$node_bin:$PATH npm install --silent --no-audit --no-fund --global --prefix "$work/prefix-$version" "$tarball" >install.out 2>&1
  installed=$(now)
  step "installed in $((installed - began)) ms, $(du -sm "$work/prefix-$version" | cut -f1) MB, nothing compiled" \
    '[ -x "$work/prefix-$version/bin/sealgate" ] && ! find "$work/prefix-$version" -name build -path "*pkcs11js*" | grep -q .'
  PATH=$work/prefix-$version/bin:$node_bin:$PATH sealgate serve --trial >serve.out 2>serve.err & serve=$!
  until_in 'is running on' serve.out
  listening=$(now)
  url=$(sed -n 's/^Sealgate is running on //p' serve.out)
  s3 -X PUT "$url/demo" >/dev/null
  printf "hello, sealed world\n" >hello.txt; s3 -T hello.txt "$url/demo/hello.txt" >put.out
  sealed=$(now)
  step "listens after $((listening - installed)) ms, first sealed object after $((sealed - began)) ms in all" '[ "$(s3 "$url/demo/hello.txt")" = "hello, sealed world" ]'
  step 'the store has no plaintext' '[ -d data/store ] && ! grep -rq "sealed world" data/store'
  step "nothing on standard error; $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$serve/status") MiB resident" '[ ! -s serve.err ]'
  step 'the flags of Node are there, in the process that was started' 'tr "\0" "\n" <"/proc/$serve/cmdline" | grep -qx -e --disable-proto=throw'
  kill -TERM "$serve"; wait "$serve"; code=$?; serve=
  step 'SIGTERM ends it with 0' '[ "$code" = 0 ]'

  # A configuration of one's own, in front of a trial as the store.
  PATH=$work/prefix-$version/bin:$node_bin:$PATH
  mkdir -p own && sealgate keys create --keyring own/keyring.json --name main >/dev/null 2>&1
  sealgate serve --trial >store.out 2>&1 & serve=$!
  until_in 'is running on' store.out
  cat >own/sealgate.yaml <<X
listen: { host: 127.0.0.1, port: 0 }
admin: { port: 0 }
upstream: { endpoint: "$(sed -n 's/^Sealgate is running on //p' store.out)", region: us-east-1, accessKeyId: "$(field accessKeyId)", secretAccessKey: "$(field secretAccessKey)", stateBucket: state }
clients: [{ accessKeyId: c, secretAccessKey: s, buckets: ["*"] }]
keys: { main: { type: local, keyring: ./keyring.json } }
workers: 2
X
  step 'config check of a configuration of one'"'"'s own' 'sealgate config check --config own/sealgate.yaml >check.out 2>&1'
  sealgate serve --config own/sealgate.yaml >own.out 2>own.err & own=$!
  until_in '"msg":"listening\|listening' own.out
  step 'two workers, from the package' '[ "$(pgrep -c -P "$own")" = 2 ]'
  kill -HUP "$own"
  step 'reloaded by SIGHUP' 'until_in "configuration reloaded" own.out'
  kill -TERM "$own"; wait "$own"; code=$?
  step 'SIGTERM ends it and its workers with 0' '[ "$code" = 0 ]'
  kill "$serve"; wait "$serve" 2>/dev/null; serve=
  step 'npx runs it from the tarball' 'npx --yes --package "$tarball" sealgate --version 2>/dev/null | grep -q "^sealgate "'
  PATH=${PATH#"$work/prefix-$version/bin:$node_bin:"}
done

for old in 14 16 18 20 22; do
  mkdir -p "$work/old-$old" && cd "$work/old-$old" || exit 1
  npm install --silent --no-audit --no-fund "node-$machine@$old" >/dev/null 2>&1
  node=$work/old-$old/node_modules/node-$machine/bin/node
  [ -x "$node" ] || { echo "skipped Node $old: not to be had"; continue; }
  said=$("$node" "$work/prefix-${versions[0]}/lib/node_modules/sealgate/dist/start.js" serve 2>&1); code=$?
  step "Node $old: one line, exit code 2: $said" '[ "$code" = 2 ] && [ "$(printf "%s" "$said" | grep -c "")" = 1 ]'
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
