#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/bench.sh [NAME …] [--quick] [--json FILE]: the figures of docs/benchmarks.md, on the development cloud.
set -e
cd "$(dirname "$0")/.."
bin="$(tools/venv.sh)/bin"
python3 -m devcloud up --no-demo
exec "$bin/python" -m tests.bench "$@"
