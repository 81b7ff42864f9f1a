# SPDX-License-Identifier: Apache-2.0
"""``pod_subnets_driver = labelled_example``: pods choose their subnets by a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oslo_config import cfg

from kuryr.cloud.networks import SubnetInfo
from kuryr.drivers.base import Choice, DriverContext, FixedIP, PodSubnetsDriver
from kuryr.drivers.pod_subnets.default import DefaultPodSubnets
from kuryr.errors import CloudNotFound, Terminal
from kuryr.objects.core import Node, Pod

LABEL = "example.kuryr.openstack.org/subnets"
GROUP = "labelled_example"
OPTION = f"[{GROUP}] subnets"

OPTS = [
    cfg.DictOpt(
        "subnets",
        default={},
        help=f"What pods with the label {LABEL} may name: NAME:SUBNET, or NAME:SUBNET+SUBNET for one subnet "
        "of each IP family (both of the same network); several are separated by commas.",
    ),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options, for oslo-config-generator."""
    return [(GROUP, OPTS)]


class LabelledPodSubnets(PodSubnetsDriver):
    """The subnets that a pod's label names; those of Kuryr's ``default`` driver for nodes and all other pods."""

    OPTS = ((GROUP, OPTS),)

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._default = DefaultPodSubnets(context)

    def validate(self) -> Iterable[str]:
        """Tell what the default driver does, and which named subnets do not exist or do not go together."""
        return [*self._default.validate(), *self._problems()]

    def choices(self, pod: Pod, project_id: str) -> Sequence[Choice]:
        """The one choice that the label makes, or the default.

        :raises Terminal: where the label has a value that the option does not define.
        """
        name = pod.metadata.labels.get(LABEL)
        if name is None:
            return self._default.choices(pod, project_id)
        named = self._named()
        if name not in named:
            valid = ", ".join(sorted(named)) or f"none is defined in {OPTION}"
            raise Terminal(f"label {LABEL}: {name!r} is not known. Valid values: {valid}.")
        fixed_ips = tuple(FixedIP(subnet_id) for subnet_id in named[name])
        return (Choice(fixed_ips=fixed_ips, reason=f"label {LABEL}={name}"),)

    def node_choices(self, node: Node) -> Sequence[Choice]:
        """The default."""
        return self._default.node_choices(node)

    def subnet_ids(self) -> Iterable[str]:
        """The default ones and all that labels can name, each once."""
        named = (subnet_id for ids in self._named().values() for subnet_id in ids)
        return tuple(dict.fromkeys((*self._default.subnet_ids(), *named)))

    def _named(self) -> dict[str, tuple[str, ...]]:
        """Name → ids of its subnets."""
        option: dict[str, str] = self.context.conf[GROUP].subnets
        return {name: tuple(part for part in ids.split("+") if part) for name, ids in option.items()}

    def _problems(self) -> Iterable[str]:
        for name, ids in self._named().items():
            if not ids:
                yield f"{OPTION}: {name!r} has no subnet, expected the id of one, or of one for each IP family."
            subnets: list[SubnetInfo] = []
            for subnet_id in ids:
                try:
                    subnets.append(self.context.subnets.get(subnet_id).result())
                except CloudNotFound:
                    yield f"{OPTION}: subnet {subnet_id} of {name!r} does not exist, or not for this user."
            if len({subnet.ip_version for subnet in subnets}) < len(subnets):
                yield f"{OPTION}: {name!r} has several subnets of an IP family, expected one of each."
            if len({subnet.network_id for subnet in subnets}) > 1:
                yield f"{OPTION}: the subnets of {name!r} are of different networks, expected one network."
