# SPDX-License-Identifier: Apache-2.0
"""Which ready VIFs there are and who was given which. Pure: no calls, no clock, no threads; the caller locks.

A VIF of the pool is in one of these states::

    ready ── take ──► held ── settle ──► in use (its KuryrPort alone says so)
      ▲                │                    │
      ├── give_back ◄──┴──── put_back ◄─────┘
      └── remove ──► leaving ──► gone

It is never in two hands: ``take`` gives out only what is ready, to one holder, and the same again to that holder;
and only what ``usable`` allows, which is to say that no KuryrPort names it any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import msgspec

from kuryr.drivers.types import Shape
from kuryr.objects.vif import VIF


class PoolKey(msgspec.Struct, frozen=True, order=True):
    """What a request must have in common with a ready VIF: the node and the shape."""

    node: str
    shape: Shape


class Holder(msgspec.Struct, frozen=True):
    """A pod's interface."""

    uid: str
    ifname: str


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A ready VIF. ``subnet_ids`` are in the order of the VIF's subnets. Times are monotonic seconds.

    :ivar since: when it came into the pool, or back.
    :ivar rests_until: not handed out before.
    """

    vif: VIF
    key: PoolKey
    subnet_ids: tuple[str, ...]
    since: float
    rests_until: float

    @property
    def id(self) -> str:
        """Id of the port."""
        return self.vif.id


Test = Callable[[Member], bool]


class Pool:
    """All ready VIFs of a cluster."""

    def __init__(self) -> None:
        # In each, by the longest ready first.
        self._ready: dict[PoolKey, dict[str, Member]] = {}
        self._keys: dict[str, PoolKey] = {}
        self._held: dict[Holder, Member] = {}
        self._holders: dict[str, Holder] = {}
        self._leaving: dict[str, float] = {}
        self._rests: list[tuple[float, str]] = []

    def knows(self, vif_id: str) -> bool:
        """Whether it is ready or held."""
        return vif_id in self._keys or vif_id in self._holders

    def is_ready(self, vif_id: str) -> bool:
        """Whether nobody has it."""
        return vif_id in self._keys

    def ids(self) -> set[str]:
        """Those that are ready or held."""
        return self._keys.keys() | self._holders.keys()

    def ready(self) -> Iterator[Member]:
        """All that are ready or rest."""
        for members in self._ready.values():
            yield from members.values()

    def ready_of(self, key: PoolKey) -> list[Member]:
        """Those of the key, the longest ready first."""
        return list(self._ready.get(key, {}).values())

    def all_keys(self) -> list[PoolKey]:
        """Keys that have any."""
        return list(self._ready)

    def keys_of(self, node: str) -> list[PoolKey]:
        """Keys of a node that have any."""
        return [key for key in self._ready if key.node == node]

    def size(self, key: PoolKey) -> int:
        """How many of the key are ready or rest."""
        return len(self._ready.get(key, ()))

    def add(self, member: Member) -> bool:
        """A VIF is there; False where it was known, or is leaving."""
        if self.knows(member.id) or member.id in self._leaving:
            return False
        self._put(member)
        return True

    def take(self, holder: Holder, key: PoolKey, now: float, usable: Test, preferred: Test) -> Member | None:
        """Hand out one of the key: a preferred one first, the longest ready first. None where there is none.

        A holder that has one of the same node, project and subnets gets that again, whatever its groups.
        """
        held = self._held.get(holder)
        if held is not None:
            return held
        found: Member | None = None
        for member in self._ready.get(key, {}).values():
            if member.rests_until > now or not usable(member):
                continue
            if preferred(member):
                found = member
                break
            found = found or member
        if found is not None:
            self._hand_out(holder, found)
        return found

    def take_similar(self, holder: Holder, key: PoolKey, now: float, usable: Test) -> Member | None:
        """Hand out one that differs from the key in its groups only, of the key that has most."""
        similar = [
            other
            for other in self._ready
            if other.node == key.node
            and other.shape.project_id == key.shape.project_id
            and other.shape.subnet_ids == key.shape.subnet_ids
        ]
        for other in sorted(similar, key=self.size, reverse=True):
            for member in self._ready[other].values():
                if member.rests_until <= now and usable(member):
                    self._hand_out(holder, member)
                    return member
        return None

    def held(self, holder: Holder) -> Member | None:
        """What the holder was given and did not settle yet."""
        return self._held.get(holder)

    def held_on(self, node: str) -> frozenset[str]:
        """Ids of those of a node that are held."""
        return frozenset(member.id for member in self._held.values() if member.key.node == node)

    def rekey(self, holder: Holder, key: PoolKey) -> Member:
        """What the holder has is of another key now.

        :raises KeyError: where it has none.
        """
        member = msgspec.structs.replace(self._held[holder], key=key)
        self._held[holder] = member
        return member

    def settle(self, holder: Holder) -> Member | None:
        """The holder's KuryrPort names its VIF."""
        member = self._held.pop(holder, None)
        if member is not None:
            del self._holders[member.id]
        return member

    def give_back(self, holder: Holder, now: float, rests_until: float) -> Member | None:
        """The holder does not want what it was given."""
        member = self.settle(holder)
        if member is None:
            return None
        back = msgspec.structs.replace(member, since=now, rests_until=rests_until)
        self._put(back)
        return back

    def holders_of(self, uid: str) -> list[Holder]:
        """Those of that owner that hold something."""
        return [holder for holder in self._held if holder.uid == uid]

    def put_back(self, holder: Holder, member: Member) -> bool:
        """The holder's VIF is no longer used; False where it is back already, leaving, or another's."""
        if self._holders.get(member.id, holder) != holder:
            return False
        if (held := self._held.get(holder)) is not None and held.id == member.id:
            self.settle(holder)
        return self.add(member)

    def remove(self, vif_id: str, now: float) -> Member | None:
        """It is about to be deleted; what was ready of that id."""
        self._leaving[vif_id] = now
        holder = self._holders.get(vif_id)
        if holder is not None:
            return self.settle(holder)
        return self.drop(vif_id)

    def drop(self, vif_id: str) -> Member | None:
        """It is gone."""
        key = self._keys.pop(vif_id, None)
        if key is None:
            return None
        members = self._ready[key]
        member = members.pop(vif_id)
        if not members:
            del self._ready[key]
        return member

    def leaving(self, vif_id: str) -> bool:
        """Whether its deletion was asked for."""
        return vif_id in self._leaving

    def forget_leaving(self, before: float) -> None:
        """Deletions that were asked for before that time have happened or failed."""
        self._leaving = {vif_id: since for vif_id, since in self._leaving.items() if since >= before}

    def next_rested(self) -> float | None:
        """When the next of those that rest may be handed out."""
        return self._rests[0][0] if self._rests else None

    def rested(self, now: float) -> set[str]:
        """Nodes where VIFs had rested enough since this was last asked."""
        nodes = set()
        while self._rests and self._rests[0][0] <= now:
            vif_id = heapq.heappop(self._rests)[1]
            if vif_id in self._keys:
                nodes.add(self._keys[vif_id].node)
        return nodes

    def _hand_out(self, holder: Holder, member: Member) -> None:
        self.drop(member.id)
        self._held[holder] = member
        self._holders[member.id] = holder

    def _put(self, member: Member) -> None:
        self._ready.setdefault(member.key, {})[member.id] = member
        self._keys[member.id] = member.key
        if member.rests_until > member.since:
            heapq.heappush(self._rests, (member.rests_until, member.id))
