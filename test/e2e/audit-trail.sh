#!/usr/bin/env bash
# A gateway of two processes with a chained audit trail, behind HAProxy (PROXY protocol 1 and 2), with rsyslog as a sink that must be there. Under load the
# file is moved away three times and one process is killed. The trail must verify, by the command and by the verifier in Python, against log and sink, and
# rsyslog must have every line of the file. Then nginx in front, once and twice, and clients that bring addresses of their own. The last line counts.
#
#   test/e2e/audit-trail.sh
#
# Needs haproxy, rsyslogd, nginx, python3 and curl; everything listens on 127.0.0.0/8 and is stopped at the end. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d) passed=0 failed=0 pids=()
export PATH=$PATH:/usr/sbin
for program in haproxy rsyslogd nginx python3 curl; do command -v "$program" >/dev/null 2>&1 || { echo "not installed: $program" >&2; exit 69; }; done
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
step() { if eval "$2"; then passed=$((passed + 1)); echo "ok      $1"; else failed=$((failed + 1)); echo "FAILED  $1"; fi; }
until_in() { for _ in $(seq 300); do grep -q "$1" "$2" 2>/dev/null && return; sleep 0.1; done; echo "waited in vain for $1" >&2; return 1; }
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
sealgate() { node --max-semi-space-size=8 "$root/src/main.ts" "$@"; }
# Not through the function above: signals are for the process itself.
serve() { node --max-semi-space-size=8 "$root/src/main.ts" serve --config sealgate.yaml >"$1" 2>&1 & serve=$!; pids+=("$serve"); }
port=$(free_port) admin=$(free_port) syslog=$(free_port) v1=$(free_port) v2=$(free_port) once=$(free_port) twice=$(free_port)
cd "$work" || exit 1

node "$here/audit-load.ts" store >store.json & pids+=($!)
until_in endpoint store.json || exit 1
sealgate keys create --keyring keyring.json --name main >/dev/null 2>&1
cat >rsyslog.conf <<X
global(workDirectory="$work" maxMessageSize="256k")
module(load="imtcp")
input(type="imtcp" port="$syslog" address="127.0.0.1")
template(name="raw" type="string" string="%msg%\n")
template(name="meta" type="string" string="%pri% %app-name% %msgid% %protocol-version%\n")
action(type="omfile" file="$work/syslog.log" template="raw")
action(type="omfile" file="$work/meta.log" template="meta")
X
rsyslogd -n -f rsyslog.conf -i "$work/rsyslog.pid" 2>/dev/null & pids+=($!)
cat >haproxy.cfg <<X
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen v1
  bind 127.0.0.1:$v1
  server s 127.0.0.1:$port send-proxy
listen v2
  bind 127.0.0.1:$v2
  server s 127.0.0.1:$port send-proxy-v2 check check-send-proxy inter 500
