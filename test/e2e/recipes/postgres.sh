# Sourced by the recipes of PostgreSQL's backup programs, behind rig.sh: clusters whose WAL goes to an archiver, and the comparison of a restored one with the
# rows that were written. The server's programs are in PGBIN (default: the newest of Debian's), and run as postgres when this runs as root.
newest() { find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1; }
PGBIN=${PGBIN:-$(newest)}
PATH=$PGBIN:$PATH package initdb postgresql
PGBIN=${PGBIN:-$(newest)}
pgport=5599

pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- env HOME="$work" PATH="$PGBIN:$PATH" "$@"; else env PATH="$PGBIN:$PATH" "$@"; fi; }
sql() { pg psql -XqAt -h "$pgdir" -p $pgport -d postgres -c "$1"; }
pg_start() { pg pg_ctl -D "$1" -w -t 60 -l "$pgdir/server.log" start; }
pg_stop() { pg pg_ctl -D "$1" -m fast -w stop; }
pg_kill() { for data in "$work"/pg-*/{data,back,past}; do [ ! -f "$data/postmaster.pid" ] || pg pg_ctl -D "$data" -m immediate stop >/dev/null; done; }
at_end+=(pg_kill)
# pg_new ARCHIVE_COMMAND: a fresh cluster in $pgdir/data with 200,000 rows; every row has the marker.
pg_new() {
  [ "$(id -u)" != 0 ] || chown postgres "$pgdir"
  pg initdb -D "$pgdir/data" -A trust --no-sync --no-locale -E UTF8
  printf "archive_mode = on\narchive_command = '%s'\nunix_socket_directories = '%s'\nlisten_addresses = ''\nport = %s\nmax_wal_senders = 4\nwal_level = replica\n" "$1" "$pgdir" $pgport | pg tee -a "$pgdir/data/postgresql.conf"
  pg_start "$pgdir/data"
  sql "create table t (i serial, hash text, marker text); insert into t (hash, marker) select md5(i::text), 'plaintext-marker-b7d1f05c' from generate_series(1, 200000) i"
}
# pg_archived: the archive has the first of the WAL.
pg_archived() { for _ in $(seq 240); do [ "$(sql 'select archived_count > 0 from pg_stat_archiver')" = t ] && return; sleep 0.5; done; return 1; }
pg_more() { sql "insert into t (hash, marker) select md5(i::text), 'more' from generate_series(1, 1000) i"; sql 'select pg_switch_wal()'; }
pg_rows() { sql 'copy (select * from t order by i) to stdout'; }
# pg_ends: the rows are remembered in $work/rows, the last WAL is archived, the cluster stops.
pg_ends() { pg_rows >"$work/rows"; sql 'select pg_switch_wal()'; pg_stop "$pgdir/data"; }
# pg_same DATA ROWS: the restored cluster, once recovery has ended, has the rows of the file ROWS and no others.
pg_same() {
  pg_start "$1"
  for _ in $(seq 120); do [ "$(sql 'select pg_is_in_recovery()')" = t ] || break; sleep 0.5; done
  pg_rows >"$work/restored" || { tail -n 5 "$pgdir/server.log"; return 1; }
  pg_stop "$1"
  cmp "$work/restored" "$2"
}
