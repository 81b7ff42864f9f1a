# SPDX-License-Identifier: Apache-2.0
"""``pod_subnets_driver = default``: one subnet (of each family) for all pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kuryr.cloud.networks import SubnetInfo
from kuryr.drivers.base import Choice, FixedIP, PodSubnetsDriver
from kuryr.errors import CloudNotFound, ConfigurationError
from kuryr.objects.core import Node, Pod

OPTION = "[neutron_defaults] pod_subnet"


def check_families(subnets: Sequence[SubnetInfo]) -> str | None:
    """What is wrong with a list of subnets that one VIF is to have an address of each of, if anything."""
    versions = [subnet.ip_version for subnet in subnets]
    if len(set(versions)) != len(versions):
        return f"{OPTION}: {len(versions)} subnets of the same IP family, expected one for each family."
    if len({subnet.network.id for subnet in subnets}) > 1:
        return f"{OPTION}: the subnets are of different networks, expected one network."
    return None


class DefaultPodSubnets(PodSubnetsDriver):
    """The subnets of [neutron_defaults] pod_subnet."""

    def validate(self) -> Iterable[str]:
        """Tell where the option is missing, or its subnets do not exist or do not go together."""
        ids = list(self.context.conf.neutron_defaults.pod_subnet)
        if not ids:
            return [f"{OPTION}: not set, expected the id of a subnet, or one for each IP family."]
        subnets, problems = [], []
        for subnet_id in ids:
            try:
                subnets.append(self.context.subnets.get(subnet_id).result())
            except CloudNotFound:
                problems.append(f"{OPTION}: subnet {subnet_id} does not exist, or not for this user.")
        if not problems and (problem := check_families(subnets)):
            problems.append(problem)
        return problems

    def choices(self, pod: Pod, project_id: str) -> Sequence[Choice]:
        """The one choice there is."""
        return self._choices()

    def node_choices(self, node: Node) -> Sequence[Choice]:
        """The same as pods have."""
        return self._choices()

    def subnet_ids(self) -> Iterable[str]:
        """Those of the option."""
        return tuple(self.context.conf.neutron_defaults.pod_subnet)

    def _choices(self) -> Sequence[Choice]:
        ids = self.context.conf.neutron_defaults.pod_subnet
        if not ids:
            raise ConfigurationError(f"{OPTION}: not set, expected the id of a subnet.")
        return (Choice(fixed_ips=tuple(FixedIP(subnet_id) for subnet_id in ids), reason=OPTION),)
