#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/test.sh [unit|functional|e2e|all] [pytest arguments]
#   unit         seconds, no root
#   functional   root: a real etcd and kube-apiserver, a fake Neutron, network namespaces and Open vSwitch
#   e2e          on the development cloud (make up)
set -e
cd "$(dirname "$0")/.."
tier="${1:-all}"
[ $# -gt 0 ] && shift
bin="$(tools/venv.sh)/bin"
case "$tier" in
unit) exec "$bin/pytest" tests/unit plugins-example/tests "$@" ;;
functional)
    python3 -m devcloud fetch
    exec "$bin/pytest" tests/functional "$@"
    ;;
e2e)
    python3 -m devcloud up --no-demo
    exec "$bin/pytest" tests/e2e "$@"
    ;;
all)
    "$0" unit "$@"
    "$0" functional "$@"
    "$0" e2e "$@"
    ;;
*)
    echo "tools/test.sh: unknown tier '$tier'; expected unit, functional, e2e or all" >&2
    exit 2
    ;;
esac
