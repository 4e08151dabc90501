# Sourced by the recipes of this folder. A recipe installs one program, runs it through the gateway over TLS, reads back what it wrote, compares, and
# looks at what the store holds. One line per step; the last line is the program's row for the table in docs/RECIPES.md.
#
#   test/e2e/recipes/NAME.sh                                     in front of the embedded store
#   test/e2e/recipes/NAME.sh --store http://HOST:PORT --access-key ID --secret-key SECRET
#   MINIO=minio test/e2e/stores/minio.sh test/e2e/recipes/NAME.sh
#
# Programs are installed below RECIPES_CACHE (default ~/.cache/sealgate-recipes, for root /var/cache/sealgate-recipes: other users run them too), Debian's
# packages by apt-get when this runs as root. PYTHON (default /usr/bin/python3) is the Python that PyPI's packages get a virtual environment of. Exit status: 0;
# 1 when a step failed; 69 when the program cannot be had. ETAGS chooses the ETag modes of the bucket (default: md5 opaque), KEEP=1 leaves the folder of the run.
#
# A recipe calls, in this order:
#   package, python_packages, go_program, go_module, maven_packages       install what it needs
#   rounds FUNCTION                            once for each ETag mode: makes a new $bucket, calls FUNCTION, inspects the stored objects
#     step NAME COMMAND…                         in FUNCTION: runs a command or function in a subshell under set -e, and prints how it ended; after one that
#                                                failed the rest of the round is left out
#     step NAME python_step FUNCTION             a function of the recipe's own NAME.py, with ENDPOINT, CA, BUCKET, MODE, WORK and MARKER in its environment
#   row PROGRAM VERSION SHOWN SETTINGS         prints the row, and ends
# and has these variables: $endpoint (https) and $plain (http) of the gateway, $port of $endpoint, $ca its certificate, $id and $secret, $bucket, $mode
# (md5 or opaque), $work (an empty folder, gone at the end), $marker (a text that is to be in the data that the program stores, neither compressed nor encrypted
# by it: it must be found through the gateway, and never in the store). A program that always encrypts or compresses sets marker= before `rounds`.
set -u
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
recipe=$(basename "$0" .sh) home=$HOME
PYTHON=${PYTHON:-/usr/bin/python3}
cache=${RECIPES_CACHE:-$([ "$(id -u)" = 0 ] && echo /var/cache || echo "${XDG_CACHE_HOME:-$HOME/.cache}")/sealgate-recipes}
mkdir -p "$cache/bin"
work=$(mktemp -d /tmp/sealgate-recipe-XXXXXX) passed=0 failed=0 broken= mode= objects=0 bytes=0 milliseconds=0 marker=plaintext-marker-b7d1f05c
chmod 755 "$work" # for programs that run as another user

unavailable() { echo "$recipe: $1" >&2; exit 69; }
# package PROGRAM PACKAGE…: Debian's packages, unless the program is there.
package() {
  command -v "$1" >/dev/null 2>&1 && return
  local program=$1; shift
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || unavailable "not installed: $program (apt-get install $*)"
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@" >"$work/install.log" 2>&1 || { tail -n 3 "$work/install.log" >&2; unavailable "apt-get install $* failed"; }
}
# python_packages PACKAGE==VERSION…: a virtual environment of the recipe's own, whose Python is $python and whose programs are in $python_bin.
python_packages() {
  local venv=$cache/python-$recipe
  python=$venv/bin/python python_bin=$venv/bin
  [ "$(cat "$venv/packages" 2>/dev/null)" = "$*" ] && return
  rm -rf "$venv"
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || package ensurepip python3-venv
  { "$PYTHON" -m venv "$venv" && HOME=$home "$python" -m pip install -q --disable-pip-version-check --no-cache-dir "$@"; } >"$work/install.log" 2>&1 || { tail -n 3 "$work/install.log" >&2; unavailable "pip install $* failed"; }
  echo "$*" >"$venv/packages"
}
# go_program PROGRAM MODULE@VERSION [OPTION…]: from the Go module proxy into $cache/bin/PROGRAM; with options of `go install`.
go_program() {
  local program=$cache/bin/$1 module=$2; shift 2
  [ "$(cat "$program.version" 2>/dev/null)" = "$module $*" ] && return
  command -v go >/dev/null || unavailable 'not installed: go'
  GOBIN=$cache/bin go install "$@" "$module" >"$work/install.log" 2>&1 || { tail -n 5 "$work/install.log" >&2; unavailable "go install $module failed"; }
  echo "$module $*" >"$program.version"
}
# maven_packages GROUP:ARTIFACT:VERSION…: these, without what they need in turn, into $jars, a folder of the recipe's own.
maven_packages() {
  local pom=$work/pom.xml dependency group artifact number
  jars=$cache/jars-$recipe
  [ "$(cat "$jars/packages" 2>/dev/null)" = "$*" ] && return
  command -v mvn >/dev/null || unavailable 'not installed: mvn'
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>recipe</groupId><artifactId>recipe</artifactId><version>1</version><dependencies>'
    for dependency in "$@"; do
      IFS=: read -r group artifact number <<<"$dependency"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$number</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
    done
    echo '</dependencies></project>'
  } >"$pom"
  rm -rf "$jars"
  mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$jars" >"$work/install.log" 2>&1 || { tail -n 3 "$work/install.log" | cut -c1-300 >&2; unavailable "mvn dependency:copy-dependencies for $* failed"; }
  echo "$*" >"$jars/packages"
}
# go_module PROGRAM MODULE@VERSION FOLDER [FILE.go]: of a module that `go install` refuses, because it has replace directives: built in a copy of it. FILE.go is a
# program of the recipe's own that needs the module's versions of others: it becomes FOLDER of the copy.
go_module() {
  local program=$cache/bin/$1 module=$2 folder=$3 own=${4:+$recipes/$4} from of
  of="$module $folder ${own:+$(sha256sum <"$own")}"
  [ "$(cat "$program.version" 2>/dev/null)" = "$of" ] && return
  command -v go >/dev/null || unavailable 'not installed: go'
  from=$(go mod download -json "$module" 2>"$work/install.log" | node -p 'JSON.parse(fs.readFileSync(0, "utf8")).Dir') || unavailable "go mod download $module failed"
  cp -r "$from" "$work/module"; chmod -R u+w "$work/module"
  [ -z "$own" ] || { mkdir "$work/module/$folder" && cp "$own" "$work/module/$folder/main.go"; }
  (cd "$work/module" && CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags '-s -w' -o "$program" "./$folder") >"$work/install.log" 2>&1 || { tail -n 5 "$work/install.log" >&2; unavailable "go build of $module failed"; }
  rm -rf "$work/module"
  echo "$of" >"$program.version"
}
# start LOG COMMAND…: a program in the background, in $pid; stopped at the end. answers URL: waits up to a minute for any HTTP answer.
start() { local log=$1; shift; "$@" >"$log" 2>&1 </dev/null & pid=$!; at_end+=("kill_quietly $pid"); }
kill_quietly() { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null; }
answers() { for _ in $(seq 120); do curl -s -o /dev/null --max-time 2 "$1" && return; sleep 0.5; done; return 1; }
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }

