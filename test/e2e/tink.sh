#!/bin/bash
# Writes objects through a gateway in front of the embedded store, exports the key of each, and opens the stored bytes with Tink in Python (PYTHON, with
# `tink` and `cryptography`) and in Java (TINK_JARS, a directory with the jars of com.google.crypto.tink:tink). Also backups for the `age` program.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
work=$(mktemp -d)
sealgate() { node src/main.ts "$@"; }
glass() { "$python" docs/break-glass/sealgate_open.py "$@"; }
passed=0 failed=0
check() { if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "not ok: $1"; fi; }
export PYTHONDONTWRITEBYTECODE=1 AWS_ACCESS_KEY_ID=store AWS_SECRET_ACCESS_KEY=store-secret AWS_DEFAULT_REGION=us-east-1

coproc STORE { exec node bench/store.ts memory; }
store_pid=$STORE_PID gateway_pid=
trap 'kill $store_pid $gateway_pid 2> /dev/null; rm -rf "$work"' EXIT
read -r store <&"${STORE[0]}"
sealgate keys create --keyring "$work/keyring.json" --realm tink 2> /dev/null
cat > "$work/sealgate.yaml" << YAML
listen: { port: 0 }
upstream: { endpoint: "$store", accessKeyId: store, secretAccessKey: store-secret, realm: tink }
clients: [{ accessKeyId: store, secretAccessKey: store-secret }]
keys: { main: { type: local, keyring: "$work/keyring.json" } }
buckets: { "*": { metadata: clear } }
audit: { file: "$work/audit.log" }
log: { format: json }
YAML
sealgate serve --config "$work/sealgate.yaml" > "$work/log" &
gateway_pid=$!
for _ in $(seq 1000); do
  port=$(grep '"msg":"listening"' "$work/log" | grep -o '"port":[0-9]*' | head -1 | cut -d: -f2 || true)
  [ -n "$port" ] && break
  sleep 0.2
done
aws() { command aws --endpoint-url "$1" "${@:2}"; }
aws "http://127.0.0.1:$port" s3 mb s3://photos > /dev/null
head -c 70000 /dev/urandom > "$work/single"
head -c 21000001 /dev/urandom > "$work/multipart"
for name in single multipart; do
  aws "http://127.0.0.1:$port" s3 cp "$work/$name" "s3://photos/$name, a+b" --only-show-errors
  aws "$store" s3api get-object --bucket photos --key "$name, a+b" "$work/stored" > "$work/head.json"
  sealgate export-key --config "$work/sealgate.yaml" --tink-keyset "photos/$name, a+b" > "$work/keyset.json" 2> "$work/warning"
  check "$name: a warning" grep -q '^WARNING: this is a key in plaintext' "$work/warning"
  check "$name: audited" grep -q "\"operation\":\"export-key\".*\"key\":\"$name, a+b\".*\"outcome\":\"ok\"" "$work/audit.log"
  glass --keyring "$work/keyring.json" --bucket photos --object "$name, a+b" --headers "$work/head.json" --body "$work/stored" --print-streams > "$work/streams"
  if "$python" -c 'import tink' 2> /dev/null; then
    "$python" docs/break-glass/tink_open.py "$work/keyset.json" "$work/streams" "$work/stored" > "$work/opened"
    check "$name: Tink in Python, $(wc -l < "$work/streams") streams" cmp "$work/$name" "$work/opened"
  fi
  if [ -n "${TINK_JARS:-}" ]; then
    java -cp "$TINK_JARS/*" docs/break-glass/TinkOpen.java "$work/keyset.json" "$work/streams" "$work/stored" > "$work/opened"
    check "$name: Tink in Java" cmp "$work/$name" "$work/opened"
  fi
done

# What a person meets who opens it by hand, and the exit status of each.
opening() { glass --bucket photos --object "$1" --headers "$work/head.json" --body "$work/stored" --out "$work/opened" "${@:2}"; }
fails() {
  local status=0 text
  text=$(opening "${@:3}" 2>&1 > /dev/null) || status=$?
  [ "$status" = "$1" ] && [[ $text == "sealgate_open: "*"$2"* ]] && [ "$(wc -l <<< "$text")" = 1 ] && ! ls "$work"/opened* > /dev/null 2>&1 && return
  echo "exit status $status: $text"
  return 1
}
object='multipart, a+b'
sealgate keys export --keyring "$work/keyring.json" --backup "$work/backup" --passphrase-file "$work/passphrase" --make-passphrase > /dev/null 2>&1
sealgate keys create --keyring "$work/other.json" --name keyring --realm tink > /dev/null 2>&1
sed 's/"realm": "tink"/"realm": "elsewhere"/' "$work/keyring.json" > "$work/foreign.json"
head -c 200 "$work/backup" > "$work/cut"
echo 'another passphrase' > "$work/wrong"
rm -f "$work/opened"
check 'a backup opens' opening "$object" --backup "$work/backup" --passphrase-file "$work/passphrase" > /dev/null
check 'the same bytes' cmp "$work/multipart" "$work/opened"
rm "$work/opened"
check 'a wrong passphrase' fails 3 'wrong passphrase' "$object" --backup "$work/backup" --passphrase-file "$work/wrong"
check 'a cut backup' fails 3 'the passphrase is right, but the backup is damaged or cut' "$object" --backup "$work/cut" --passphrase-file "$work/passphrase"
check 'a foreign realm' fails 5 'other realm, bucket, context or key' "$object" --keyring "$work/foreign.json"
check 'a foreign realm that the keyring names' fails 5 'the keyring is of realm tink, not of elsewhere' "$object" --keyring "$work/keyring.json" --realm elsewhere
check 'a missing key' fails 4 'the keyring does not hold local:keyring:' "$object" --keyring "$work/other.json"
check 'another name' fails 5 'other realm, bucket, object name or key' 'another' --keyring "$work/keyring.json"
check 'a missing file' fails 2 'No such file or directory' "$object" --keyring "$work/absent.json"
check 'a backup in place of a keyring' fails 2 'is a backup: use --backup' "$object" --keyring "$work/backup"
truncate -s -1 "$work/stored"
check 'a cut body' fails 1 'malformed' "$object" --keyring "$work/keyring.json"
aws "$store" s3api get-object --bucket photos --key "$object" "$work/stored" > /dev/null
sed -i 's/"ContentType": ".*"/"ContentType": "text\/html"/' "$work/head.json"
check 'another content type' fails 1 'content type, the content encoding or the user metadata was changed' "$object" --keyring "$work/keyring.json"

if command -v age > /dev/null; then
  age-keygen -o "$work/identity" 2> /dev/null
  sealgate keys export --keyring "$work/keyring.json" --backup "$work/backup.age" --age "$(age-keygen -y "$work/identity")" > /dev/null 2>&1
  age -d -i "$work/identity" "$work/backup.age" > "$work/from-age.json"
  check 'the age program opens a backup' cmp "$work/keyring.json" "$work/from-age.json"
  age -r "$(age-keygen -y "$work/identity")" "$work/keyring.json" > "$work/by-age"
  check 'keys restore opens what the age program made' sealgate keys restore --backup "$work/by-age" --keyring "$work/restored.json" --age-identity "$work/identity" > /dev/null
  check 'the same keyring' cmp "$work/keyring.json" "$work/restored.json"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
