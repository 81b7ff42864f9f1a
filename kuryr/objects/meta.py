# SPDX-License-Identifier: Apache-2.0
"""What every Kubernetes object carries."""

from __future__ import annotations

import msgspec


class OwnerReference(msgspec.Struct, rename="camel", omit_defaults=True):
    """A reference of ``metadata.ownerReferences``."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, rename="camel", omit_defaults=True):
    """The metadata in use; unknown fields are dropped on decoding, so never write a decoded object back whole."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Condition(msgspec.Struct, rename="camel", omit_defaults=True):
    """An entry of ``status.conditions`` as the API conventions have it. ``status``: True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int = 0


class KubernetesObject(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Base of all kinds."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    @property
    def key(self) -> Key:
        """Namespace (empty for cluster-wide kinds) and name."""
        return Key(self.metadata.namespace, self.metadata.name)

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for (finalizers may still hold the object)."""
        return self.metadata.deletion_timestamp is not None


class Key(msgspec.Struct, frozen=True, order=True):
    """What names an object of one kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
