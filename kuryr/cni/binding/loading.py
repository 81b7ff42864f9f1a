# SPDX-License-Identifier: Apache-2.0
"""Finding binding drivers."""

from __future__ import annotations

from importlib.metadata import entry_points

from kuryr.cni.binding.base import BindingDriver, Node
from kuryr.errors import ConfigurationError

NAMESPACE = "kuryr.cni.binding"


def load(node: Node) -> dict[str, BindingDriver]:
    """A driver for each class of VIF that has an entry point.

    :raises ConfigurationError: where two packages offer the same one, or one is not a driver.
    """
    drivers: dict[str, BindingDriver] = {}
    for entry in entry_points(group=NAMESPACE):
        if entry.name in drivers:
            raise ConfigurationError(f"entry point {entry.name} of {NAMESPACE} is there twice: {entry.value}")
        try:
            factory = entry.load()
        except ImportError as error:
            raise ConfigurationError(f"entry point {entry.name} of {NAMESPACE}: {error}") from error
        driver = factory(node)
        if not isinstance(driver, BindingDriver):
            raise ConfigurationError(
                f"entry point {entry.name} of {NAMESPACE} is not a BindingDriver: {entry.value}"
            )
        drivers[entry.name] = driver
    return drivers
