# SPDX-License-Identifier: Apache-2.0
"""The proof: pods on two nodes and two subnets, and a VM, talk to each other over Neutron."""

import time
from functools import partial

from devcloud.demo import report, scene
from devcloud.demo.probes import FAMILIES, Check, blocked, guarded, reach, transfer
from devcloud.demo.watch import Stopwatch
from devcloud.demo.workloads import NAMESPACE
from devcloud.neutron import Neutron


def run() -> int:
    """Run the demo on the running cloud and print what happened; 0 when everything worked."""
    begin = time.monotonic()
    neutron = Neutron()
    scene.clear()
    with Stopwatch(NAMESPACE) as stopwatch:
        try:
            scene.create_pods()
        except scene.NotReady as error:
            print(error)
            return 1
        everyone = list(scene.endpoints(neutron).values())
        *pods, machine = everyone
        stages = {pod.name: stopwatch.stages(pod.name) for pod in pods}
        print(report.endpoints(everyone, stages), end="\n\n")

        reached = [r for source in everyone for r in reach(source, [e for e in everyone if e is not source])]
        print(report.matrix(reached), end="\n\n")

        passed = sum(r.passed for r in reached)
        checks = [
            Check("pods are Ready: the kubelets reach them by HTTP", True),
            Check(f"ping and TCP, {passed} of {len(reached)} ways", passed == len(reached)),
            *map(scene.placed, pods),
        ]
        first, last = pods[0], pods[-1]
        for source, target in ((first, last), (last, first), (first, machine), (machine, last)):
            for family in FAMILIES:
                name = f"5 MB {target.name} -> {source.name} IPv{family}"
                checks += guarded(name, partial(transfer, source, target, family))
        checks += guarded("blocked port", partial(blocked, [first, last], machine))
        checks += guarded("scaling", partial(scene.scale, neutron, stopwatch))
    print(report.checks(checks))
    failed = [check for check in checks if not check.passed]
    seconds = time.monotonic() - begin
    print(f"\n{len(checks) - len(failed)} of {len(checks)} checks passed in {seconds:.0f} s")
    if failed:
        print("\n" + report.checks(failed))
        return 1
    print(f"The pods stay in namespace {NAMESPACE}: `kubectl -n {NAMESPACE} exec -it {first.name} -- sh`")
    return 0
