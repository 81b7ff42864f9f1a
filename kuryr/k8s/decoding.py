# SPDX-License-Identifier: Apache-2.0
"""From the API's JSON to typed objects. What cannot be decoded is told and left out; the others go on."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from oslo_log import log as logging

from kuryr.errors import Terminal
from kuryr.objects.codec import decoder
from kuryr.objects.meta import KubernetesObject, ObjectMeta
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)


# A copy of the whole object, and of no use here.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class ListResult(msgspec.Struct, Generic[T], frozen=True):
    """A snapshot of a collection; a watch goes on from ``resource_version``."""

    items: list[T]
    resource_version: str


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; ``continue_token`` is empty at the end."""

    items: list[T]
    resource_version: str
    continue_token: str


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "continue_token": "continue"}):
    resource_version: str = ""
    continue_token: str = ""


class _RawList(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class Partial(msgspec.Struct):
    """What can be read of any object, whatever its kind."""

    metadata: ObjectMeta


RAW_LIST = msgspec.json.Decoder(_RawList)
PARTIAL = msgspec.json.Decoder(Partial)


def one(resource: Resource[T], data: bytes | msgspec.Raw) -> T:
    """The object.

    :raises Terminal: naming the object and the field, where it cannot be decoded.
    """
    obj: T
    try:
        obj = decoder(resource.type).decode(data)
    except msgspec.MsgspecError:
        try:
            obj = msgspec.convert(without_nulls(msgspec.json.decode(data)), resource.type)
        except msgspec.MsgspecError as error:
            raise Terminal(f"{describe(resource, data)}: {error}") from error
    # Items of lists come without them; and one string for all is less than one each.
    obj.api_version = resource.api_version
    obj.kind = resource.kind
    obj.metadata.annotations.pop(_LAST_APPLIED, None)
    return obj


def without_nulls(value: Any) -> Any:
    """The JSON value without members that are null: from Go they mean the same as absent ones."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None]
    return value


def page(resource: Resource[T], data: bytes) -> Page[T]:
    """One page of a list, without the objects that cannot be decoded."""
    raw = RAW_LIST.decode(data)
    items = []
    for item in raw.items or ():
        try:
            items.append(one(resource, item))
        except Terminal as error:
            LOG.error("Left out of the list of %s: %s", resource.plural, error)
    return Page(items, raw.metadata.resource_version, raw.metadata.continue_token)


def describe(resource: Resource[Any], data: bytes | msgspec.Raw) -> str:
    """Kind and name of an encoded object, for messages."""
    try:
        return f"{resource.kind} {KubernetesObject(metadata=PARTIAL.decode(data).metadata).key}"
    except msgspec.MsgspecError:
        return f"{resource.kind} without readable metadata"
