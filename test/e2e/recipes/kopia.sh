#!/usr/bin/env bash
# Kopia: its own check of a store (`repository validate-provider`), snapshots, every content verified, restored and compared, a snapshot deleted and collected by
# full maintenance, and a second machine that connects to the repository.
. "$(dirname "$0")/rig.sh" "$@"
go_module kopia github.com/kopia/kopia@v0.23.1 .
marker= # it encrypts
export KOPIA_PASSWORD=password KOPIA_CHECK_FOR_UPDATES=false KOPIA_CACHE_DIRECTORY=$work/kopia-cache
kopia() { "$cache/bin/kopia" --config-file "$work/kopia-${machine:-one}-$mode.config" --log-dir "$work/kopia-logs" --no-progress "$@"; }
repository() { kopia repository "$1" s3 --bucket "$bucket" --prefix repository/ --endpoint "${endpoint#https://}" --region us-east-1 --access-key "$id" --secret-access-key "$secret" --root-ca-pem-path "$ca"; }
tree() {
  mkdir -p "$work/tree/sub"; head -c 30000000 /dev/urandom >"$work/tree/large"; seq 1 300000 >"$work/tree/sub/text"; : >"$work/tree/empty"
  for i in $(seq 100); do head -c $((i * 700)) /dev/urandom >"$work/tree/sub/a b+ü$i"; done
}
create() { repository create; }
validate() { kopia repository validate-provider --concurrency-test-duration=15s --num-storage-connections=4 --put-blob-workers=2 --get-blob-workers=2 --get-metadata-workers=2; }
snapshots() {
  kopia snapshot create "$work/tree"; cp -r "$work/tree" "$work/first"
  head -c 5000000 /dev/urandom >"$work/tree/more"; rm "$work/tree/sub/text"; kopia snapshot create "$work/tree"
}
verify() { kopia snapshot verify --verify-files-percent=100 --file-parallelism=4; kopia content verify --full; }
id_of() { kopia snapshot list --json --all | node -p "JSON.parse(fs.readFileSync(0, 'utf8'))[$1].id"; }
restore() { # every byte of both
  rm -rf "$work/back" "$work/back-first"
  kopia snapshot restore "$(id_of 0)" "$work/back-first"; diff -r "$work/first" "$work/back-first"
  kopia snapshot restore "$(id_of 1)" "$work/back"; diff -r "$work/tree" "$work/back"
}
collects() { kopia snapshot delete --delete "$(id_of 0)"; kopia maintenance set --owner=me; kopia maintenance run --full --safety=none; kopia content verify --full; }
other() { machine=other; repository connect; rm -rf "$work/back"; kopia snapshot restore "$(id_of 0)" "$work/back"; diff -r "$work/tree" "$work/back"; }
round() {
  rm -rf "$work/tree" "$work/first"; tree
  step create create; step validate-provider validate; step snapshots snapshots; step verify verify; step restore restore; step collects collects; step 'other machine' other
}
rounds round
row Kopia 0.23.1 '`repository validate-provider`, snapshots, every file and content verified, restore, delete with full maintenance, a second machine; every file compared' '`--endpoint` without a scheme; own authority: `--root-ca-pem-path`'
