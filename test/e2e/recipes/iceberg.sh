#!/usr/bin/env bash
# Iceberg by PyIceberg with a catalogue in SQLite, through PyArrow's and through fsspec's files: append, filters, older snapshots, delete, overwrite, upsert, a new
# column; two writers at once; a table purged.
. "$(dirname "$0")/rig.sh" "$@"
version=0.12.0
python_packages "pyiceberg[pyarrow,sql-sqlite,s3fs]==$version" pyarrow==26.0.1
export AWS_CA_BUNDLE=$ca SSL_CERT_FILE=$ca
round() {
  for FILE_IO in pyarrow fsspec; do
    export FILE_IO
    for name in write read changes writers purge; do step "$FILE_IO $name" python_step "$name"; done
  done
}
rounds round
row 'Iceberg (PyIceberg)' "$version, PyArrow 26 and s3fs" 'append, filters, snapshots, delete, overwrite, upsert, schema change, two writers at once with 8 commits and none lost, through PyArrow and through fsspec; every row compared' '`s3.force-virtual-addressing: false`; `AWS_CA_BUNDLE` (fsspec) and `SSL_CERT_FILE` (PyArrow) for an own authority'
