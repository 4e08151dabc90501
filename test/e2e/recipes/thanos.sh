#!/usr/bin/env bash
# Thanos: the blocks of a Prometheus uploaded by its sidecar, copied back byte for byte, queried through store gateway and querier, compacted and downsampled, and
# queried again. What Prometheus itself answers is the truth.
. "$(dirname "$0")/rig.sh" "$@"
GOFLAGS="$(go env GOFLAGS) -tags=slicelabels" go_module thanos github.com/thanos-io/thanos@v0.42.4 cmd/thanos # as its releases are built; without, answers with labels panic
package promtool prometheus
thanos=$cache/bin/thanos tsdb=$work/tsdb end=$(($(date +%s) / 7200 * 7200 - 7200)) prometheus=http://127.0.0.1:$(free_port)
ask() { "$PYTHON" -P "$recipes/thanos.py" "$@"; }
blocks() { # 48 of two hours each
  mkdir samples "$tsdb"
  ask samples samples "$end" "$marker" || return
  for file in samples/*; do promtool tsdb create-blocks-from openmetrics "$file" "$tsdb" || return; done
  rm -r samples
}
serve() { # a Prometheus whose blocks nobody else compacts
  printf 'global:\n  external_labels: { cluster: one, replica: a }\n' >prometheus.yml
  start prometheus.log prometheus --config.file=prometheus.yml --storage.tsdb.path="$tsdb" --storage.tsdb.min-block-duration=2h --storage.tsdb.max-block-duration=2h --storage.tsdb.retention.time=30d --web.listen-address="${prometheus#http://}"
  answers "$prometheus/-/ready"
}
store_yaml() {
  cat <<YAML
type: S3
config:
  bucket: $bucket
  endpoint: ${endpoint#https://}
  region: us-east-1
  access_key: $id
  secret_key: $secret
  bucket_lookup_type: path
  part_size: 5242880
  http_config: { tls_config: { ca_file: $ca } }
YAML
}
# background LOG COMMAND…: in a step that has `trap stop EXIT`.
pids=()
background() { local log=$work/$1; shift; "$@" >"$log" 2>&1 & pids+=($!); }
stop() { for each in "${pids[@]}"; do kill_quietly "$each"; done; }
until_true() { for _ in $(seq 240); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.5; done; return 1; }
bucket_tool() { "$thanos" tools bucket "$@" --objstore.config-file="$work/store.yml"; }
uploaded() { curl -sf "$1/metrics" | grep -qx 'thanos_shipper_uploads_total 48'; }
uploads() {
  local at=127.0.0.1:$(free_port)
  trap stop EXIT
  store_yaml >"$work/store.yml"; rm -rf "$tsdb/thanos" "$tsdb/thanos.shipper.json"
  background sidecar.log "$thanos" sidecar --tsdb.path="$tsdb" --prometheus.url="$prometheus" --objstore.config-file="$work/store.yml" --http-address="$at" --grpc-address="127.0.0.1:$(free_port)"
  until_true uploaded "http://$at"
  [ "$(bucket_tool ls | grep -c .)" = 48 ]
}
same_bytes() { # all but meta.json, which the sidecar has added labels to
  rm -rf "$work/copy"; printf 'type: FILESYSTEM\nconfig: { directory: %s }\n' "$work/copy" >"$work/folder.yml"
  bucket_tool replicate --single-run --objstore-to.config-file="$work/folder.yml" --http-address="127.0.0.1:$(free_port)" 2>"$work/replicate.log"
  local block count=0
  for block in "$tsdb"/01*; do diff -r -x meta.json -x tombstones "$block" "$work/copy/$(basename "$block")"; count=$((count + 1)); done
  [ $count = 48 ]
}
queried() { # through a store gateway that knows nothing yet
  local http=http://127.0.0.1:$(free_port) store=127.0.0.1:$(free_port) grpc=127.0.0.1:$(free_port)
  trap stop EXIT
  rm -rf "$work/gateway"
  background store.log "$thanos" store --data-dir="$work/gateway" --objstore.config-file="$work/store.yml" --http-address="$store" --grpc-address="$grpc"
  until_true curl -sf "http://$store/-/ready"
  background query.log "$thanos" query --endpoint="$grpc" --http-address="${http#http://}" --grpc-address="127.0.0.1:$(free_port)"
  until_true curl -sf "$http/-/ready"
  until_true grep -q '"cluster"' <(curl -s "$http/api/v1/stores")
  ask answers "$http" "$end" >"$work/answers"; diff "$work/truth" "$work/answers"
}
compacts() { # into blocks of two days, these downsampled; what they were made of is deleted
  rm -rf "$work/compact"
  "$thanos" compact --data-dir="$work/compact" --objstore.config-file="$work/store.yml" --http-address="127.0.0.1:$(free_port)" --consistency-delay=0s --delete-delay=0s
  bucket_tool inspect >"$work/inspected"; grep -q '| 47h59m.*| 0s' "$work/inspected"; grep -q '| 47h59m.*| 5m0s' "$work/inspected"; [ "$(grep -c cluster=one "$work/inspected")" -lt 20 ]
  bucket_tool verify 2>"$work/verified"; [ "$(grep -ciE 'msg="(detected|found)' "$work/verified")" = 0 ] # it ends with 0 also when it has found something
}
round() { step sidecar uploads; step 'every byte' same_bytes; step query queried; step compact compacts; step 'query again' queried; }
{ blocks && serve && ask answers "$prometheus" "$end" >truth; } >prepare.log 2>&1 || { tail -n 5 prepare.log >&2; exit 1; }
rounds round
row Thanos "0.42.4, Prometheus $(prometheus --version 2>&1 | grep -oE '[0-9]+\.[0-9.]+' | head -n 1)" '48 blocks uploaded by the sidecar and copied back by `tools bucket replicate`, every byte compared; 1,612,800 samples and five kinds of range queries through store gateway and querier, the same as Prometheus answers; compaction to two days, downsampling, deletion, `verify`, and the same answers again' '`bucket_lookup_type: path`; own authority: `http_config.tls_config.ca_file`'
