# SPDX-License-Identifier: Apache-2.0
"""A virtual machine on the pod network: what pods share their Neutron network with."""

from devcloud.vm.machine import BLOCKED_PORT, OPEN_PORT, Machine, console, current, status, steps, stop

__all__ = ["BLOCKED_PORT", "OPEN_PORT", "Machine", "console", "current", "status", "steps", "stop"]
