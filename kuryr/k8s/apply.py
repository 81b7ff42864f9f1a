# SPDX-License-Identifier: Apache-2.0
"""Bodies of patches that more than one caller needs; pure."""

from __future__ import annotations

from typing import Any

from kuryr.objects.meta import KubernetesObject


def add_finalizer(obj: KubernetesObject, finalizer: str) -> dict[str, Any] | None:
    """The JSON merge patch that adds the finalizer; None where it is there. A later change: Conflict."""
    if finalizer in obj.metadata.finalizers:
        return None
    return _finalizers(obj, [*obj.metadata.finalizers, finalizer])


def remove_finalizer(obj: KubernetesObject, *finalizers: str) -> dict[str, Any] | None:
    """The JSON merge patch that removes the finalizers; None where none is there."""
    left = [name for name in obj.metadata.finalizers if name not in finalizers]
    if len(left) == len(obj.metadata.finalizers):
        return None
    return _finalizers(obj, left)


def _finalizers(obj: KubernetesObject, finalizers: list[str]) -> dict[str, Any]:
    # A merge patch replaces the list whole, so it must be refused where the list may have changed.
    return {"metadata": {"resourceVersion": obj.metadata.resource_version, "finalizers": finalizers or None}}