# An authority of its own: some TLS libraries refuse a certificate that is its own authority.
ca=$work/ca.pem
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=recipe authority' -keyout "$work/ca-key.pem" -out "$ca" &&
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -CA "$ca" -CAkey "$work/ca-key.pem" \
      -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/gateway-key.pem" -out "$work/gateway-cert.pem"
}
authority 2>"$work/openssl.log" || { cat "$work/openssl.log" >&2; unavailable 'openssl made no certificate'; }
coproc RIG { exec node "$e2e/rig.ts" "$@" --certificate "$work/gateway-cert.pem"; }
rig_in=${RIG[1]} rig_pid=$RIG_PID at_end=()
finish() {
  for command in "${at_end[@]}"; do $command; done # what a recipe has started, it stops
  exec {rig_in}>&-; wait "$rig_pid" 2>/dev/null
  [ -n "${KEEP:-}" ] && echo "kept: $work" || rm -rf "$work"
}
trap finish EXIT
IFS= read -r said <&"${RIG[0]}" || { echo 'the gateway did not start' >&2; exit 1; }
say() { node -p 'JSON.parse(process.argv[1])[process.argv[2]]' "$said" "$1"; }
id=$(say accessKeyId) secret=$(say secretAccessKey) endpoint=$(say https) plain=$(say http) port=
port=${endpoint##*:}
cd "$work" || exit
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE
export AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$work/none AWS_SHARED_CREDENTIALS_FILE=$work/none

# Not to be called as a condition, also not by a function that is one (&&, ||, if): there set -e does nothing, and a step would pass whose middle has failed.
step() {
  [ -z "$broken" ] || return 0
  local name=$1 log=$work/log result began took; shift
  ( set -e; false; true ); [ $? = 1 ] || { echo "step $name was called as a condition" >&2; exit 70; }
  began=$(date +%s%N)
  ( set -e; HOME=$work; "$@" ) >"$log" 2>&1; result=$?
  took=$((($(date +%s%N) - began) / 1000000))
  milliseconds=$((milliseconds + took))
  if [ $result = 0 ]; then printf '%-12s %-6s %-22s ok   %6d ms\n' "$recipe" "$mode" "$name" $took; passed=$((passed + 1))
  else printf '%-12s %-6s %-22s FAIL %6d ms\n' "$recipe" "$mode" "$name" $took; failed=$((failed + 1)) broken=1; tail -n "${LINES_OF_LOG:-8}" "$log" | cut -c1-300 | sed 's/^/    | /'; fi
}
python_step() { "$python" -P "$recipes/$recipe.py" "$1"; } # -P: the folder is not searched for modules, NAME.py may be called like one
new_bucket() { # made by the gateway's own SDK: not every program can
  cd "$e2e" && node -e "const{S3Client,CreateBucketCommand:C}=require('@aws-sdk/client-s3');new S3Client({endpoint:process.argv[1],region:'us-east-1',forcePathStyle:true}).send(new C({Bucket:process.argv[2]}))" "$plain" "$bucket"
}
inspect() { node "$e2e/stored.ts" "$said" "$bucket" ${marker:+"$marker"}; }
rounds() {
  for mode in ${ETAGS:-md5 opaque}; do
    bucket=$mode-$recipe-$RANDOM$RANDOM broken=
    export ENDPOINT=$endpoint PLAIN=$plain CA=$ca BUCKET=$bucket MODE=$mode WORK=$work MARKER=$marker
    step bucket new_bucket
    "$@"
    step stored inspect
    [ -z "$broken" ] || continue
    sed 's/^/    | /' "$work/log"
    read -r more_objects _ more_bytes _ <"$work/log"
    objects=$((objects + more_objects)) bytes=$((bytes + more_bytes))
  done
}
row() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ] || return
  local modes=${ETAGS:-md5 opaque}
  printf '| [%s](../test/e2e/recipes/%s.sh) | %s | %s | %s, %s | %s | %d steps, %d objects, %d MiB, %d s | %s |\n' "$1" "$recipe" "$2" "$(date -u +%F)" "${STORE_NAME:-embedded store}" "${modes// / and }" "$3" $passed $objects $((bytes >> 20)) $((milliseconds / 1000)) "$4"
}
