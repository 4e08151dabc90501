#!/usr/bin/env bash
# Delta Lake by delta-rs: written, appended, deleted from, merged, read at an older version; two writers that append at the same time by conditional PUTs, no
# commit lost; compacted, checkpointed, vacuumed.
. "$(dirname "$0")/rig.sh" "$@"
version=1.6.6
python_packages deltalake==$version pyarrow==26.0.1
export SSL_CERT_FILE=$ca
round() { for name in write read changes writers maintenance; do step "$name" python_step "$name"; done; }
rounds round
row 'Delta Lake (delta-rs)' "deltalake $version" 'append, delete, merge, older versions, two writers at once with 24 commits and none lost, compaction, checkpoint, vacuum; every row compared' '`conditional_put: etag` (its default), a store with conditional PUT; `SSL_CERT_FILE` for an own authority'
