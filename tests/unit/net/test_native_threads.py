# SPDX-License-Identifier: Apache-2.0
"""Eventlet stays out of the daemon."""

from __future__ import annotations

import subprocess
import sys


def test_the_daemon_does_not_load_eventlet() -> None:
    code = "import sys, kuryr.cni.daemon; print('eventlet' in sys.modules, 'os_vif' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_the_executables_master_loads_little() -> None:
    code = "import sys, kuryr.cmd.daemon; print([m for m in ('kubernetes', 'pyroute2', 'ovs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
