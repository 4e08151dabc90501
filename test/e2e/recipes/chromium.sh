#!/usr/bin/env bash
# A page in headless Chromium, of another origin than the gateway: presigned PUT and GET, a signed form, the SDK's Upload in parts; everything read back by the page
# and compared by SHA-256. With --own-cors the gateway has `listen.cors`; without, the bucket's own rules count, or what the store answers by itself.
#
# CHROMIUM names the browser. The SDK is bundled for it by esbuild, which npx fetches (its version: ESBUILD).
. "$(dirname "$0")/rig.sh" "$@"
CHROMIUM=${CHROMIUM:-chromium} ESBUILD=${ESBUILD:-0.28.2}
package "$CHROMIUM" chromium
package certutil libnss3-tools
marker= # what the page writes is random
(cd "$e2e" && npx --yes "esbuild@$ESBUILD" browser-page.ts --bundle --format=esm --platform=browser --log-level=warning "--outfile=$work/page.js") >install.log 2>&1 || { tail -n 3 install.log >&2; unavailable "npx esbuild@$ESBUILD failed"; }
trusted() { mkdir -p "$work/.pki/nssdb" && certutil -d "sql:$work/.pki/nssdb" -N --empty-password && certutil -d "sql:$work/.pki/nssdb" -A -n 'recipe authority' -t C,, -i "$ca"; }
page() { NODE_EXTRA_CA_CERTS=$ca node "$e2e/browser.ts" "$work/page.js" "$CHROMIUM" "$said" "$bucket" | tee "$work/page.log"; }
round() { step page page; grep -hE '^CORS|ok$' "$work/page.log" | sed 's/^/    | /'; }
trusted >install.log 2>&1 || { tail -n 3 install.log >&2; unavailable 'certutil made no database'; }
rounds round
row 'Page in Chromium' "$("$CHROMIUM" --version 2>/dev/null | grep -oE '[0-9.]+' | head -n 1), SDK for JavaScript $(node -p 'require(process.argv[1]).version' "$e2e/../../node_modules/@aws-sdk/client-s3/package.json")" 'presigned PUT and GET, a signed form, `Upload` of 11 MB in parts, from another origin; every byte compared by the page' '[CORS rules](BROWSERS.md) of the bucket or `listen.cors`, which expose `ETag`'
