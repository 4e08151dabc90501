#!/usr/bin/env bash
# The real S3 Encryption Clients of Java 4, Java 1, Python, Go and Hadoop's S3A: writes the vectors of test/s3ec/vectors anew.
#
#   test/e2e/s3ec.sh vectors FOLDER [CLIENT…]
#
# Builds the clients in S3EC_CACHE (default ~/.cache/sealgate-s3ec), which needs java, javac and mvn, python3 with venv, and go. A client whose
# tools are not there is skipped. They read and write by test/e2e/s3ec/clients.ts.
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
echo "usage: $0 vectors FOLDER [CLIENT…]" >&2
exit 64
