# SPDX-License-Identifier: Apache-2.0
"""What a command that runs once and ends needs of the controller: both APIs and the drivers, without stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from oslo_config import cfg

from kuryr.cloud.networks import Subnets
from kuryr.cloud.ports import Ports
from kuryr.cloud.security_groups import SecurityGroups
from kuryr.cloud.session import Cloud
from kuryr.controller import startup
from kuryr.drivers.inventory import PortInventory
from kuryr.drivers.loading import Drivers
from kuryr.drivers.types import DriverContext
from kuryr.k8s.client import Client
from kuryr.k8s.settings import settings_from_conf
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES


class Site(msgspec.Struct, frozen=True):
    """A cluster and its cloud. ``cluster`` is what the cluster's things in the cloud are marked with."""

    conf: cfg.ConfigOpts
    client: Client
    cluster: str
    cloud: Cloud
    ports: Ports
    subnets: Subnets
    drivers: Drivers


@contextmanager
def opened(conf: cfg.ConfigOpts) -> Iterator[Site]:
    """The site that a configuration describes; the drivers' stores are empty, and nothing of them is started.

    :raises ConfigurationError: where it cannot work.
    :raises ApiError: where the Kubernetes API does not answer and the cluster's name has to be asked for.
    """
    client = Client(settings_from_conf(conf))
    cloud = Cloud(conf)
    try:
        cluster = conf.kubernetes.cluster_name or client.get(NAMESPACES, Key("", "kube-system")).metadata.uid
        ports, subnets = Ports(cloud), Subnets(cloud)
        drivers = Drivers(
            DriverContext(
                conf=conf,
                cloud=cloud,
                ports=ports,
                subnets=subnets,
                security_groups=SecurityGroups(cloud),
                inventory=PortInventory(ports, cluster, lambda: drivers.pod_project.projects()),
                stores={},
                cluster=cluster,
            ),
            startup.kinds_used(startup.handler_classes(conf)),
        )
        yield Site(conf, client, cluster, cloud, ports, subnets, drivers)
    finally:
        cloud.close()
        client.close()
