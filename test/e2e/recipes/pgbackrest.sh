#!/usr/bin/env bash
# pgBackRest: stanza, WAL pushed as it is made, full, differential and incremental backups in bundles, `verify`, restored to the end and to a point in time, and
# an older full backup expired.
. "$(dirname "$0")/rig.sh" "$@"
. "$recipes/postgres.sh"
package pgbackrest pgbackrest
pgdir=
configuration() {
  cat >"$work/pgbackrest.conf" <<CONF
[global]
repo1-type=s3
repo1-s3-endpoint=localhost
repo1-storage-port=$port
repo1-storage-ca-file=$ca
repo1-s3-bucket=$bucket
repo1-s3-region=us-east-1
repo1-s3-uri-style=path
repo1-s3-key=$id
repo1-s3-key-secret=$secret
repo1-path=/pgbackrest
repo1-bundle=y
repo1-retention-full=1
compress-type=none
start-fast=y
process-max=2
log-level-file=off
log-level-console=warn
lock-path=$work/pgbackrest-lock
spool-path=$work/pgbackrest-lock
[main]
pg1-path=$pgdir/data
pg1-socket-path=$pgdir
pg1-port=$pgport
CONF
  mkdir -p "$work/pgbackrest-lock"; chmod 777 "$work/pgbackrest-lock"
}
br() { pg pgbackrest --config="$work/pgbackrest.conf" --stanza=main "$@"; }
cluster() { configuration; pg_new "pgbackrest --config=$work/pgbackrest.conf --stanza=main archive-push %p"; }
stanza() { br stanza-create; br check; }
backups() {
  br --type=full backup; pg_more
  br --type=diff --compress-type=zst backup; pg_more
  pg_rows >"$work/rows-past"; sql 'select pg_create_restore_point($$past$$)'
  br --type=incr backup; pg_more
}
verify() { br verify; pg_ends; }
restore() { br --pg1-path="$pgdir/back" restore; pg_same "$pgdir/back" "$work/rows"; }
past() { # from the backup before the restore point: pgBackRest chooses by itself only for a time
  set=$(br info --output=json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))[0].backup[1].label')
  br --pg1-path="$pgdir/past" --set="$set" --type=name --target=past --target-action=promote restore
  pg_same "$pgdir/past" "$work/rows-past"
}
expire() {
  pg_start "$pgdir/data"; br --type=full backup; pg_stop "$pgdir/data"
  [ "$(br info --output=json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))[0].backup.length')" = 1 ]
}
round() {
  pgdir=$work/pg-$mode; mkdir -p "$pgdir"
  for name in cluster stanza backups verify restore past expire; do step "$name" "$name"; done
}
rounds round
row pgBackRest "$(pgbackrest version | grep -oE '[0-9.]+'), PostgreSQL $(pg postgres --version | grep -oE '[0-9.]+' | head -n 1)" 'WAL push, full, differential and incremental backup in bundles, `verify`, restore to the end and to a point in time, expiry; every row compared' 'TLS and a name; `repo1-s3-uri-style=path`, `repo1-storage-ca-file` for an own authority'
