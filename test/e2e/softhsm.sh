#!/usr/bin/env bash
# A gateway on a key in a real SoftHSM 2: key made, rotated, re-wrapped, disabled; token removed under load and put back; a module that hangs, is slow
# and crashes; wraps per second; calls for 10,000 PUT and GET; latency of cold objects. One line per step; the last line counts; 1 when a step failed.
#
#   npm run build-pkcs11 && test/e2e/softhsm.sh
#
# With a command it runs that instead, with a fresh token: test/e2e/softhsm.sh node test/campaigns/shred.ts
#
# Needs softhsm2-util, pkcs11-tool (OpenSC), gcc and the built package pkcs11js. MODULE: path of libsofthsm2.so. OBJECTS: default 10000. OUTAGE: seconds
# of each outage, default 10. PYTHON: a Python with cryptography and python-pkcs11, to open an object by docs/break-glass.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
MODULE=${MODULE:-$(ls /usr/lib/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so 2>/dev/null | head -1)}
for program in softhsm2-util pkcs11-tool gcc node; do command -v "$program" >/dev/null 2>&1 || { echo "not installed: $program" >&2; exit 69; }; done
[ -n "$MODULE" ] || { echo 'libsofthsm2.so is not there: name it in MODULE' >&2; exit 69; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tokens"
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" >"$work/softhsm2.conf"
export SOFTHSM2_CONF=$work/softhsm2.conf PKCS11_SHIM_MODULE=$MODULE PKCS11_SHIM_FAULT=$work/fault
gcc -Wall -shared -fPIC -o "$work/shim.so" "$here/pkcs11-shim.c" -ldl
head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$work/pin"
softhsm2-util --init-token --free --label sealgate-e2e --so-pin 31415926 --pin "$(cat "$work/pin")" >/dev/null
export WORK=$work MODULE
if [ $# -gt 0 ]; then "$@"; else node --max-semi-space-size=8 "$here/softhsm.ts"; fi
