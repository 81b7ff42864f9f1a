# SPDX-License-Identifier: Apache-2.0
"""The controller and the daemons are started anew, as an upgrade does it, while pods come and go: no pod fails."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from devcloud import kuryr, processes
from devcloud.kubernetes.cluster import NODES
from tests.e2e.namespace import Namespace, pod

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TURNS = 2
AT_A_TIME = 4


def restart_all() -> None:
    """One after the other, each ready before the next."""
    for _ in range(TURNS):
        kuryr.stop_controller()
        kuryr.start_controller()
        for node in NODES:
            processes.stop(kuryr.daemon_name(node))
            kuryr.start_daemon(node)


def test_no_pod_fails(namespace: Namespace) -> None:
    uids: dict[str, str] = {}
    before: list[str] = []
    with ThreadPoolExecutor(1) as background:
        rolling = background.submit(restart_all)
        for generation in itertools.count():
            last = rolling.done()
            names = [f"roll{generation}-{number}" for number in range(AT_A_TIME)]
            namespace.create(*(pod(name) for name in names))
            if before:
                namespace.kubectl("delete", "pod", *before, "--wait=false")
            namespace.wait_ready(*names, seconds=240)
            uids.update({name: namespace.uid(name) for name in names})
            before = names
            if last:
                break
        rolling.result()
    pods = {item["metadata"]["name"]: item for item in namespace.get("pods")["items"]}
    for name in before:
        assert pods[name]["status"]["phase"] == "Running"
        assert [status["restartCount"] for status in pods[name]["status"]["containerStatuses"]] == [0]
    assert sorted(port["device_id"] for port in namespace.ports([uids[name] for name in before])) == sorted(
        uids[name] for name in before
    )
    namespace.delete("pod", *before)
    namespace.wait_no_ports(uids.values())
