#!/bin/sh
# Opens every test vector with docs/break-glass/sealgate_open.py, and every stream with Tink where it is installed.
# Needs python3 with `cryptography` (PYTHON names another interpreter); optional: `tink`.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
PYTHONDONTWRITEBYTECODE=1 "$python" test/e2e/break_glass.py docs/break-glass test/vectors test/vectors/0.1.0 test/vectors/backups
