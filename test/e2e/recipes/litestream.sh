#!/usr/bin/env bash
# Litestream: a SQLite database in WAL mode replicated while it is written to, by a process that is stopped and one that is killed; restored each time, and to
# a point in time, and compared row by row.
. "$(dirname "$0")/rig.sh" "$@"
go_module litestream github.com/benbjohnson/litestream@v0.5.18 cmd/litestream
litestream=$cache/bin/litestream db=
marker= # it packs what it writes
configuration() {
  cat >"$work/litestream-$mode.yml" <<YAML
dbs:
  - path: $db
    monitor-interval: 200ms
    replica:
      type: s3
      bucket: $bucket
      path: db
      endpoint: $endpoint
      region: us-east-1
      force-path-style: true
      sync-interval: 300ms
YAML
}
with_ca() { SSL_CERT_FILE=$ca "$@"; }
sql() { "$PYTHON" - "$1" "$2" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
if sys.argv[2] == 'make':
    db.execute('pragma journal_mode = wal')
    db.execute('create table t (i integer primary key, body text)')
if sys.argv[2] in ('make', 'more'):
    for _ in range(20):
        db.executemany('insert into t (body) values (?)', ((f'row {n} ' + 'some text ' * 20,) for n in range(2000)))
        db.execute('update t set body = body || ? where i % 97 = 0', ('changed',))
        db.commit()
else:
    assert db.execute('pragma integrity_check').fetchone() == ('ok',)
    print(db.execute('select count(*), sum(i), sum(length(body)) from t').fetchone(), hash_of := __import__('hashlib').sha256(repr(db.execute('select * from t order by i').fetchall()).encode()).hexdigest())
PY
}
replicate() { env SSL_CERT_FILE="$ca" "$litestream" replicate -config "$work/litestream-$mode.yml" >>"$work/litestream.log" 2>&1 & litestream_pid=$!; sleep 3; kill -0 $litestream_pid; }
restored() { # what is restored has every row of the database
  rm -f "$work"/back*; with_ca "$litestream" restore -config "$work/litestream-$mode.yml" -o "$work/back.db" "$@" "$db"
  sql "$work/back.db" read
}
first() { configuration; sql "$db" make; replicate; sql "$db" more; sleep 4; kill -TERM $litestream_pid; wait $litestream_pid || true; [ "$(restored)" = "$(sql "$db" read)" ]; }
past() { sql "$db" read >"$work/rows-past"; date -u +%Y-%m-%dT%H:%M:%SZ >"$work/time-past"; sleep 2; }
killed() { replicate; sql "$db" more; sleep 4; kill -KILL $litestream_pid; wait $litestream_pid || true; [ "$(restored)" = "$(sql "$db" read)" ]; }
again() { replicate; sql "$db" more; sleep 4; kill -TERM $litestream_pid; wait $litestream_pid || true; [ "$(restored)" = "$(sql "$db" read)" ]; }
back_then() { [ "$(restored -timestamp "$(cat "$work/time-past")")" = "$(cat "$work/rows-past")" ]; }
round() { db=$work/$mode.db; step replicate first; step past past; step killed killed; step 'goes on' again; step 'point in time' back_then; }
rounds round
row Litestream 0.5.18 'a database replicated while it was written to, by a process stopped and killed; restored each time and to a point in time, every row compared' '`endpoint`, `force-path-style: true`; own authority: `SSL_CERT_FILE`'
