#!/usr/bin/env bash
# Velero's plugin for AWS, driven by Velero's own packages (velero.go): backups with contents above one part, read back; the links that `velero backup logs`,
# `describe` and `download` fetch; lists; restores' logs and results; deletion. Velero's data of volumes is Kopia's: kopia.sh.
. "$(dirname "$0")/rig.sh" "$@"
plugin=github.com/vmware-tanzu/velero-plugin-for-aws@v1.14.3
go_module velero-plugin-for-aws $plugin velero-plugin-for-aws
go_module velero-driver $plugin driver velero.go
mkdir plugins && cp "$cache/bin/velero-plugin-for-aws" plugins
printf '[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n' "$id" "$secret" >credentials
export PLUGINS=$work/plugins AWS_SHARED_CREDENTIALS_FILE=$work/credentials # as the server's pod has it
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
location() { # location [CONFIG]: a BackupStorageLocation; more of its configuration as members of an object in JSON
  cat <<JSON
{ "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default", "namespace": "velero" },
  "spec": { "provider": "aws", "objectStorage": { "bucket": "$bucket", "prefix": "cluster", "caCert": "$(base64 -w0 "$ca")" },
    "config": { "region": "us-east-1", "s3ForcePathStyle": "true", "s3Url": "$endpoint" ${1:+, $1} } } }
JSON
}
velero() { LOCATION=$(location "${config:-}") "$cache/bin/velero-driver" "$@"; }
backup_of() { # backup_of NAME BYTES: what the server uploads of a backup
  mkdir -p "$work/$1"
  printf '{ "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "%s", "namespace": "velero", "annotations": { "note": "%s" } }, "spec": { "storageLocation": "default" } }\n' "$1" "$marker" >"$work/$1/metadata"
  head -c "$2" /dev/urandom | gzip -1 >"$work/$1/contents"
  seq 1 60000 | sed 's/^/time="2026-11-30T00:00:00Z" level=info msg="Backing up item" number=/' | gzip >"$work/$1/log"
  echo '[{"pvcName":"data","pvcNamespace":"app","pvName":"pv-1","backupMethod":"PodVolumeBackup","snapshotDataMoved":false,"preserveLocalSnapshot":false,"skipped":false}]' | gzip >"$work/$1/volumes"
  echo '{"v1/Pod":["app/one","app/two"]}' | gzip >"$work/$1/resources"
  echo '{"errors":{},"warnings":{}}' | gzip >"$work/$1/results"
  for list in pod-volumes snapshots operations; do echo '[]' | gzip >"$work/$1/$list"; done
}
backups() { velero valid; velero backup nightly-1 "$work/nightly-1"; velero backup nightly-2 "$work/nightly-2"; velero valid; }
lists() { [ "$(velero list)" = '["nightly-1","nightly-2"]' ]; [ "$(velero exists nightly-1)" = true ]; [ "$(velero exists nightly-3)" = false ]; }
reads() {
  for name in nightly-1 nightly-2; do
    velero contents $name | cmp - "$work/$name/contents"
    velero metadata $name | grep -F "\"note\":\"$marker\""
    [ "$(velero volumes $name | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))[0].pvName')" = pv-1 ]
  done
}
fetched() { local url; url=$(velero url "$1" "$2"); [[ $url = "$at"/* ]]; curl -sf --cacert "$ca" "$url" | cmp - "$3"; }
links() {
  local name=nightly-1; at=$endpoint
  fetched BackupContents $name "$work/$name/contents"; fetched BackupLog $name "$work/$name/log"; fetched BackupResults $name "$work/$name/results"
  fetched BackupResourceList $name "$work/$name/resources"; fetched BackupVolumeInfos $name "$work/$name/volumes"; fetched BackupItemOperations $name "$work/$name/operations"
}
public() { at=https://localhost:$port config="\"publicUrl\": \"https://localhost:$port\""; fetched BackupContents nightly-2 "$work/nightly-2/contents"; fetched BackupLog nightly-2 "$work/nightly-2/log"; }
restores() {
  velero restore nightly-1 again "$work/nightly-1"; [ "$(velero results again | node -p 'Object.keys(JSON.parse(fs.readFileSync(0, "utf8"))).sort().join()')" = errors,warnings ]; at=$endpoint
  fetched RestoreLog again "$work/nightly-1/log"; fetched RestoreResults again "$work/nightly-1/results"
}
checksums() { # those that its SDK computes, and none; CRC32 is the default
  for algorithm in '' CRC32C SHA1 SHA256 CRC64NVME; do
    config="\"checksumAlgorithm\": \"$algorithm\""
    velero backup nightly-1 "$work/nightly-1"; velero contents nightly-1 | cmp - "$work/nightly-1/contents"
  done
}
deletes() { velero backup nightly-3 "$work/nightly-2"; velero delete nightly-3; velero delete-restore again; [ "$(velero list)" = '["nightly-1","nightly-2"]' ]; [ "$(velero exists nightly-3)" = false ]; }
round() {
  step backups backups; step lists lists; step reads reads; step 'signed links' links; step publicUrl public; step restores restores; step checksumAlgorithm checksums
  step deletes deletes
}
backup_of nightly-1 30000000; backup_of nightly-2 12345
rounds round
row "Velero's plugin for AWS" '1.14.3, Velero 1.18.1' "by Velero's own plugin manager and backup store, without its server: backups with contents of 30 MB in parts, lists, reads, signed links of eight kinds (also with \`publicUrl\`) fetched by curl, a restore's log and results, \`checksumAlgorithm\` of five kinds and none, deletion; every file compared" '`s3Url`, `s3ForcePathStyle: "true"`; own authority: `caCert` of the location'
