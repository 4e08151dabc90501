#!/usr/bin/env bash
# The real S3 Encryption Clients of Java 4, Java 1, Python, Go and Hadoop's S3A, in front of a store and behind the gateway: what each writes is
# read through the gateway by boto3, aws and curl, and each reads what the gateway writes. One line for each mode; the last line counts.
#
#   test/e2e/s3ec.sh [--clients NAME,…] [--modes PATTERN] [--sizes small]          in front of the embedded store
#   test/e2e/s3ec.sh … --store http://HOST:PORT --access-key ID --secret-key SECRET
#   test/e2e/s3ec.sh vectors FOLDER [CLIENT…]                                      only writes the vectors of test/s3ec/vectors anew
#
# Builds the clients in S3EC_CACHE (default ~/.cache/sealgate-s3ec), which needs java, javac and mvn, python3 with venv, and go. A client whose
# tools are not there is skipped. Without --sizes small also objects around 64 MiB and of 200 MiB. The readers are aws, curl and the Python in
# PYTHON (default: the one that was built), with boto3. Ends with 1 when a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
export S3EC_CACHE=${S3EC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealgate-s3ec}
mkdir -p "$S3EC_CACHE"
have() { for program in "$@"; do command -v "$program" >/dev/null 2>&1 || { echo "skipped, not installed: $program"; return 1; }; done; }
built() { [ -e "$1" ] && [ ! "$2" -nt "$1" ]; }

if ! built "$S3EC_CACHE/python/bin/python" "$0" && have python3; then
  python3 -m venv "$S3EC_CACHE/python" && "$S3EC_CACHE/python/bin/pip" install -q amazon-s3-encryption-client-python==4.0.0 && touch "$S3EC_CACHE/python/bin/python"
fi
for client in java4 java1 hadoop; do
  source=$here/s3ec/$client target=$S3EC_CACHE/$client
  if ! built "$target/out/Client.class" "$source/Client.java" && have java javac mvn; then
    mkdir -p "$target/out"
    mvn -q -B -f "$source/pom.xml" dependency:copy-dependencies -DoutputDirectory="$target/lib" && javac -encoding UTF-8 -cp "$target/lib/*" -d "$target/out" "$source/Client.java"
  fi
done
if ! built "$S3EC_CACHE/go/client" "$here/s3ec/go/main.go" && have go; then
  mkdir -p "$S3EC_CACHE/go"
  (cd "$here/s3ec/go" && go build -o "$S3EC_CACHE/go/client" .)
fi

if [ "${1:-}" = vectors ]; then
  shift
  exec node "$here/s3ec/vectors.ts" "$@"
fi
exec node "$here/s3ec/run.ts" "$@"
