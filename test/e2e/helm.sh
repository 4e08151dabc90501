#!/usr/bin/env bash
# The Helm chart: lint, schemas, refusals and rendering; against a real kube-apiserver; and its pods acted out in front of MinIO.
#   test/e2e/kube-programs.sh DIR && sudo MINIO=minio test/e2e/helm.sh DIR
# What DIR does not have is left out, and said so. The last part needs root, and what test/e2e/image.ts needs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-}
export HELM=${HELM:-$dir/bin/helm}
code=0

skipped() {
  echo "left out: $1"
}

[ -x "$HELM" ] || HELM=$(command -v helm) || { echo "there is no helm"; exit 2; }
if [ -x "$dir/bin/kubeconform" ] && [ -d "$dir/schemas" ]; then
  export KUBECONFORM=$dir/bin/kubeconform SCHEMAS=$dir/schemas
else
  skipped "kubeconform: not in the folder, or no schemas"
fi
node "$here/helm.ts" || code=1

if [ -x "$dir/bin/kube-apiserver" ] && [ -x "$dir/bin/etcd" ]; then
  KUBE=$dir/bin node "$here/helm-cluster.ts" "$dir"/crds/*.yaml || code=1
else
  skipped "the cluster: no kube-apiserver or etcd"
fi

if [ "$(id -u)" = 0 ] && command -v "${MINIO:-minio}" >/dev/null; then
  "$here/stores/minio.sh" node "$here/helm-pod.ts" || code=1
else
  skipped "the pods: no root, or no MinIO"
fi
exit $code