X
configuration() {
  node -e 'const [store, port, admin, from, more] = process.argv.slice(1); console.log(JSON.stringify({
    listen: { port: Number(port), trustedProxies: ["127.0.0.1", "127.0.0.9"], clientAddress: from }, admin: { port: Number(admin) }, upstream: JSON.parse(store),
    clients: [{ accessKeyId: "client", secretAccessKey: "secretsecret" }], keys: { main: { type: "local", keyring: "./keyring.json" } }, buckets: { "*": {} },
    log: { format: "json" }, ...JSON.parse(more) }))' "$(cat store.json)" "$port" "$admin" "$1" "$2"
}
configuration proxy-protocol "{\"workers\":2,\"audit\":{\"file\":\"./audit.jsonl\",\"key\":\"main\",\"checkpointSeconds\":2,\"sinks\":[{\"url\":\"tcp://127.0.0.1:$syslog\",\"whenDown\":\"refuse\"}]}}" >sealgate.yaml
serve serve.log
until_in 'workers listening' serve.log || exit 1
haproxy -f haproxy.cfg >haproxy.log 2>&1 & pids+=($!)
node "$here/audit-load.ts" load "http://127.0.0.1:$v1" "http://127.0.0.1:$v2" >load.log 2>&1 & load=$!; pids+=($load)
rotate() { mv audit.jsonl "audit.jsonl.$1"; kill -HUP "$serve"; sleep 4; }
sleep 4; rotate 3
kill -9 "$(pgrep -P "$serve" | head -1)"; sleep 5; rotate 2
step 'a command writes its run into the same file' 'sealgate rewrap --config sealgate.yaml --bucket bucket >/dev/null'
rotate 1
kill -TERM $load; wait $load
echo "        $(tail -1 load.log)"
step 'ready, with its sink' 'curl -s "http://127.0.0.1:$admin/readyz" | grep -q "\"audit sink tcp://127.0.0.1:$syslog\":\"ok\""'
kill -TERM $serve; wait $serve
step 'an orderly stop' "[ $? = 0 ]"
files='audit.jsonl.3 audit.jsonl.2 audit.jsonl.1 audit.jsonl'
count=$(cat $files | wc -l)
for _ in $(seq 100); do [ "$(cat syslog.log 2>/dev/null | wc -l)" -ge "$count" ] && break; sleep 0.1; done
verify() { sealgate audit verify --config sealgate.yaml $(printf -- '--file %s ' $files) --against serve.log --against syslog.log "$@"; }
step 'the trail of four files verifies, against log and rsyslog' 'verify'
step 'of four runs one has no end: the process that was killed' 'verify --json | node -p "JSON.parse(require(\"fs\").readFileSync(0)).runs.map((r) => r.end).sort().join()" | grep -qx open,stop,stop,stop'
step 'in Python as well' "python3 -B '$root/docs/break-glass/sealgate_audit.py' --keyring keyring.json --against serve.log --against syslog.log $files >/dev/null"
sed 's/^ //' syslog.log | sort >received; cat $files | sort >written
step "rsyslog has each of $count lines, as RFC 5424 with facility 13" 'cmp -s received written && [ "$(sort -u meta.log)" = "110 sealgate audit 1" ]'
sed -i '5s/"operation":"[A-Za-z]*"/"operation":"None"/; 5s/"at":/"at":1/' audit.jsonl.2
step 'and not when one line is another' '! verify >/dev/null'
addresses() { grep -ho '"sourceAddress":"[^"]*"' "$@" | sort -u | tr -d '\n'; }
step 'the clients of HAProxy have their own addresses' '[ "$(addresses $files)" = "\"sourceAddress\":\"127.0.0.77\"\"sourceAddress\":\"127.0.0.78\"" ]'

cat >nginx.conf <<X
pid $work/nginx.pid;
error_log $work/nginx.err;
daemon off;
events {}
http {
  access_log off;
  proxy_set_header Host \$http_host;
  proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
  server { listen 127.0.0.1:$once; location / { proxy_pass http://127.0.0.1:$port; } }
  server { listen 127.0.0.1:$twice; location / { proxy_pass http://127.0.0.1:$once; proxy_bind 127.0.0.9; } }
}
X
nginx -c "$work/nginx.conf" & pids+=($!)
configuration x-forwarded-for '{}' >sealgate.yaml
serve nginx.log
until_in '"listening"' nginx.log || exit 1
for header in 'X-None: 1' 'X-Forwarded-For: 6.6.6.6' 'X-Forwarded-For: 127.0.0.9, 127.0.0.1' 'Forwarded: for=6.6.6.6'; do
  curl -s -o /dev/null --interface 127.0.0.77 -H "$header" "http://127.0.0.1:$once/once"
  curl -s -o /dev/null --interface 127.0.0.78 -H "$header" "http://127.0.0.1:$twice/twice"
  curl -s -o /dev/null --interface 127.0.0.79 -H "$header" "http://127.0.0.1:$port/direct"
done
kill -TERM $serve; wait $serve
# Without the health checks of HAProxy, which now speak to a listener that expects no PROXY header.
grep '"method":"GET"' nginx.log >requests
step 'behind nginx once, twice and not, whatever clients say of themselves' '[ "$(wc -l <requests)" = 12 ] && [ "$(addresses requests)" = "\"sourceAddress\":\"127.0.0.77\"\"sourceAddress\":\"127.0.0.78\"\"sourceAddress\":\"127.0.0.79\"" ]'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
