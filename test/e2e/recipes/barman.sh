#!/usr/bin/env bash
# barman-cloud-*, the programs that CloudNativePG calls for its backups, with the options that it gives them: WAL archived with tags, a base backup with two
# jobs, its list and details, restored to the end and to a point in time, and removed by a retention policy.
. "$(dirname "$0")/rig.sh" "$@"
. "$recipes/postgres.sh"
version=3.19.1
package pg_config libpq-dev gcc
python_packages "barman[cloud]==$version"
export PATH=$python_bin:$PATH AWS_CA_BUNDLE=$ca
pgdir=
store() { echo "--endpoint-url $endpoint --cloud-provider aws-s3"; }
barman() { local program=$1; shift; pg "barman-cloud-$program" $(store) "$@"; } # shellcheck disable=SC2046
cluster() { pg_new "$python_bin/barman-cloud-wal-archive --history-tags kind,history --tags kind,wal $(store) s3://$bucket main %p"; }
checks() { barman check-wal-archive "s3://$bucket" main; } # an empty one is safe to archive to, and any other is not
checks_again() { pg_archived; if checks; then return 1; fi; }
backups() {
  barman backup --jobs 2 --gzip --tags kind,base --name one --immediate-checkpoint "s3://$bucket" main -h "$pgdir" -p $pgport -U postgres
  pg_more
  pg_rows >"$work/rows-past"; sql 'select pg_create_restore_point($$past$$)'
  barman backup --min-chunk-size 5MB --name two --immediate-checkpoint "s3://$bucket" main -h "$pgdir" -p $pgport -U postgres
  pg_more
}
lists() {
  barman backup-list --format json "s3://$bucket" main >"$work/list"
  node -e 'const all = JSON.parse(fs.readFileSync(0, "utf8")).backups_list; console.log(all); if (all.length !== 2 || all.some((one) => one.status !== "DONE")) process.exit(1)' <"$work/list"
  barman backup-show --format json "s3://$bucket" main one | grep -q '"backup_name": "one"'
  pg_ends
}
# restore_of NAME FOLDER [SETTING…]
restore_of() {
  pg mkdir -m 700 "$2"; barman restore "s3://$bucket" main "$1" "$2"; pg touch "$2/recovery.signal"
  printf "restore_command = '$python_bin/barman-cloud-wal-restore %s s3://%s main %%f %%p'\n" "$(store)" "$bucket" | pg tee -a "$2/postgresql.conf"
  [ $# = 2 ] || printf '%s\n' "${@:3}" | pg tee -a "$2/postgresql.conf"
}
restore() { restore_of two "$pgdir/back"; pg_same "$pgdir/back" "$work/rows"; }
past() { restore_of one "$pgdir/past" "recovery_target_name = 'past'" "recovery_target_action = 'promote'"; pg_same "$pgdir/past" "$work/rows-past"; }
round() {
  pgdir=$work/pg-$mode; mkdir -p "$pgdir"
  step 'archive is empty' checks
  step cluster cluster
  step 'archive is not empty' checks_again
  step backups backups
  step lists lists
  step restore restore
  step past past
  step retention deletes
}
deletes() {
  barman backup-delete --retention-policy 'REDUNDANCY 1' "s3://$bucket" main
  barman backup-list --format json "s3://$bucket" main | node -p 'JSON.parse(fs.readFileSync(0, "utf8")).backups_list.length === 1 || process.exit(1)'
}
rounds round
row 'barman-cloud (CloudNativePG)' "$version, PostgreSQL $(pg postgres --version | grep -oE '[0-9.]+' | head -n 1)" 'WAL archive with tags, two base backups, restore to the end and to a point in time, retention; every row compared' '`AWS_CA_BUNDLE` for an own authority'
