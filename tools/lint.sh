#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Format, lint, types and layers: what pre-commit and CI check.
set -e
cd "$(dirname "$0")/.."
bin="$(tools/venv.sh)/bin"
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
"$bin/lint-imports"
PYTHON="$bin/python3" tools/generate_config_file_samples.sh
git diff --exit-code -- etc/kuryr.conf.sample
