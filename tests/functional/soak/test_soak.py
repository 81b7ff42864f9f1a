# SPDX-License-Identifier: Apache-2.0
"""The soak's short form: a few hundred pods, without kwok."""

from collections import Counter
from contextlib import closing

from tests.bench.ports import PlainNeutron
from tests.bench.testbed import make_testbed
from tests.soak import nodes
from tests.soak.daemons import Daemons
from tests.soak.population import Population
from tests.soak.restart import restart

PODS = 300
NODES = 10


def test_pods_are_served_and_a_restart_writes_nothing() -> None:
    with make_testbed() as bed:
        client = bed.api.client()
        names = nodes.create(client, NODES)
        options = {"node_port": {"enabled": "false"}}
        with Daemons(client) as daemons, bed.controller(options) as controller:
            controller.wait_ready()
            pods = Population(client, daemons, names, grace=0)
            pods.begin()
            pods.grow(PODS)
            pods.wait_served(120)
            assert pods.replace(rate=1000, seconds=2) > 0
            pods.wait_settled(120)

            def look_at_all() -> None:
                # The queues are fair: when this one has its port, all that were there before were looked at.
                pods.grow(1)
                pods.wait_served(60)

            with closing(PlainNeutron(bed.account(names))) as neutron:
                found = restart(controller, client, neutron, look_at_all)
            assert found.changed == 0
            assert found.kubernetes_writes == Counter({"create kuryrports": 1, "patch kuryrports/status": 1})
            assert found.cloud_writes == Counter({"create port": 1})
        client.close()
