#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/churn.sh [--cloud fake|real] [--minutes N] [--pool noop|neutron] [--seed S] [--logs DIR]
#   pods come and go at random, processes die, calls fail; afterwards every pod has exactly its ports, and Neutron nothing else of ours
set -e
cd "$(dirname "$0")/.."
bin="$(tools/venv.sh)/bin"
case " $* " in
*" --cloud real "* | *" --cloud=real "*) python3 -m devcloud up --no-demo ;;
*) python3 -m devcloud fetch ;;
esac
exec "$bin/python" -m tests.churn "$@"
