# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, cast

import pytest
from kuryr_plugins_example.labelled_subnets import GROUP, LABEL, LabelledPodSubnets
from oslo_config import cfg

from kuryr.cloud.networks import NetworkInfo, SubnetInfo
from kuryr.conf import neutron_defaults
from kuryr.drivers.base import DriverContext, FixedIP, PodSubnetsDriver
from kuryr.drivers.loading import load_class, register_options
from kuryr.errors import CloudNotFound, Terminal
from kuryr.objects.core import Node, Pod
from kuryr.objects.meta import ObjectMeta

MakeDriver = Callable[[str], LabelledPodSubnets]


class SubnetsOf:
    """Subnets by id, as a cloud that answers at once has them."""

    def __init__(self, subnets: Mapping[str, tuple[str, int]]) -> None:
        self._subnets = subnets

    def get(self, subnet_id: str) -> Future[SubnetInfo]:
        call: Future[SubnetInfo] = Future()
        if subnet_id in self._subnets:
            network_id, version = self._subnets[subnet_id]
            cidr = "10.0.0.0/24" if version == 4 else "fd00::/64"
            network = NetworkInfo(id=network_id)
            call.set_result(SubnetInfo(id=subnet_id, network=network, cidr=cidr, ip_version=version))
        else:
            call.set_exception(CloudNotFound(f"subnet {subnet_id} is not there"))
        return call


@pytest.fixture
def make_driver() -> MakeDriver:
    """Makes the driver with this value of its option."""

    def make(option: str) -> LabelledPodSubnets:
        conf = cfg.ConfigOpts()
        neutron_defaults.register(conf)
        register_options(conf, LabelledPodSubnets)
        conf([])
        conf.set_override("pod_subnet", ["first-4", "first-6"], group="neutron_defaults")
        conf.set_override("subnets", option, group=GROUP)
        subnets = SubnetsOf(
            {
                "first-4": ("first", 4),
                "first-6": ("first", 6),
                "second-4": ("second", 4),
                "second-6": ("second", 6),
                "third-4": ("third", 4),
            }
        )
        nothing = cast(Any, None)
        context = DriverContext(
            conf=conf,
            cloud=nothing,
            ports=nothing,
            subnets=cast(Any, subnets),
            security_groups=nothing,
            inventory=nothing,
            stores={},
            cluster="test",
        )
        return LabelledPodSubnets(context)

    return make


def pod(**labels: str) -> Pod:
    return Pod(metadata=ObjectMeta(name="web", labels=labels))


def test_a_label_chooses_its_subnets(make_driver: MakeDriver) -> None:
    driver = make_driver("second:second-4+second-6,third:third-4")
    (choice,) = driver.choices(pod(**{LABEL: "second"}), "project")
    assert choice.fixed_ips == (FixedIP("second-4"), FixedIP("second-6"))
    assert choice.reason == f"label {LABEL}=second"


def test_without_the_label_it_is_as_by_default(make_driver: MakeDriver) -> None:
    driver = make_driver("second:second-4")
    default = (FixedIP("first-4"), FixedIP("first-6"))
    (choice,) = driver.choices(pod(app="web"), "project")
    assert choice.fixed_ips == default
    (choice,) = driver.node_choices(Node(metadata=ObjectMeta(name="node-1", labels={LABEL: "second"})))
    assert choice.fixed_ips == default


@pytest.mark.parametrize(
    ("option", "valid"),
    [("third:third-4,second:second-4", "Valid values: second, third."), ("", "none is defined in")],
)
def test_an_unknown_name_is_refused_with_the_valid_ones(
    option: str, valid: str, make_driver: MakeDriver
) -> None:
    with pytest.raises(Terminal) as refused:
        make_driver(option).choices(pod(**{LABEL: "fourth"}), "project")
    assert "'fourth' is not known" in str(refused.value)
    assert valid in str(refused.value)


def test_nodes_have_routes_to_all_subnets(make_driver: MakeDriver) -> None:
    driver = make_driver("same:first-4,second:second-4+second-6")
    assert driver.subnet_ids() == ("first-4", "first-6", "second-4", "second-6")


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("second:second-4+gone", "subnet gone of 'second' does not exist"),
        ("both:second-4+third-4", "'both' has several subnets of an IP family"),
        ("both:second-6+third-4", "the subnets of 'both' are of different networks"),
        ("none:", "'none' has no subnet"),
    ],
)
def test_validate_names_what_is_wrong(option: str, problem: str, make_driver: MakeDriver) -> None:
    problems = list(make_driver(option).validate())
    assert any(f"[labelled_example] subnets: {problem}" in told for told in problems), problems


def test_validate_is_silent_where_all_is_well(make_driver: MakeDriver) -> None:
    assert not list(make_driver("second:second-4+second-6,third:third-4").validate())


def test_kuryr_finds_the_driver_by_its_name() -> None:
    try:
        distribution("kuryr-plugins-example")
    except PackageNotFoundError:
        pytest.skip("kuryr-plugins-example is not installed: pip install -e plugins-example")
    found = load_class(
        "kuryr.drivers.pod_subnets", "labelled_example", "[kubernetes] pod_subnets_driver", PodSubnetsDriver
    )
    assert found is LabelledPodSubnets
