#!/usr/bin/env bash
# Docker registry (CNCF Distribution) with its S3 driver: images pushed and pulled by skopeo, with redirects to presigned URLs and without, a blob mounted into
# another repository, a layer sent in pieces of odd sizes, an image deleted and its blobs collected.
. "$(dirname "$0")/rig.sh" "$@"
go_module distribution github.com/distribution/distribution/v3@v3.1.2 cmd/registry
package skopeo skopeo
registry= listen=
export SSL_CERT_FILE=$ca
image() { # an OCI image of three layers: a tar file with the marker, one that is uploaded in parts, one of more than 32 MiB, which the driver copies in parts
  "$PYTHON" - "$work/image" "$marker" <<'PY'
import hashlib, io, json, os, sys, tarfile
root, marker = sys.argv[1:]
os.makedirs(root + '/blobs/sha256')
def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    open(f'{root}/blobs/sha256/{digest}', 'wb').write(data)
    return 'sha256:' + digest, len(data)
def layer(name, body):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        info = tarfile.TarInfo(name); info.size = len(body); tar.addfile(info, io.BytesIO(body))
    return blob(out.getvalue())
layers = [layer('text', (marker + ' plain text\n').encode() * 5000), layer('middle', os.urandom(12_345_678)), layer('large', os.urandom(45_000_000))]
config = blob(json.dumps({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': [d for d, _ in layers]}, 'config': {}}).encode())
row = lambda kind, it: {'mediaType': f'application/vnd.oci.image.{kind}', 'digest': it[0], 'size': it[1]}
manifest = blob(json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': row('config.v1+json', config), 'layers': [row('layer.v1.tar', it) for it in layers]}).encode())
json.dump({'schemaVersion': 2, 'manifests': [{**row('manifest.v1+json', manifest), 'annotations': {'org.opencontainers.image.ref.name': 'one'}}]}, open(root + '/index.json', 'w'))
json.dump({'imageLayoutVersion': '1.0.0'}, open(root + '/oci-layout', 'w'))
PY
}
serve() { # serve REDIRECT?
  listen=$(free_port)
  cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: warn }
storage:
  s3:
    regionendpoint: $endpoint
    forcepathstyle: true
    region: us-east-1
    bucket: $bucket
    accesskey: $id
    secretkey: $secret
    chunksize: 6291456
  delete: { enabled: true }
  redirect: { disable: $1 }
http: { addr: "127.0.0.1:$listen", secret: secret }
YAML
  start "$work/registry-$mode.log" "$cache/bin/distribution" serve "$work/registry.yml"
  registry=http://127.0.0.1:$listen
  answers "$registry/v2/"
}
copy() { skopeo copy --quiet --preserve-digests --src-tls-verify=false --dest-tls-verify=false "$@"; }
push() { copy "oci:$work/image:one" "docker://127.0.0.1:$listen/team/app:1"; }
pull() { rm -rf "$work/back"; copy "docker://127.0.0.1:$listen/$1" "oci:$work/back:one"; diff -r "$work/image/blobs" "$work/back/blobs"; }
mounted() {
  local digest=sha256:$(find "$work/image/blobs/sha256" -size +40M -printf '%f\n')
  [ "$(curl -s -o /dev/null -w '%{http_code}' -X POST "$registry/v2/other/app/blobs/uploads/?mount=$digest&from=team/app")" = 201 ]
  copy "oci:$work/image:one" "docker://127.0.0.1:$listen/other/app:1"; pull other/app:1
}
pieces() { # a layer in pieces that fit no part of S3, one of them after a pause
  head -c 20000000 /dev/urandom >"$work/piece"
  local place at=0 size
  place=$(curl -sf -D - -o /dev/null -X POST "$registry/v2/team/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
  for size in 1000 3000000 7000001 9998999; do
    place=$(tail -c +$((at + 1)) "$work/piece" | head -c $size | curl -sf -D - -o /dev/null -X PATCH -H 'Content-Type: application/octet-stream' -H "Content-Range: $at-$((at + size - 1))" --data-binary @- "$place" | tr -d '\r' | sed -n 's/^Location: //Ip')
    at=$((at + size)); sleep 0.5
  done
  local digest=sha256:$(sha256sum <"$work/piece" | cut -d' ' -f1)
  [ "$(curl -s -o /dev/null -w '%{http_code}' -X PUT "$place&digest=$digest")" = 201 ]
  curl -sfL --cacert "$ca" -o "$work/got" "$registry/v2/team/app/blobs/$digest"; cmp "$work/piece" "$work/got"
  curl -sfL --cacert "$ca" -r 5000000-5000999 -o "$work/got" "$registry/v2/team/app/blobs/$digest"; cmp <(tail -c +5000001 "$work/piece" | head -c 1000) "$work/got"
}
collected() {
  skopeo delete --tls-verify=false "docker://127.0.0.1:$listen/other/app:1"
  "$cache/bin/distribution" garbage-collect "$work/registry.yml" >"$work/collected"
  pull team/app:1
}
round() {
  serve true
  step push push; step pull pull team/app:1; step mounted mounted; step pieces pieces; step collected collected
  kill_quietly "$pid"; serve false
  step redirected pull team/app:1; step 'pieces, redirected' pieces
  kill_quietly "$pid"
}
image
rounds round
row 'Docker registry (Distribution)' "3.1.2, skopeo $(skopeo --version | grep -oE '[0-9.]+' | head -n 1)" 'push and pull by skopeo, with redirects to presigned URLs and without, layers of 45 MB and in pieces of odd sizes, a mounted blob, delete and garbage collection; every blob compared' '`regionendpoint`, `forcepathstyle: true`; own authority: `SSL_CERT_FILE`, also for clients that are redirected'
