# SPDX-License-Identifier: Apache-2.0
"""The kinds that Services, policies and namespaces will use, asked by a handler through the pipeline."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from stevedore import ExtensionManager

from kuryr.conf import controller as configuration
from kuryr.controller import startup
from kuryr.controller.metrics import Metrics
from kuryr.controller.pipeline import Pipeline
from kuryr.drivers.base import (
    AddressGroup,
    EndpointsLBaaSDriver,
    Listener,
    LoadBalancer,
    Member,
    NetworkPolicyDriver,
    NodesSubnetsDriver,
    ProjectDriver,
    Rule,
    SecurityGroup,
    ServicePublicIPDriver,
    ServiceSecurityGroupsDriver,
    ServiceSubnetsDriver,
)
from kuryr.drivers.loading import KINDS, Drivers
from kuryr.errors import ConfigurationError
from kuryr.handlers.base import Handler
from kuryr.objects.core import Namespace
from kuryr.objects.meta import Key, ObjectMeta
from kuryr.objects.resources import NAMESPACES
from kuryr.testing.service_drivers import ENTRY_POINTS, Balancers, Policies, PublicIPs
from tests.unit.controller.test_pipeline import PATIENCE, Informer


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Balanced(Handler):
    """Balances a namespace, for want of Services, and isolates it."""

    resource = NAMESPACES
    drivers_used = tuple(KINDS)

    def reconcile(self, key: Key) -> float | None:
        drivers = self.context.drivers
        balancers = drivers.of_kind(EndpointsLBaaSDriver)
        namespace = self.context.stores[NAMESPACES].get(key)
        if namespace is None:
            balancers.release(f"uid-{key.name}", "", key.name)
            drivers.of_kind(NetworkPolicyDriver).release_group(f"uid-{key.name}", "")
            return None
        project = drivers.of_kind(ProjectDriver, "service_project").project(namespace)
        assert project == drivers.of_kind(ProjectDriver, "namespace_project").project(namespace)
        subnets = drivers.of_kind(ServiceSubnetsDriver)
        state = balancers.ensure(
            LoadBalancer(
                uid=namespace.metadata.uid,
                name=str(key),
                project_id=project,
                vips=tuple(subnets.choices(namespace, project)),
                listeners=(
                    Listener(name="http", protocol="TCP", port=80, members=(Member("10.0.0.1", 8080),)),
                ),
                security_groups=tuple(
                    drivers.of_kind(ServiceSecurityGroupsDriver).security_groups(namespace, project)
                ),
                share=key.name,
            )
        )
        drivers.of_kind(ServicePublicIPDriver).ensure(namespace, project, state.vip_port_id, "")
        policies = drivers.of_kind(NetworkPolicyDriver)
        nodes = frozenset(drivers.of_kind(NodesSubnetsDriver).subnet_ids())
        uid = namespace.metadata.uid
        policies.ensure_addresses(
            AddressGroup(uid=f"{uid}-nodes", name="nodes", project_id=project, addresses=nodes)
        )
        rule = Rule(direction="ingress", ethertype="IPv4", remote_address_group=f"{uid}-nodes")
        policies.ensure_group(
            SecurityGroup(uid=uid, name=str(key), project_id=project, rules=frozenset({rule}))
        )
        return None


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drivers]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    info = tmp_path / "fakes-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    file = tmp_path / "kuryr.conf"
    options = "".join(f"{kind}_driver = fake\n" for kind in KINDS)
    file.write_text(f"[kubernetes]\n{options}[neutron]\nauth_type = none\nendpoint = http://127.0.0.1:1\n")
    conf = configuration.load(["--config-file", str(file)])
    context: Any = SimpleNamespace(conf=conf, stores={})
    return Drivers(context, startup.kinds_used({"balanced": Balanced}))


def test_through_the_pipeline(drivers: Drivers) -> None:
    informer = Informer()
    context: Any = SimpleNamespace(drivers=drivers, stores={NAMESPACES: informer.store}, conf=None)
    informers: Any = {NAMESPACES: informer}
    pipeline = Pipeline({"balanced": Balanced(context)}, informers, Metrics(CollectorRegistry()), 2)
    balancers = drivers.of_kind(EndpointsLBaaSDriver)
    policies = drivers.of_kind(NetworkPolicyDriver)
    addresses = drivers.of_kind(ServicePublicIPDriver)
    assert isinstance(balancers, Balancers)
    assert isinstance(policies, Policies)
    assert isinstance(addresses, PublicIPs)
    pipeline.start()
    try:
        for name in ("slow", "quick"):
            informer.upsert(Namespace(metadata=ObjectMeta(name=name, uid=f"uid-{name}")))
        eventually(lambda: len(balancers.building) == 2)
        balancers.building["uid-quick"].set_result(None)
        # Nothing waits behind another's load balancer, and a wait makes no second call.
        eventually(lambda: "uid-quick" in policies.groups)
        assert set(addresses.held) == {"vip-uid-quick"}
        balancers.building["uid-slow"].set_result(None)
        eventually(lambda: "uid-slow" in policies.groups)
        assert balancers.calls == ["create", "create"]
        assert balancers.there["uid-slow"].project_id == "project-of-slow"
        informer.remove(Key("", "slow"))
        eventually(lambda: balancers.calls == ["create", "create", "delete"])
    finally:
        assert pipeline.stop(10)


def test_kinds_that_nobody_asks_are_not_looked_for(drivers: Drivers) -> None:
    assert startup.kinds_used({}) == []
    context: Any = SimpleNamespace(conf=drivers.pod_project.context.conf, stores={})
    with pytest.raises(KeyError):
        Drivers(context).of_kind(EndpointsLBaaSDriver)


def test_a_kind_that_is_asked_must_exist(drivers: Drivers) -> None:
    conf = drivers.pod_project.context.conf
    conf.set_override("endpoints_lbaas_driver", "amphora", group="kubernetes")
    context: Any = SimpleNamespace(conf=conf, stores={})
    with pytest.raises(
        ConfigurationError, match=r"endpoints_lbaas_driver: 'amphora' is not known. Valid names: fake"
    ):
        Drivers(context, ["endpoints_lbaas"])
