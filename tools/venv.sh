#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes (once for each state of the locked requirements) the virtual environment for tests, and prints its directory.
set -e
cd "$(dirname "$0")/.."
cache="${KURYR_DEVCLOUD_CACHE:-/var/cache/kuryr-devcloud}"
hash=$(cat requirements/test.txt setup.cfg plugins-example/setup.cfg | sha256sum | cut -c1-12)
# An editable install points into one checkout, so each checkout has its own.
place=$(pwd | sha256sum | cut -c1-8)
venv="$cache/venv-test-$hash-$place"
if [ ! -f "$venv/.complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    {
        "$venv/bin/pip" install --quiet --require-hashes -r requirements/test.txt
        "$venv/bin/pip" install --quiet 'setuptools==80.9.0'
        "$venv/bin/pip" install --quiet --no-deps --no-build-isolation -e .
        "$venv/bin/pip" install --quiet --no-deps --no-build-isolation -e plugins-example
    } >&2
    touch "$venv/.complete"
fi
echo "$venv"
