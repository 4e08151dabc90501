# Sourced by the scripts of this folder. A script STORE.sh starts its store on free ports of 127.0.0.1 in a folder of its own, runs a
# command against it, stops it and removes the folder:
#
#   test/e2e/stores/STORE.sh COMMAND…
#
# The command gets "--store ENDPOINT --access-key ID --secret-key SECRET" behind its own arguments, and the same as STORE_ENDPOINT,
# STORE_ACCESS_KEY and STORE_SECRET_KEY; STORE_NAME is the script's own. Exit status: that of the command; 69 when the store's program is not there or does not start.
# Where a program comes from stands in the head of its script.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
folder=$(mktemp -d /tmp/sealgate-store-XXXXXX)
log=$folder/log
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  rm -rf "$folder"
}
trap finish EXIT
[ $# -gt 0 ] || { echo "usage: ${BASH_SOURCE[1]} COMMAND…" >&2; exit 64; }
export STORE_NAME
STORE_NAME=$(basename "${BASH_SOURCE[1]}" .sh)
id=storeaccess secret=storesecretstoresecret

gone() { echo "$1" >&2; [ ! -f "$log" ] || tail -n 5 "$log" | cut -c1-300 >&2; exit 69; }
needs() { command -v "$1" >/dev/null 2>&1 || gone "not installed: $1"; }
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
# start COMMAND…: a program in the background, its output in the log.
start() { "$@" >>"$log" 2>&1 </dev/null & pids+=($!); }
# answers URL: waits up to 90 seconds for any HTTP answer.
answers() {
  for _ in $(seq 180); do
    curl -s -o /dev/null --max-time 2 "$1" && return
    kill -0 "${pids[-1]}" 2>/dev/null || gone 'the store ended'
    sleep 0.5
  done
  gone "no answer from $1"
}
# against ENDPOINT COMMAND…: a store that has a profile sets it for the rig before.
profile=()
against() {
  export STORE_ENDPOINT=$1 STORE_ACCESS_KEY=$id STORE_SECRET_KEY=$secret
  shift
  "$@" --store "$STORE_ENDPOINT" --access-key "$id" --secret-key "$secret" "${profile[@]}"
}
