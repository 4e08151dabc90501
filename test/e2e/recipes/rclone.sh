#!/usr/bin/env bash
# rclone, as provider Other and as provider Ceph: a tree synced in parts, synced again without a copy, checked by its hashes and by its bytes; a stream of unknown
# length, copies and moves inside the store, and the tree synced back. RCLONE names another program than the pinned one, such as Debian's.
. "$(dirname "$0")/rig.sh" "$@"
[ -n "${RCLONE:-}" ] || { go_program rclone github.com/rclone/rclone@v1.76.0; RCLONE=$cache/bin/rclone; }
tree() {
  mkdir -p "$work/tree/sub"; head -c 20000000 /dev/urandom >"$work/tree/large"; seq 1 300000 >"$work/tree/sub/text"; : >"$work/tree/empty"; echo "$marker" >"$work/tree/note"
  for i in $(seq 100); do head -c $((i * 700)) /dev/urandom >"$work/tree/sub/a b+ü$i"; done
}
configuration() {
  printf '[x]\ntype = s3\nprovider = %s\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nforce_path_style = true\n%s\n' \
    "$provider" "$id" "$secret" "$endpoint" "$([ "$mode" = md5 ] || echo 'use_multipart_etag = false')" >"$work/rclone.conf"
}
to() { echo "x:$bucket/$provider/$1"; }
rc() { "$RCLONE" --config "$work/rclone.conf" --ca-cert "$ca" --retries 1 --low-level-retries 1 --s3-upload-cutoff 8M --s3-chunk-size 5M "$@"; }
syncs() { # the second has nothing to do
  configuration
  rc sync "$work/tree" "$(to tree)"; rc sync -v "$work/tree" "$(to tree)" >"$work/said" 2>&1; [ "$(grep -cE 'Copied|Deleted|Updated' "$work/said")" = 0 ]
}
checks() { rc check --download "$work/tree" "$(to tree)"; if [ "$mode" = md5 ]; then rc check "$work/tree" "$(to tree)"; fi; }
streams() { rc rcat "$(to stream)" <"$work/tree/large"; rc copyto "$(to stream)" "$work/stream"; cmp "$work/stream" "$work/tree/large"; }
copies() { rc copy "$(to tree)" "$(to copy)"; rc check --download "$work/tree" "$(to copy)"; rc moveto "$(to stream)" "$(to moved)"; rc cat "$(to moved)" | cmp - "$work/tree/large"; }
back() { rm -rf "$work/back"; rc sync "$(to tree)" "$work/back"; diff -r "$work/tree" "$work/back"; }
removes() { rc delete "$(to copy)" --include 'sub/**'; [ "$(rc lsf -R --files-only "$(to copy)" | sort | tr '\n' ' ')" = 'empty large note ' ]; }
round() {
  for provider in Other Ceph; do
    step "$provider: syncs" syncs; step "$provider: checks" checks; step "$provider: stream" streams; step "$provider: copies" copies; step "$provider: back" back
    step "$provider: removes" removes
  done
}
tree
rounds round
row rclone "$("$RCLONE" version | grep -oE '[0-9.]+' | head -n 1)" 'as provider Other and Ceph: sync in parts, a second one that copies nothing, `check` by MD5 (etag: md5) and by bytes, `rcat`, copies and moves in the store, delete by a filter; every file compared' '`force_path_style`; `etag: opaque`: `use_multipart_etag = false`; own authority: `--ca-cert`; 1.60 wants no `AWS_CA_BUNDLE`'
