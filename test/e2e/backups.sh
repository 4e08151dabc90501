#!/usr/bin/env bash
# Backup tools through the gateway over TLS, set up as in docs/RECIPES.md: back up, verify, restore, compare; then look
# at what the store holds. Once with `etag: md5`, once with `etag: opaque`. One line per tool and step; the last line counts.
#
#   test/e2e/backups.sh                                          in front of the embedded store
#   test/e2e/backups.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#
# Tools: restic, rclone, pgbackrest, barman-cloud-*; the last two need PostgreSQL's server programs (PGBIN, default: the newest of
# Debian's), which run as postgres when this runs as root. What is not installed is skipped. ONLY="restic rclone" chooses.
set -u
here=$(cd "$(dirname "$0")" && pwd)
PGBIN=${PGBIN:-$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)}
work=$(mktemp -d) passed=0 failed=0 skipped=0
coproc RIG { exec node "$here/rig.ts" "$@"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID
finish() {
  for data in "$work"/pg-*/{data,back}; do [ ! -f "$data/postmaster.pid" ] || pg pg_ctl -D "$data" -m immediate stop >/dev/null; done
  exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; rm -rf "$work"
}
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo "the gateway did not start" >&2; exit 1; }
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
id=$(say accessKeyId) secret=$(say secretAccessKey) endpoint=$(say https) ca=$work/ca.pem
port=${endpoint##*:}; cp "$(say ca)" "$ca"; chmod 755 "$work"
export HOME=$work AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$work/none
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE # rclone 1.60 fails when there is one
mkdir -p "$work/tree/sub"; head -c 20000000 /dev/urandom >"$work/tree/large"; seq 1 300000 >"$work/tree/sub/text"; : >"$work/tree/empty"
for i in $(seq 100); do head -c $((i * 700)) /dev/urandom >"$work/tree/sub/a b+$i"; done

row() { printf '%-11s %-7s %-18s %s\n' "$client" "$mode" "$1" "$2"; }
step() {
  local name=$1 log="$work/log" result; shift
  ( set -e; "$@" ) >"$log" 2>&1; result=$? # not as a condition: there, set -e does nothing
  if [ $result = 0 ]; then row "$name" ok; passed=$((passed + 1))
  else row "$name" FAIL; failed=$((failed + 1)); tail -n 5 "$log" | cut -c1-200 | sed 's/^/    | /'; fi
}
skip() { row - "skipped: $1"; skipped=$((skipped + 1)); }
have() { command -v "$1" >/dev/null 2>&1; }
bucket() { # made by the gateway's own SDK: not every tool can
  node -e "const{S3Client,CreateBucketCommand:C}=require('@aws-sdk/client-s3');new S3Client({endpoint:process.argv[1],region:'us-east-1',forcePathStyle:true}).send(new C({Bucket:process.argv[2]}))" "$(say http)" "$bucket"
}
stored() { node "$here/stored.ts" "$said" "$bucket"; }

restic_round() {
  restic_() { RESTIC_PASSWORD=secret RESTIC_FROM_PASSWORD=secret restic --cacert "$ca" -o s3.bucket-lookup=path --no-cache -q "$@"; }
  snapshots() { restic_ -r "$a" snapshots --json | node -p "const all = JSON.parse(fs.readFileSync(0, 'utf8')); $1"; }
  local a=s3:$endpoint/$bucket/repo b=s3:$endpoint/$bucket/second
  backup() { restic_ -r "$a" init; restic_ -r "$a" backup "$work/tree"; cp -r "$work/tree/sub" "$work/more"; restic_ -r "$a" backup "$work/tree" "$work/more"; }
  check() { restic_ -r "$a" check --read-data; }
  restore() { rm -rf "$work/back"; restic_ -r "$a" restore "$(snapshots 'all[0].short_id')" --target "$work/back"; diff -r "$work/tree" "$work/back$work/tree"; }
  copies() { restic_ -r "$b" init --from-repo "$a" --copy-chunker-params; restic_ -r "$b" copy --from-repo "$a"; restic_ -r "$b" check --read-data; }
  prune() { restic_ -r "$a" forget --group-by host --keep-last 1 --prune; restic_ -r "$a" check --read-data; [ "$(snapshots all.length)" = 1 ]; }
  for name in backup check restore copies prune; do step "$name" "$name"; done
}

rclone_round() {
  printf '[x]\ntype = s3\nprovider = %s\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n%s\n' \
    "$provider" "$id" "$secret" "$endpoint" "$([ "$mode" = md5 ] || echo 'use_multipart_etag = false')" >"$work/rclone.conf"
  rc() { rclone --config "$work/rclone.conf" --ca-cert "$ca" --retries 1 --low-level-retries 1 --s3-upload-cutoff 8M --s3-chunk-size 5M "$@"; }
  local to=x:$bucket/$provider
  sync() { rc sync "$work/tree" "$to/tree"; rc sync -v "$work/tree" "$to/tree" >"$work/said" 2>&1; [ "$(grep -cE 'Copied|Deleted|Updated' "$work/said")" = 0 ]; }
  check() { rc check --download "$work/tree" "$to/tree"; if [ "$mode" = md5 ]; then rc check "$work/tree" "$to/tree"; fi; }
  streams() { rc rcat "$to/stream" <"$work/tree/large"; rc copyto "$to/stream" "$work/stream"; cmp "$work/stream" "$work/tree/large"; }
  copies() { rc copy "$to/tree" "$to/copy"; rc check --download "$work/tree" "$to/copy"; rc moveto "$to/stream" "$to/moved"; }
  back() { rm -rf "$work/back"; rc sync "$to/tree" "$work/back"; diff -r "$work/tree" "$work/back"; }
  for name in sync check streams copies back; do step "$provider $name" "$name"; done
}

# PostgreSQL, as its own user: it refuses to run as root.
pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- env PATH="$PGBIN:$PATH" "$@"; else env PATH="$PGBIN:$PATH" "$@"; fi; }
sql() { pg psql -XqAt -h "$pgdir" -p 5599 -d postgres -c "$1"; }
pg_start() { pg pg_ctl -D "$1" -w -t 60 -l "$pgdir/server.log" start; }
pg_new() { # a fresh cluster that hands every WAL segment to the archiver
  pgdir=$work/pg-$client-$mode; mkdir -p "$pgdir"; [ "$(id -u)" != 0 ] || chown postgres "$pgdir"
  pg initdb -D "$pgdir/data" -A trust --no-sync
  printf "archive_mode = on\narchive_command = '%s'\nunix_socket_directories = '%s'\nlisten_addresses = ''\nport = 5599\nmax_wal_senders = 4\n" "$1" "$pgdir" | pg tee -a "$pgdir/data/postgresql.conf"
  pg_start "$pgdir/data"
  sql "create table t as select i, md5(i::text) from generate_series(1, 200000) i"
}
pg_more() { sql "insert into t select i, md5(i::text) from generate_series(1, 1000) i; select pg_switch_wal()"; }
pg_facts() { sql 'select count(*), sum(hashtext(t::text)) from t'; }
pg_ends() { pg_facts >"$work/facts"; sql 'select pg_switch_wal()'; pg pg_ctl -D "$pgdir/data" -m fast -w stop; }
pg_same() { # the restored cluster, once recovery has ended, has every row written before the end
  pg_start "$1"
  for _ in $(seq 60); do [ "$(sql 'select pg_is_in_recovery()')" = t ] || break; sleep 0.5; done
  pg_facts >"$work/restored"
  pg pg_ctl -D "$1" -m fast -w stop
  cmp "$work/restored" "$work/facts"
}

