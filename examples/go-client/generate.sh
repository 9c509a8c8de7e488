#!/usr/bin/env bash
# Makes what the Go code needs of protos/: the packages under gen/, and a copy of the retry policy.
# Needs buf, on the PATH or in the repository's .venv, where scripts/test puts it; go.mod pins the plugins.
set -euo pipefail
cd "$(dirname "$0")"
PATH="$PATH:$PWD/../../.venv/bin"
command -v buf >/dev/null || { echo "buf is missing: pip install buf-bin, or see https://buf.build/docs/cli" >&2; exit 1; }

rm -rf gen
buf generate ../../protos
cp ../../protos/doubletext/v1/service_config.json internal/connect/
