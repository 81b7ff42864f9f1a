#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes etc/kuryr.conf.sample from the options in the code.
set -e
cd "$(dirname "$0")/.."
generator="$(dirname "$(command -v "${PYTHON:-python3}")")/oslo-config-generator"
[ -x "$generator" ] || generator=oslo-config-generator
"$generator" --config-file etc/oslo-config-generator/kuryr.conf
