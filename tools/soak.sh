#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/soak.sh [--pods N] [--nodes N] [--minutes M] [--json FILE]: one controller with 10,000 pods on simulated nodes; no development cloud is needed.
set -e
cd "$(dirname "$0")/.."
bin="$(tools/venv.sh)/bin"
python3 -m devcloud fetch
exec "$bin/python" -m tests.soak "$@"
