#!/usr/bin/env bash
# A key of a real PyKMIP server: the conformance suite of all key services, wraps per second, and what one version of the server ignores. One line per
# step; exit status 1 when one failed, 69 when the server cannot be installed.
#
#   test/e2e/kmip.sh
#
# Program: PyKMIP 0.11.0 from PyPI in a virtual environment below ~/.cache/sealgate, or KMIP_VENV. Needs python3 with venv, and openssl.
set -u
here=$(cd "$(dirname "$0")" && pwd)
venv=${KMIP_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/sealgate/pykmip-0.11.0}
if [ ! -x "$venv/bin/pykmip-server" ]; then
  { "${PYTHON:-python3}" -m venv "$venv" && "$venv/bin/pip" install --quiet pykmip==0.11.0; } || { echo 'PyKMIP could not be installed' >&2; exit 69; }
fi
folder=$(mktemp -d /tmp/sealgate-kmip-XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=Test CA' -keyout ca.key -out ca.pem 2> /dev/null
for name in server client; do
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2> /dev/null
  printf 'extendedKeyUsage=%sAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n' "$name" > "$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$name.ext" -out "$name.pem" 2> /dev/null
done
KMIP_VENV=$venv KMIP_FOLDER=$folder node "$here/kmip.ts"
