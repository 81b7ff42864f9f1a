# SPDX-License-Identifier: Apache-2.0
"""kuryr-cni: the CNI executable as a console script."""

from kuryr.cni.client import main

__all__ = ["main"]
