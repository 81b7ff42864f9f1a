# SPDX-License-Identifier: Apache-2.0
"""Finding drivers and handlers by name; every way in which that fails is told with what would be right."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stevedore import ExtensionManager

from kuryr.conf import controller as configuration
from kuryr.controller import startup
from kuryr.drivers.base import MultiVIFDriver, PodSubnetsDriver, VIFPoolDriver
from kuryr.drivers.loading import load_class, pool_problem
from kuryr.drivers.multi_vif.noop import NoopMultiVIF
from kuryr.errors import ConfigurationError

OPTION = "[kubernetes] some_driver"
NAMESPACE = "kuryr.drivers.multi_vif"

MODULE = """
from kuryr.drivers.base import MultiVIFDriver, PodVIFDriver, VIFPoolDriver
from kuryr.drivers.vif_pool.noop import NoopPool

class Incomplete(MultiVIFDriver):
    pass

class Different:
    pass

class Choosy(NoopPool):
    supported_vif_drivers = frozenset({"nested-vlan", "nested-macvlan"})

not_a_class = 1
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make entry points known as an installed package does."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # What stevedore found before is of another path.
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    (tmp_path / "third_party_drivers.py").write_text(MODULE)

    def install(package: str, **entries: str) -> None:
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        sections: dict[str, list[str]] = {}
        for name, target in entries.items():
            kind, _, entry = name.partition("__")
            sections.setdefault(kind, []).append(f"{entry} = {target}")
        lines = [
            line
            for kind, found in sections.items()
            for line in (
                f"[{'kuryr.handlers' if kind == 'handlers' else 'kuryr.drivers.' + kind}]",
                *found,
            )
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    yield install
    sys.modules.pop("third_party_drivers", None)


def failure(name: str, base: type[Any] = MultiVIFDriver, namespace: str = NAMESPACE) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_class(namespace, name, OPTION, base)
    text = str(raised.value)
    assert text.startswith(f"{OPTION}: {name!r} ")
    return text


def test_a_name_that_is_known() -> None:
    assert load_class(NAMESPACE, "noop", OPTION, MultiVIFDriver) is NoopMultiVIF


def test_a_name_that_is_not_lists_those_that_are(install: Install) -> None:
    install("third-party", multi_vif__theirs="kuryr.drivers.multi_vif.noop:NoopMultiVIF")
    text = failure("nonsense")
    names = text.partition("Valid names: ")[2].rstrip(".").split(", ")
    assert {"noop", "theirs"} <= set(names)
    assert names == sorted(names)


def test_a_kind_of_which_nothing_is_installed() -> None:
    assert "Valid names: none is installed." in failure("x", namespace="kuryr.drivers.of_no_such_kind")


def test_a_third_party_s_name(install: Install) -> None:
    install("third-party", multi_vif__theirs="kuryr.drivers.multi_vif.noop:NoopMultiVIF")
    assert load_class(NAMESPACE, "theirs", OPTION, MultiVIFDriver) is NoopMultiVIF


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    for package in ("one-package", "other-package"):
        install(package, multi_vif__clash=f"{package.replace('-', '_')}:Driver")
    text = failure("clash")
    assert "one-package has one_package:Driver, other-package has other_package:Driver" in text
    assert "Remove all but one" in text


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module:Driver", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("third_party_drivers:Missing", "AttributeError"),
        ("third_party_drivers:Different", "is not a kuryr.drivers.base.MultiVIFDriver"),
        ("third_party_drivers:not_a_class", "is not a kuryr.drivers.base.MultiVIFDriver"),
        ("third_party_drivers:Incomplete", "lacks additional_vifs of MultiVIFDriver"),
    ],
)
def test_what_cannot_be_used(install: Install, target: str, said: str) -> None:
    install("third-party", multi_vif__theirs=target)
    text = failure("theirs")
    assert said in text
    assert target in text, "where it is defined"


def test_a_driver_of_another_kind(install: Install) -> None:
    install("third-party", pod_subnets__theirs="kuryr.drivers.multi_vif.noop:NoopMultiVIF")
    text = failure("theirs", PodSubnetsDriver, "kuryr.drivers.pod_subnets")
    assert "is not a kuryr.drivers.base.PodSubnetsDriver" in text


def configured(tmp_path: Path, **options: str) -> Any:
    path = tmp_path / "kuryr.conf"
    lines = ["[kubernetes]", *(f"{name} = {value}" for name, value in options.items())]
    path.write_text("\n".join([*lines, "[neutron]", "auth_type = password", "auth_url = http://192.0.2.1"]))
    return configuration.load(["--config-file", str(path)])


def problems(conf: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        startup.check_names(conf)
    return str(raised.value).splitlines()


def test_the_defaults_are_all_there(tmp_path: Path) -> None:
    startup.check_names(configured(tmp_path))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        configured(
            tmp_path,
            enabled_handlers="vif,kuryrport,one,two",
            pod_project_driver="three",
            pod_subnets_driver="four",
            pod_security_groups_driver="five",
            pod_vif_driver="six",
            vif_pool_driver="seven",
            multi_vif_drivers="noop,eight",
        )
    )
    for name in ("one", "two", "three", "four", "five", "six", "seven", "eight"):
        assert sum(f"{name!r} is not known" in line for line in found) == 1, name


def test_names_that_stand_twice(tmp_path: Path) -> None:
    found = problems(
        configured(tmp_path, enabled_handlers="vif,kuryrport,vif", multi_vif_drivers="noop,noop")
    )
    assert "[kubernetes] enabled_handlers: 'vif' stands more than once." in found
    assert "[kubernetes] multi_vif_drivers: 'noop' stands more than once." in found


def test_a_pool_that_cannot_keep_what_is_made(tmp_path: Path, install: Install) -> None:
    install("third-party", vif_pool__choosy="third_party_drivers:Choosy")
    (found,) = problems(configured(tmp_path, vif_pool_driver="choosy"))
    assert found == (
        "[kubernetes] vif_pool_driver: 'choosy' cannot keep VIFs of pod_vif_driver 'neutron-vif', "
        "only of: nested-macvlan, nested-vlan."
    )


def test_a_pool_for_any(tmp_path: Path) -> None:
    assert pool_problem(VIFPoolDriver, "pool", "anything") is None


def test_the_handler_of_the_nodes_ports_always_runs(tmp_path: Path) -> None:
    """Where they are switched off, it removes them."""
    assert "node" in startup.handler_classes(configured(tmp_path, enabled_handlers="vif,kuryrport"))
