#!/usr/bin/env bash
# restic: backups read back in full by `check --read-data`, restored and compared, copied to a second repository of the bucket, and pruned.
. "$(dirname "$0")/rig.sh" "$@"
package restic restic
marker= # it encrypts
export RESTIC_PASSWORD=password RESTIC_FROM_PASSWORD=password
restic_at() { local repository=$1; shift; restic --cacert "$ca" -o s3.bucket-lookup=path --no-cache -q -r "s3:$endpoint/$bucket/$repository" "$@"; }
snapshots() { restic_at first snapshots --json | node -p "const all = JSON.parse(fs.readFileSync(0, 'utf8')); $1"; }
tree() {
  mkdir -p "$work/tree/sub"; head -c 20000000 /dev/urandom >"$work/tree/large"; seq 1 300000 >"$work/tree/sub/text"; : >"$work/tree/empty"
  for i in $(seq 100); do head -c $((i * 700)) /dev/urandom >"$work/tree/sub/a b+ü$i"; done
}
backups() { # the second has a changed tree and one more
  restic_at first init; restic_at first backup "$work/tree"; cp -r "$work/tree" "$work/before"
  head -c 5000000 /dev/urandom >"$work/tree/more"; rm "$work/tree/empty"; restic_at first backup "$work/tree" "$work/before/sub"
}
check() { restic_at first check --read-data; }
restores() {
  rm -rf "$work/back"; restic_at first restore "$(snapshots 'all[0].short_id')" --target "$work/back"; diff -r "$work/before" "$work/back$work/tree"
  rm -rf "$work/back"; restic_at first restore "$(snapshots 'all[1].short_id')" --target "$work/back"; diff -r "$work/tree" "$work/back$work/tree"; diff -r "$work/before/sub" "$work/back$work/before/sub"
}
copies() {
  restic_at second init --from-repo "s3:$endpoint/$bucket/first" --copy-chunker-params; restic_at second copy --from-repo "s3:$endpoint/$bucket/first"
  restic_at second check --read-data; [ "$(restic_at second snapshots --json | node -p 'JSON.parse(fs.readFileSync(0, "utf8")).length')" = 2 ]
}
prunes() {
  restic_at first forget --group-by host --keep-last 1 --prune; restic_at first check --read-data; [ "$(snapshots all.length)" = 1 ]
  rm -rf "$work/back"; restic_at first restore latest --target "$work/back"; diff -r "$work/tree" "$work/back$work/tree"
}
round() {
  rm -rf "$work/tree" "$work/before"; tree
  step backups backups; step 'check --read-data' check; step restores restores; step 'second repository' copies; step prunes prunes
}
rounds round
row restic "$(restic version | grep -oE '[0-9.]+' | head -n 1)" 'two backups, `check --read-data`, both restored, copied to a second repository, `forget --prune` and restored again; every file compared' '`-o s3.bucket-lookup=path`; own authority: `--cacert`'
