# SPDX-License-Identifier: Apache-2.0
"""Pool: never in two hands, whatever happens in which order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kuryr.drivers.types import Shape
from kuryr.drivers.vif_pool.pool import Holder, Member, Pool, PoolKey
from kuryr.objects.vif import Network, VIFOpenVSwitch

REST = 10.0
KEYS = [
    PoolKey(node, Shape("p", subnets, groups))
    for node in ("n1", "n2")
    for subnets in (("s1",), ("s1", "s2"))
    for groups in (("g1",), ("g2",))
]
keys = st.sampled_from(KEYS)
holders = st.builds(Holder, st.sampled_from(["u1", "u2", "u3"]), st.sampled_from(["eth0", "eth1"]))


def member(vif_id: str, key: PoolKey, now: float = 0.0, rest: float = 0.0) -> Member:
    vif = VIFOpenVSwitch(id=vif_id, address="", network=Network(id="n"), vif_name=f"tap{vif_id}")
    return Member(vif=vif, key=key, subnet_ids=key.shape.subnet_ids, since=now, rests_until=now + rest)


def anything(_: Member) -> bool:
    return True


def nothing(_: Member) -> bool:
    return False


class Hands(RuleBasedStateMachine):
    """A pool, the KuryrPorts beside it, and the ports in Neutron.

    ``written`` is what KuryrPorts say; a released VIF's KuryrPort goes some time after its release.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        self.now = 0.0
        self.made = 0
        self.neutron: dict[str, PoolKey] = {}
        self.given: dict[Holder, str] = {}
        self.written: dict[Holder, str] = {}
        self.released: dict[str, float] = {}

    def usable(self, member: Member) -> bool:
        return member.id not in self.written.values()

    @rule(key=keys)
    def make(self, key: PoolKey) -> None:
        self.made += 1
        vif_id = f"v{self.made}"
        self.neutron[vif_id] = key
        assert self.pool.add(member(vif_id, key, self.now))
        assert not self.pool.add(member(vif_id, key, self.now))

    @rule(holder=holders, key=keys, preferred=st.booleans())
    def take(self, holder: Holder, key: PoolKey, preferred: bool) -> None:
        if holder in self.written:
            return
        got = self.pool.take(holder, key, self.now, self.usable, anything if preferred else nothing)
        if holder in self.given:
            assert got is not None
            assert got.id == self.given[holder]
        elif got is not None:
            assert got.key == key
            self._check_handed_out(holder, got)

    @rule(holder=holders, key=keys)
    def take_similar(self, holder: Holder, key: PoolKey) -> None:
        if holder in self.written or holder in self.given:
            return
        got = self.pool.take_similar(holder, key, self.now, self.usable)
        if got is not None:
            assert (got.key.node, got.key.shape.subnet_ids) == (key.node, key.shape.subnet_ids)
            self._check_handed_out(holder, got)
            self.pool.rekey(holder, key)
            self.neutron[got.id] = key

    def _check_handed_out(self, holder: Holder, got: Member) -> None:
        assert got.id in self.neutron
        assert got.id not in self.given.values()
        assert got.id not in self.written.values()
        assert self.now >= self.released.get(got.id, -REST) + REST
        self.given[holder] = got.id

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(sorted(self.given, key=str)))
        self.written[holder] = self.given.pop(holder)
        settled = self.pool.settle(holder)
        assert settled is not None
        assert settled.id == self.written[holder]
        assert self.pool.settle(holder) is None

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(sorted(self.given, key=str)))
        self.released[self.given.pop(holder)] = self.now
        assert self.pool.give_back(holder, self.now, self.now + REST) is not None

    @precondition(lambda self: self.written)
    @rule(data=st.data(), gone=st.booleans())
    def release(self, data: st.DataObject, gone: bool) -> None:
        """Once, or again and again, until the KuryrPort is gone."""
        holder = data.draw(st.sampled_from(sorted(self.written, key=str)))
        vif_id = self.written[holder]
        if vif_id in self.neutron:
            if not self.pool.is_ready(vif_id):
                assert self.pool.put_back(holder, member(vif_id, self.neutron[vif_id], self.now, REST))
                self.released[vif_id] = self.now
            assert not self.pool.put_back(holder, member(vif_id, KEYS[0], self.now))
        if gone:
            del self.written[holder]

    @precondition(lambda self: self.neutron)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        vif_id = data.draw(st.sampled_from(sorted(self.neutron)))
        if not self.pool.is_ready(vif_id):
            return
        assert self.pool.remove(vif_id, self.now) is not None
        del self.neutron[vif_id]
        assert not self.pool.add(member(vif_id, KEYS[0]))

    @rule(holder=holders, data=st.data())
    def a_stranger_releases(self, holder: Holder, data: st.DataObject) -> None:
        if self.given:
            vif_id = data.draw(st.sampled_from(sorted(self.given.values())))
            if self.given.get(holder) != vif_id:
                assert not self.pool.put_back(holder, member(vif_id, KEYS[0]))

    @rule(seconds=st.sampled_from([1.0, REST, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pool.forget_leaving(self.now - 1000)

    @rule()
    def crash(self) -> None:
        """Only Neutron and the KuryrPorts stay."""
        self.pool = Pool()
        self.given.clear()
        for vif_id, key in self.neutron.items():
            if vif_id not in self.written.values():
                assert self.pool.add(member(vif_id, key, self.now, REST))
                self.released.setdefault(vif_id, self.now)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        ready = [m.id for m in self.pool.ready()]
        assert len(ready) == len(set(ready))
        assert set(self.given.values()) | set(ready) == self.pool.ids()
        assert not set(self.given.values()) & set(ready)
        assert set(ready) | set(self.given.values()) | set(self.written.values()) >= set(self.neutron)
        for key in self.pool.all_keys():
            assert self.pool.size(key) == len(self.pool.ready_of(key)) > 0
            assert [m.since for m in self.pool.ready_of(key)] == sorted(
                m.since for m in self.pool.ready_of(key)
            )


Hands.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestHands = Hands.TestCase


def test_a_preferred_one_first_else_the_longest_ready() -> None:
    pool, key = Pool(), KEYS[0]
    for number in range(3):
        pool.add(member(str(number), key, now=number))
    taken = pool.take(Holder("u", "eth0"), key, 5, anything, lambda m: m.id == "1")
    assert taken is not None
    assert taken.id == "1"
    taken = pool.take(Holder("u", "eth1"), key, 5, anything, nothing)
    assert taken is not None
    assert taken.id == "0"


def test_what_rests_is_told_once_when_it_has_rested() -> None:
    pool, key = Pool(), KEYS[0]
    pool.add(member("a", key, now=0, rest=REST))
    pool.add(member("b", KEYS[-1], now=1, rest=REST))
    assert pool.next_rested() == REST
    assert pool.rested(REST - 0.1) == set()
    assert pool.rested(REST) == {key.node}
    assert pool.rested(REST) == set()
    assert pool.take(Holder("u", "eth0"), KEYS[-1], REST, anything, nothing) is None
    assert pool.rested(REST + 1) == {KEYS[-1].node}
    assert pool.next_rested() is None


def test_what_is_held_is_removed_with_its_holder() -> None:
    pool, key, holder = Pool(), KEYS[0], Holder("u", "eth0")
    pool.add(member("a", key))
    pool.take(holder, key, 1, anything, nothing)
    pool.remove("a", 1)
    assert pool.held(holder) is None
    assert pool.ids() == set()
    assert pool.leaving("a")
    pool.forget_leaving(2)
    assert not pool.leaving("a")
