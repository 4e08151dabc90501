#!/usr/bin/env bash
# A page in headless Chromium through the gateway: presigned PUT and GET, a signed form, the SDK's Upload; everything read back and
# compared by SHA-256. One line per step; the last line counts.
#
#   test/e2e/browser.sh                                          in front of the embedded store
#   test/e2e/browser.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#   … --own-cors                                                 with `listen.cors`, not with rules of the bucket
#
# CHROMIUM names the browser. The SDK is bundled for it by esbuild, which npx fetches (its version: ESBUILD). Skipped, with the reason,
# where one of them is missing. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
CHROMIUM=${CHROMIUM:-/usr/bin/chromium} ESBUILD=${ESBUILD:-0.28.2}
skip() { echo "skipped: $1"; echo '0 passed, 0 failed'; exit 0; }
command -v "$CHROMIUM" >/dev/null 2>&1 || skip "$CHROMIUM is not installed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npx --yes "esbuild@$ESBUILD" --version >/dev/null 2>&1 || skip "npx cannot get esbuild@$ESBUILD"
npx --yes "esbuild@$ESBUILD" "$here/browser-page.ts" --bundle --format=esm --platform=browser --log-level=warning "--outfile=$work/page.js" || exit 1
node "$here/browser.ts" "$work/page.js" "$CHROMIUM" "$@"
