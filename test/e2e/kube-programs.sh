#!/usr/bin/env bash
# Builds what test/e2e/helm.sh needs from the Go module proxy, and the schemas for kubeconform: test/e2e/kube-programs.sh DIR
# What is in DIR already stays. Needs Go and Node; some 30 minutes on two cores, and 6 GB for Go's caches.
set -euo pipefail
dir=${1:?a folder}
here=$(cd "$(dirname "$0")" && pwd)
kubernetes=1.37.2
etcd=3.6.16
mkdir -p "$dir/bin" "$dir/crds"
dir=$(cd "$dir" && pwd)
export GOBIN=$dir/bin GOFLAGS=-buildvcs=false GOWORK=off

at() {
  go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# Modules that replace others in their own tree do not install: they are built in a copy, with the versions that were published.
copy() {
  rm -rf "$dir/tree"
  cp -r "$(at "$1")" "$dir/tree"
  chmod -R u+w "$dir/tree"
  rm -f "$dir/tree/go.work" "$dir/tree/go.work.sum"
}

build() {
  [ -x "$dir/bin/$1" ] || (cd "$dir/tree" && GOFLAGS="$GOFLAGS -mod=mod" nice go build -ldflags "${3:-}" -o "$dir/bin/$1" "$2")
}

# helm takes the version of Kubernetes for `template` from its linker flags; the scripts give it as an option.
[ -x "$dir/bin/helm" ] || nice go install helm.sh/helm/v3/cmd/helm@v3.22.0
[ -x "$dir/bin/kubeconform" ] || nice go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0

if [ ! -x "$dir/bin/etcd" ]; then
  copy "go.etcd.io/etcd/server/v3@v$etcd"
  sed -i -E '/=> \.\.?\//d' "$dir/tree/go.mod"
  build etcd .
fi

programs="kube-apiserver kube-controller-manager kubectl"
if ! (cd "$dir/bin" && ls $programs) >/dev/null 2>&1; then
  copy "k8s.io/kubernetes@v$kubernetes"
  sed -i -E "/=> \.\/staging/d; s#^(\s*k8s\.io/[a-z0-9-]+) v0\.0\.0\$#\1 v0.${kubernetes#1.}#" "$dir/tree/go.mod"
  version=k8s.io/component-base/version
  minor=${kubernetes#1.}
  for program in $programs; do
    build "$program" "./cmd/$program" "-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%.*}"
  done
fi
rm -rf "$dir/tree"

# The newest of the operator's root module that the proxy has; its definitions are in no other.
operator=$(at github.com/prometheus-operator/prometheus-operator@v0.85.0)/example/prometheus-operator-crd
install -m 644 "$operator"/monitoring.coreos.com_{servicemonitors,podmonitors,prometheusrules}.yaml \
  "$(at github.com/cert-manager/cert-manager@v1.21.2)/deploy/crds/cert-manager.io_certificates.yaml" "$dir/crds"
node "$here/helm-schemas.ts" "$dir/schemas" "$(at "k8s.io/kubernetes@v$kubernetes")/api/openapi-spec/swagger.json" "$dir"/crds/*
