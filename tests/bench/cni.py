# SPDX-License-Identifier: Apache-2.0
"""CNI ADD and DEL by the executable that is installed on a node, one at a time.

Each ADD is for a real pod whose port the controller makes meanwhile, as the kubelet's would be; the kubelet
itself never gets as far, since one of the pod's volumes does not exist. The daemon tells its stages
(``kuryr_timings``); what is left of the time is the executable's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from devcloud.kubernetes.cluster import NODES, Node
from devcloud.shell import run as command
from kuryr.cni import stages
from kuryr.objects.core import Pod
from tests.bench import programs, stopwatch
from tests.bench.figures import Distribution, Figure, MeasurementError, median, tail
from tests.bench.pods import Namespace, namespace, pod
from tests.bench.settings import Bench

LIMIT_WITHOUT_WAITS = 60.0
LIMIT_EXECUTABLE = 3.0

_STAGES = {
    stages.KURYRPORT: "waiting for the KuryrPort",
    stages.NETLINK: "netlink",
    stages.OVS: "OVS commit",
    stages.UP: "waiting for ovn-installed",
}
_IFNAME = "eth0"
_INTERPRETER = "/usr/bin/python3"


class Call(msgspec.Struct, frozen=True):
    """One call of the executable, in ms; ``stages`` as the daemon told them."""

    milliseconds: float
    stages: dict[str, float]

    @property
    def executable(self) -> float:
        """What was not the daemon's."""
        return self.milliseconds - self.stages[stages.TOTAL]

    @property
    def without_waits(self) -> float:
        """What was neither waiting for the controller nor for OVN."""
        return self.milliseconds - self.stages[stages.KURYRPORT] - self.stages[stages.UP]


class Executable:
    """kuryr-cni as it is installed on a node."""

    def __init__(self, node: Node) -> None:
        self._path = str(node.cni_bin / "kuryr-cni")
        (configuration,) = sorted(node.cni_conf.glob("*kuryr*"))[:1]
        document = json.loads(configuration.read_text())
        (plugin,) = document.get("plugins", [document])
        name, version = document["name"], document["cniVersion"]
        self._config: dict[str, Any] = {
            **plugin,
            "name": name,
            "cniVersion": version,
            "kuryr_timings": True,
        }

    def call(self, verb: str, **environment: str) -> Call:
        """One call, as a container runtime makes it.

        :raises MeasurementError: with what it said, where it failed.
        """
        config = {**self._config, "cniVersion": "1.1.0"} if verb == "STATUS" else self._config
        done = programs.run(
            [self._path],
            {"CNI_COMMAND": verb, "CNI_PATH": self._path.rpartition("/")[0], **environment},
            json.dumps(config).encode(),
        )
        if done.code != 0:
            raise MeasurementError(f"kuryr-cni {verb} failed: {done.stdout.decode(errors='replace')}")
        try:
            told = json.loads(done.stderr)["kuryr_timings"]
        except (KeyError, ValueError) as error:
            raise MeasurementError(f"kuryr-cni {verb} told no timings but {done.stderr!r}") from error
        return Call(done.seconds * 1000, {stage: seconds * 1000 for stage, seconds in told.items()})


def bare_interpreter() -> float:
    """The system's interpreter doing nothing, in ms."""
    return programs.run([_INTERPRETER, "-I", "-S", "-c", "pass"], {}).seconds * 1000


def measure(bench: Bench) -> list[Figure]:
    """ADD, DEL, and the executable beside a bare interpreter, interleaved."""
    number = bench.amounts.cni
    adds: list[Call] = []
    dels: list[Call] = []
    executables: list[float] = []
    bares: list[float] = []
    with namespace(bench.client()) as space:
        for index in range(number + 1):
            node = NODES[index % len(NODES)]
            executable = Executable(node)
            interpreter = bare_interpreter()
            status = executable.call("STATUS")
            add, delete = pair(space, executable, node, f"cni-{index}")
            if index == 0:
                continue  # what is read for the first time only
            bares.append(interpreter)
            executables.append(status.executable)
            adds.append(add)
            dels.append(delete)
            if index % 10 == 0:
                bench.say(f"{index} of {number} ADDs")
    own, bare = Distribution.of(executables), Distribution.of(bares)
    figures = [
        median("CNI ADD", [call.milliseconds for call in adds], "ms"),
        tail("CNI ADD", [call.milliseconds for call in adds], "ms"),
        median("CNI ADD: the executable", [call.executable for call in adds], "ms"),
    ]
    for stage, name in _STAGES.items():
        figures.append(median(f"CNI ADD: {name}", [call.stages[stage] for call in adds], "ms"))
    return [
        *figures,
        median(
            "CNI ADD without both waits",
            [call.without_waits for call in adds],
            "ms",
            limit=LIMIT_WITHOUT_WAITS,
        ),
        median("CNI DEL", [call.milliseconds for call in dels], "ms"),
        tail("CNI DEL", [call.milliseconds for call in dels], "ms"),
        Figure(
            name="executable / bare interpreter",
            value=own.p50 / bare.p50,
            unit="x",
            n=own.n,
            limit=LIMIT_EXECUTABLE,
            remark=f"medians: {own.p50:.1f} ms / {bare.p50:.1f} ms",
        ),
    ]


def pair(space: Namespace, executable: Executable, node: Node, name: str) -> tuple[Call, Call]:
    """An ADD and a DEL for one pod."""
    space.create(pod(name, node=node.name, sandbox=False))
    space.watch.wait([name], stopwatch.SCHEDULED)
    with _network_namespace() as netns:
        environment = _environment(space.watch.pod(name), netns)
        add = executable.call("ADD", **environment)
        delete = executable.call("DEL", **environment)
    space.delete([name])
    return add, delete


def _environment(pod: Pod, netns: str) -> dict[str, str]:
    container = secrets.token_hex(32)
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.metadata.namespace,
        "K8S_POD_NAME": pod.metadata.name,
        "K8S_POD_INFRA_CONTAINER_ID": container,
        "K8S_POD_UID": pod.metadata.uid,
    }
    return {
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{netns}",
        "CNI_IFNAME": _IFNAME,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
    }


@contextmanager
def _network_namespace() -> Iterator[str]:
    name = f"bench-{secrets.token_hex(4)}"
    command(["ip", "netns", "add", name])
    try:
        yield name
    finally:
        command(["ip", "netns", "delete", name])
