# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the controller tests' world."""

from tests.functional.controller.conftest import cloud, installed_fakes, world

__all__ = ["cloud", "installed_fakes", "world"]