pgbackrest_round() {
  pgdir=$work/pg-$client-$mode
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
start-fast=y
log-level-file=off
log-level-console=warn
lock-path=$work/pgbackrest-lock
spool-path=$work/pgbackrest-lock
[main]
pg1-path=$pgdir/data
pg1-socket-path=$pgdir
pg1-port=5599
CONF
  mkdir -p "$work/pgbackrest-lock"; chmod 777 "$work/pgbackrest-lock"
  br() { pg pgbackrest --config="$work/pgbackrest.conf" --stanza=main "$@"; }
  cluster() { pg_new "pgbackrest --config=$work/pgbackrest.conf --stanza=main archive-push %p"; }
  stanza() { br stanza-create; br check; }
  backups() { br --type=full backup; pg_more; br --type=incr backup; pg_more; }
  verify() { br verify; pg_ends; }
  restore() { br --pg1-path="$pgdir/back" restore; pg_same "$pgdir/back"; }
  expire() {
    pg_start "$pgdir/data"; br --type=full backup; pg pg_ctl -D "$pgdir/data" -m fast -w stop
    [ "$(br info --output=json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))[0].backup.length')" = 1 ]
  }
  for name in cluster stanza backups verify restore expire; do step "$name" "$name"; done
}

barman_round() {
  local options="--cloud-provider aws-s3 --endpoint-url $endpoint s3://$bucket"
  export AWS_CA_BUNDLE=$ca # for barman alone
  cluster() { pg_new "barman-cloud-wal-archive ${options% *} -z s3://$bucket main %p"; }
  backups() { pg barman-cloud-backup $options --immediate-checkpoint main -h "$pgdir" -p 5599 -U postgres; pg_more; }
  lists() {
    pg barman-cloud-backup-list --format json $options main >"$work/list"
    node -p 'const [one, ...more] = JSON.parse(fs.readFileSync(0, "utf8")).backups_list; more.length === 0 && one.status === "DONE" ? one.backup_id : process.exit(1)' <"$work/list" >"$work/backup-id"
    pg_ends
  }
  restore() {
    pg mkdir -m 700 "$pgdir/back"; pg barman-cloud-restore $options main "$(cat "$work/backup-id")" "$pgdir/back"; pg touch "$pgdir/back/recovery.signal"
    printf "restore_command = 'barman-cloud-wal-restore %s main %%f %%p'\n" "$options" | pg tee -a "$pgdir/back/postgresql.conf"
    pg_same "$pgdir/back"
  }
  deletes() { pg barman-cloud-backup-delete $options main --backup-id "$(cat "$work/backup-id")"; }
  pgdir=$work/pg-$client-$mode
  for name in cluster backups lists restore deletes; do step "$name" "$name"; done
  unset AWS_CA_BUNDLE
}

for mode in md5 opaque; do
  for client in ${ONLY:-restic rclone pgbackrest barman}; do
    bucket=$RANDOM$RANDOM; bucket="${mode/md5/md}-$client-$bucket"
    program=$client; [ "$client" = barman ] && program=barman-cloud-backup
    if ! have "$program"; then skip "$program is not installed"; continue; fi
    if [ "$client" = pgbackrest ] || [ "$client" = barman ]; then
      if [ ! -x "$PGBIN/initdb" ]; then skip 'PostgreSQL is not installed'; continue; fi
    fi
    step bucket bucket
    if [ "$client" = rclone ]; then for provider in Other Ceph; do rclone_round; done; else "${client}_round"; fi
    step stored stored
  done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
