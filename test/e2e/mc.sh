#!/usr/bin/env bash
# Every command of MinIO's client `mc` that is not its administration, through the gateway and against the store itself. One line per step; a step
# that the store itself passes and the gateway does not needs a reason in this file. The last line counts.
#
#   test/e2e/stores/minio.sh test/e2e/mc.sh
#   test/e2e/mc.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#
# Program: MC (default mc), curl. ONLY="stat tag" chooses steps by their first word. Not tried, because they go to MinIO's administration interface or
# to no store: admin, batch, idp, license, quota, support, update, `ilm tier`, `replicate add`. Ends with 1 when a step has neither passed nor a reason.
set -u
here=$(cd "$(dirname "$0")" && pwd)
MC=${MC:-mc} ONLY=${ONLY:-}
command -v "$MC" >/dev/null 2>&1 || { echo "not installed: $MC" >&2; exit 69; }
work=$(mktemp -d)
coproc RIG { exec node "$here/rig.ts" --as-aws --state "sealgate-mc-$RANDOM" "$@"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID
finish() { exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo 'the gateway did not start' >&2; exit 1; }
read -r g_endpoint g_tls g_id g_secret s_endpoint s_id s_secret <<<"$(node -p 'const r = JSON.parse(process.argv[1]); [r.http, r.https, r.accessKeyId, r.secretAccessKey, r.store.endpoint, r.store.accessKeyId, r.store.secretAccessKey].join(" ")' "$said")"
export HOME=$work
head -c 100000 /dev/urandom >"$work/small"; head -c 17000000 /dev/urandom >"$work/large"; seq 1 40 >"$work/lines"; printf 'id,name\n1,a\n2,b\n' >"$work/table.csv"
mkdir -p "$work/tree/sub"; cp "$work/lines" "$work/tree/sub/a b+c"; echo x >"$work/tree/x"

declare -A reason=(
  ['sql on CSV']='the store would read sealed bytes: 501'
  ['watch']='MinIO'"'"'s own interface: 501'
  ['ready']='MinIO'"'"'s own interface; the gateway has /readyz at its administration port'
)

m() { "$MC" --config-dir "$work/mc" --quiet --no-color "$@"; }
same() { cmp "$work/$1" "$work/got"; }
has() { grep -q -- "$1" "$work/out"; }
# shows PATTERN COMMAND…: the command succeeds and prints the pattern.
shows() { local pattern=$1; shift; "$@" >"$work/out" 2>&1 || { cat "$work/out"; return 1; }; has "$pattern" || { cat "$work/out"; return 1; }; }
fails() { ! "$@"; }

passed=0 stored=0 total=0 faults=0
# step NAME FUNCTION…: for the store and for the gateway; $b is a bucket, $v one with versions, $l one with locks.
step() {
  local name=$1 side result=(); shift
  [ -z "$ONLY" ] || [[ " $ONLY setup: " == *" ${name%% *} "* ]] || return 0
  for side in s g; do
    b="$side/mc-$run-$side" v="$side/mc-$run-$side-v" l="$side/mc-$run-$side-l" B="mc-$run-$side"
    if [ $side = s ]; then endpoint=$s_endpoint; else endpoint=$g_endpoint; fi
    if ( set -e; "$@" ) >"$work/log-$side" 2>&1 </dev/null; then result+=(ok); else result+=(FAIL); fi
  done
  total=$((total + 1))
  local note=
  [ "${result[0]}" = ok ] && stored=$((stored + 1))
  if [ "${result[1]}" = ok ]; then passed=$((passed + 1)); [ "${result[0]}" = ok ] || note='more than the store'
  elif [ "${result[0]}" != ok ]; then note="also the store: $(tail -n 1 "$work/log-s" | cut -c1-110)"
  elif [ -n "${reason[$name]:-}" ]; then note=${reason[$name]}
  else faults=$((faults + 1)); note="NO REASON: $(tail -n 2 "$work/log-g" | tr '\n' ' ' | cut -c1-200)"; fi
  printf '%-34s store %-5s gateway %-5s %s\n' "$name" "${result[0]}" "${result[1]}" "$note"
}
run=$RANDOM$RANDOM
m alias set s "$s_endpoint" "$s_id" "$s_secret" --api S3v4 --path on >/dev/null
m alias set tls-s "${s_endpoint/http:/https:}" "$s_id" "$s_secret" --api S3v4 --path on >/dev/null 2>&1
m alias set tls-g "$g_tls" "$g_id" "$g_secret" --api S3v4 --path on --insecure >/dev/null
m alias set g "$g_endpoint" "$g_id" "$g_secret" --api S3v4 --path on >/dev/null

listed_alias() { shows "$endpoint" m alias ls "${b%%/*}"; }
makes() { m mb "$b" && shows "$B" m ls "${b%%/*}"; }
makes_versions() { m mb --with-versioning "$v" && shows enabled m version info "$v"; }
makes_locked() { m mb --with-lock "$l"; }
makes_again() { fails m mb "$b" && m mb --ignore-existing "$b"; }
puts() { m put --part-size 6MiB "$work/large" "$b/large"; }
puts_if() { m put --if-not-exists "$work/small" "$b/once" && fails m put --if-not-exists "$work/small" "$b/once"; }
copies_up() { m cp "$work/small" "$b/small" && m cp "$work/lines" "$b/lines" && m cp "$work/table.csv" "$b/table.csv"; }
copies_attr() { m cp --attr 'Cache-Control=max-age=90;key=value' --tags 'a=b' "$work/small" "$b/attr" && shows 'max-age=90' m stat "$b/attr" && has Key; }
copies_class() { m cp --storage-class REDUCED_REDUNDANCY "$work/small" "$b/class" && shows REDUCED m ls "$b/class"; }
copies_checksum() { m cp --checksum CRC32C "$work/large" "$b/sum" && m cat "$b/sum" >"$work/got" && same large; }
copies_md5() { m cp --md5 "$work/small" "$b/md5" && m cat "$b/md5" >"$work/got" && same small; }
copies_whole() { m cp --disable-multipart "$work/large" "$b/whole" && m cat "$b/whole" >"$work/got" && same large; }
copies_tree() { m cp --recursive "$work/tree/" "$b/tree/" && shows 'a b+c' m ls --recursive "$b/tree/"; }
pipes() { m pipe "$b/piped" <"$work/lines" && m cat "$b/piped" >"$work/got" && same lines; }
gets() { m get "$b/large" "$work/got" && same large; }
downloads() { m cp "$b/large" "$work/got" && same large; }
downloads_tree() { rm -rf "$work/down"; m cp --recursive "$b/tree/" "$work/down/" && diff -r "$work/tree" "$work/down"; }
cats() { m cat "$b/large" >"$work/got" && same large; }
cats_offset() { m cat --offset 16999990 "$b/large" >"$work/got" && cmp <(tail -c 10 "$work/large") "$work/got"; }
cats_tail() { m cat --tail 10 "$b/large" >"$work/got" && cmp <(tail -c 10 "$work/large") "$work/got"; }
cats_part() { m cat --part-number 1 "$b/large" >"$work/got" && cmp <(head -c 6291456 "$work/large") "$work/got"; }
heads() { m head -n 3 "$b/lines" >"$work/got" && cmp <(head -n 3 "$work/lines") "$work/got"; }
lists() { m ls "$b" >"$work/out" && has '16MiB.*large' && has '98KiB.*small'; }
lists_json() { m ls --json "$b/small" >"$work/out" && has '"size": *100000' && has "$(md5sum <"$work/small" | cut -c1-32)"; }
lists_recursive() { [ "$(m ls --recursive "$b/tree" | wc -l)" = 2 ]; }
lists_incomplete() { m ls --incomplete "$b"; }
trees() { shows 'a b+c' m tree --files "$b/tree"; }
dus() { shows '2 objects' m du "$b/tree"; }
dus_versions() { m du --versions "$v"; }
finds() { shows 'tree/x' m find "$b" --name x && shows large m find "$b" --larger 10MB; }
finds_tags() { shows attr m find "$b" --tags 'a=b'; }
finds_metadata() { shows attr m find "$b" --metadata 'key=value'; }
finds_exec() { shows 'small' m find "$b" --name small --exec 'echo {}'; }
stats() { m stat "$b/small" >"$work/out" && has '98 KiB' && has "$(md5sum <"$work/small" | cut -c1-32)"; }
stats_bucket() { shows "$B" m stat "$b"; }
stats_recursive() { [ "$(m stat --recursive "$b/tree" | grep -c '^Name')" = 2 ]; }
copies() { m cp "$b/small" "$b/carried" && m cat "$b/carried" >"$work/got" && same small; }
copies_large() { m cp "$b/large" "$b/copied-large" && m cat "$b/copied-large" >"$work/got" && same large; }
moves() { m mv "$b/carried" "$b/moved" && m cat "$b/moved" >"$work/got" && same small && fails m stat "$b/carried"; }
mirrors_up() { m mirror "$work/tree" "$b/mirror" && m mirror "$work/tree" "$b/mirror" >"$work/out" && ! has mirror/x; }
mirrors_down() { rm -rf "$work/back"; m mirror "$b/mirror" "$work/back" && diff -r "$work/tree" "$work/back"; }
mirrors_across() { m mirror "$b/mirror" "$b/mirror2" && [ -z "$(m diff "$b/mirror" "$b/mirror2")" ]; }
mirrors_removing() { m rm "$b/mirror/x" && m mirror --remove --overwrite "$b/mirror" "$b/mirror2" && fails m stat "$b/mirror2/x"; }
diffs() { m diff "$b/tree" "$b/mirror" >"$work/out" && has x; }
shares_download() { m share download --json "$b/small" >"$work/out" && curl -fsS -o "$work/got" "$(node -p 'JSON.parse(fs.readFileSync(process.argv[1], "utf8")).share' "$work/out")" && same small; }
shares_upload() {
  m share upload "$b/shared" >"$work/out" && bash -c "$(grep -o 'curl .*' "$work/out" | head -n 1 | sed "s#<FILE>#$work/small#")" && m cat "$b/shared" >"$work/got" && same small
}
shares_list() { m share ls download; }
tags() { m tag set "$b/small" 'k1=v1&k2=v2' && shows v2 m tag list "$b/small" && m tag remove "$b/small" && shows 'No tags' m tag list "$b/small"; }
tags_bucket() { m tag set "$b" 'k=v' && shows v m tag list "$b" && m tag remove "$b"; }
versions() { m version suspend "$v" && m version enable "$v" && shows enabled m version info "$v"; }
versions_kept() { m cp "$work/small" "$v/o" && m cp "$work/lines" "$v/o" && m rm "$v/o" && [ "$(m ls --versions "$v/o" | wc -l)" = 3 ]; }
versions_read() {
  m ls --versions --json "$v/o" >"$work/out"
  id=$(node -e 'const rows = fs.readFileSync(process.argv[1], "utf8").trim().split("\n").map((l) => JSON.parse(l)); console.log(rows.at(-1).versionId)' "$work/out")
  m cat --version-id "$id" "$v/o" >"$work/got" && same small && m cp --version-id "$id" "$v/o" "$v/restored" && m cat "$v/restored" >"$work/got" && same small && m get --version-id "$id" "$v/o" "$work/got" && same small
}
rewinds() { m ls --rewind 1h "$v"; }
undoes() { m undo --force "$v/o" && m cat "$v/o" >"$work/got" && same lines; }
undoes_put() { m cp "$work/small" "$v/u" && m undo --force "$v/u" && fails m stat "$v/u"; }
removes_version() { m ls --versions --json "$v/o" >"$work/out" && id=$(node -e 'console.log(JSON.parse(fs.readFileSync(process.argv[1], "utf8").trim().split("\n").at(-1)).versionId)' "$work/out") && m rm --version-id "$id" "$v/o"; }
holds() { m cp "$work/small" "$l/o" && m legalhold set "$l/o" && shows ON m legalhold info "$l/o" && m legalhold clear "$l/o" && shows OFF m legalhold info "$l/o"; }
retains() { m cp "$work/small" "$l/r" && m retention set GOVERNANCE 1d "$l/r" && shows GOVERNANCE m retention info "$l/r" && m retention clear "$l/r"; }
retains_default() { m retention set --default GOVERNANCE 1d "$l" && shows GOVERNANCE m retention info --default "$l" && m retention clear --default "$l"; }
publics() { m anonymous set download "$b/tree" && shows download m anonymous get "$b/tree" && m anonymous list "$b"; }
publics_read() { curl -fsS -o "$work/got" "$endpoint/$B/tree/x" && cmp "$work/tree/x" "$work/got"; }
publics_json() { m anonymous get-json "$b" >"$work/policy.json" && m anonymous set-json "$work/policy.json" "$b" && m anonymous links "$b/tree"; }
publics_off() { m anonymous set private "$b/tree" && fails curl -fsS "$endpoint/$B/tree/x"; }
cors() { printf '<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>' >"$work/cors.xml"; m cors set "$b" "$work/cors.xml" && shows GET m cors get "$b" && m cors remove "$b"; }
encrypts() { m encrypt set sse-s3 "$b" && shows '[Ss][Ss][Ee]' m encrypt info "$b" && m encrypt clear "$b"; }
sse_s3() { m cp --enc-s3 "$b/" "$work/small" "$b/sse" && m cat "$b/sse" >"$work/got" && same small; }
sse_c() {
  local at="tls-${b%%/*}/$B"
  key="$at/ssec=$(printf 'a key of a client, of 32 bytes ..' | head -c 32 | base64 | tr -d '=')"
  m cp --insecure --enc-c "$key" "$work/small" "$at/ssec" && m cat --insecure --enc-c "$key" "$at/ssec" >"$work/got" && same small && fails m cat --insecure "$at/ssec"
}
events() { m event list "$b"; }
rules() { m ilm rule add --expire-days 30 --prefix old/ "$b" && m ilm rule ls "$b" && m ilm rule export "$b" >"$work/rules.json" && m ilm rule import "$b" <"$work/rules.json" && m ilm rule rm --all --force "$b"; }
rules_size() { m ilm rule add --expire-days 30 --size-gt 1MiB "$b" && shows 1048576 m ilm rule export "$b" && m ilm rule rm --all --force "$b"; }
replicates() { m replicate ls "$b"; }
selects() { shows '1,a' m sql --query 'select * from s3object' --csv-input 'fh=USE' "$b/table.csv"; }
pings() { m ping --count 1 --exit "${b%%/*}"; }
readies() { timeout 20 "$MC" --config-dir "$work/mc" ready "${b%%/*}"; }
measures() { m od if="$work/large" of="$b/od" parts=3 && m od if="$b/od" of="$work/got" && same large; }
watches() { timeout 20 "$MC" --config-dir "$work/mc" watch --json "$b" >"$work/watched" 2>&1 & sleep 6; m cp "$work/small" "$b/watched"; wait; grep -q "$B/watched" "$work/watched" || { cat "$work/watched"; return 1; }; }
removes() { m rm "$b/moved" && fails m stat "$b/moved"; }
removes_stdin() { printf '%s\n' "$b/attr" "$b/class" | m rm --stdin --force && fails m stat "$b/attr"; }
removes_older() { m rm --recursive --force --older-than 0d0h0m1s "$b/mirror2"; }
removes_incomplete() { m rm --incomplete --recursive --force "$b"; }
removes_versions() { m rm --recursive --force --versions "$v" && [ -z "$(m ls --versions "$v")" ]; }
removes_bypass() { m rm --recursive --force --versions --bypass "$l"; }
removes_buckets() { m rb --force "$b" && m rb --force "$v" && m rb --force "$l" && fails m stat "$b"; }

step 'alias ls' listed_alias
step 'setup: mb' makes
step 'setup: mb --with-versioning' makes_versions
step 'setup: mb --with-lock' makes_locked
step 'mb of a bucket that is there' makes_again
step 'setup: put in parts' puts
step 'put --if-not-exists' puts_if
step 'setup: cp' copies_up
step 'cp --attr --tags' copies_attr
step 'cp --storage-class' copies_class
step 'cp --checksum' copies_checksum
step 'cp --md5' copies_md5
step 'cp --disable-multipart' copies_whole
step 'cp --recursive' copies_tree
step 'pipe' pipes
step 'get' gets
step 'cp to a file' downloads
step 'cp --recursive to a folder' downloads_tree
step 'cat' cats
step 'cat --offset' cats_offset
step 'cat --tail' cats_tail
step 'cat --part-number' cats_part
step 'head' heads
step 'ls' lists
step 'ls --json: size and ETag' lists_json
step 'ls --recursive' lists_recursive
step 'ls --incomplete' lists_incomplete
step 'tree' trees
step 'du' dus
step 'find --name --larger' finds
step 'find --tags' finds_tags
step 'find --metadata' finds_metadata
step 'find --exec' finds_exec
step 'stat' stats
step 'stat of a bucket' stats_bucket
step 'stat --recursive' stats_recursive
step 'cp in the store' copies
step 'cp in the store, in parts' copies_large
step 'mv' moves
step 'mirror up, twice' mirrors_up
step 'mirror down' mirrors_down
step 'mirror and diff in the store' mirrors_across
step 'mirror --remove' mirrors_removing
step 'diff' diffs
step 'share download' shares_download
step 'share upload' shares_upload
step 'share ls' shares_list
step 'tag of an object' tags
step 'tag of a bucket' tags_bucket
step 'version' versions
step 'version: ls --versions' versions_kept
step 'version: cat, cp, get' versions_read
step 'version: ls --rewind' rewinds
step 'version: du --versions' dus_versions
step 'undo of a delete' undoes
step 'undo of a put' undoes_put
step 'rm --version-id' removes_version
step 'legalhold' holds
step 'retention' retains
step 'retention --default' retains_default
step 'anonymous set, get, list' publics
step 'anonymous read' publics_read
step 'anonymous set-json, links' publics_json
step 'anonymous set private' publics_off
step 'cors' cors
step 'encrypt' encrypts
step 'cp --enc-s3' sse_s3
step 'cp --enc-c' sse_c
step 'event list' events
step 'ilm rule' rules
step 'ilm rule --size-gt' rules_size
step 'replicate ls' replicates
step 'sql on CSV' selects
step 'ping' pings
step 'ready' readies
step 'od' measures
step 'watch' watches
step 'rm' removes
step 'rm --stdin' removes_stdin
step 'rm --older-than' removes_older
step 'rm --incomplete' removes_incomplete
step 'rm --versions' removes_versions
step 'rm --bypass' removes_bypass
step 'rb --force' removes_buckets
echo "$passed of $total through the gateway, $stored of $total at the store itself; $faults without a reason"
[ "$faults" = 0 ]
