#!/usr/bin/env bash
# Ceph radosgw, a cluster that somebody else has started: RADOSGW names its endpoint, RADOSGW_ACCESS_KEY and RADOSGW_SECRET_KEY its user.
. "$(dirname "$0")/with.sh"
[ -n "${RADOSGW:-}" ] || gone 'RADOSGW names no endpoint'
id=$RADOSGW_ACCESS_KEY secret=$RADOSGW_SECRET_KEY
against "$RADOSGW" "$@"
