#!/usr/bin/env bash
# ClickHouse, as chDB, which is its engine in a Python package: the table function s3() in several formats and with partitions, a MergeTree whose disk is in the bucket, with
# merges and mutations, and BACKUP and RESTORE. Over plain HTTP: chDB takes no authority of its own.
. "$(dirname "$0")/rig.sh" "$@"
version=4.4.0
python_packages chdb==$version
round() { for name in tables merge_tree again backup; do step "$name" python_step "$name"; done; }
rounds round
row 'ClickHouse (chDB)' "$("$python" -c 'import chdb; print(str(chdb.query("select version()")).strip().strip(chr(34)))'), chdb $version" '`s3()` in Parquet, CSV, Native and by partitions, a MergeTree on a disk of type `s3` with merges, mutations and a second process, BACKUP and RESTORE; every row compared by two hashes; over plain HTTP' 'none'
