#!/usr/bin/env bash
# DuckDB with httpfs: Parquet, CSV and JSON written, read by globs, hive partitions, row groups and single columns, overwritten; a database file attached.
. "$(dirname "$0")/rig.sh" "$@"
version=1.5.5
python_packages duckdb==$version duckdb-extensions==$version duckdb-extension-httpfs==$version
round() { for name in write read ranges overwrite attach; do step "$name" python_step "$name"; done; }
rounds round
row DuckDB "$version with httpfs" 'Parquet, CSV and JSON written and overwritten, read by globs, hive partitions, row groups and columns, a database attached; every row compared both ways' "\`URL_STYLE 'path'\`; \`SET GLOBAL ca_cert_file\` for an own authority"
