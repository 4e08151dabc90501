#!/usr/bin/env bash
# The status page in headless Chromium: four looks (light and dark, 360 and 1440 px) with a screenshot and axe-core each, no request to
# anywhere else, and fourteen staged faults that have to be found from the page alone. One line per step; the last line counts.
#
#   test/e2e/page.sh [FOLDER [looks]]     FOLDER keeps the screenshots; looks: without the faults
#
# CHROMIUM names the browser, AXE the version of axe-core, which npm fetches. Needs openssl. Skipped, with the reason, where one of
# them is missing. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
CHROMIUM=${CHROMIUM:-/usr/bin/chromium} AXE=${AXE:-4.14.1}
skip() { echo "skipped: $1"; echo '0 of 14 faults found from the page alone'; exit 0; }
command -v "$CHROMIUM" >/dev/null 2>&1 || skip "$CHROMIUM is not installed"
command -v openssl >/dev/null 2>&1 || skip 'openssl is not installed'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shots=${1:-$work/shots}
mkdir -p "$shots" && shots=$(cd "$shots" && pwd)
npm install --prefix "$work" --no-save --ignore-scripts --silent "axe-core@$AXE" >/dev/null 2>&1 || skip "npm cannot get axe-core@$AXE"
# `openssl ca` is what takes dates.
cd "$work" || exit 1
: >index && echo 01 >serial
printf '[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index\nserial=serial\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
{ openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout expired.key -out expired.csr &&
  openssl ca -batch -selfsign -notext -config ca.cnf -keyfile expired.key -in expired.csr -out expired.pem \
    -startdate 20200101000000Z -enddate 20210101000000Z; } >/dev/null 2>&1 || skip 'openssl cannot make an expired certificate'
node "$here/page.ts" "$CHROMIUM" "$work/node_modules/axe-core/axe.min.js" "$work" "$shots" "${2:-}"
