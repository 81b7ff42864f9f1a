# SPDX-License-Identifier: Apache-2.0
"""Keeping eventlet out of a process whose threads are real.

os-vif's dependencies bring eventlet, and half of them import it wherever it is installed: 14 MB, and a warning that
it is deprecated, for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_eventlet() -> Iterator[None]:
    """Import in the block as if eventlet were not installed, unless somebody has loaded it already."""
    if "eventlet" in sys.modules:
        yield
        return
    sys.modules["eventlet"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["eventlet"]
