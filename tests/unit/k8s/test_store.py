# SPDX-License-Identifier: Apache-2.0
import hypothesis.strategies as st
import pytest
from hypothesis import given

from kuryr.k8s.store import Store
from kuryr.objects.core import Pod, PodSpec
from kuryr.objects.meta import Key, ObjectMeta


def pod(name: str, node: str = "") -> Pod:
    return Pod(metadata=ObjectMeta(namespace="default", name=name), spec=PodSpec(node_name=node))


def by_node(obj: Pod) -> list[str]:
    return [obj.spec.node_name] if obj.spec.node_name else []


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "remove", "replace"]),
        st.sampled_from("abc"),
        st.sampled_from(["", "n1", "n2"]),
    )
)


@given(before=OPERATIONS, after=OPERATIONS)
def test_an_index_always_equals_a_scan(
    before: list[tuple[str, str, str]], after: list[tuple[str, str, str]]
) -> None:
    store: Store[Pod] = Store()
    for operations in (before, after):
        for operation, name, node in operations:
            if operation == "upsert":
                store.upsert(pod(name, node))
            elif operation == "remove":
                store.remove(Key("default", name))
            else:
                store.replace([pod(name, node)])
        if operations is before:
            store.add_index("node", by_node)
    for node in ("n1", "n2", "n3"):
        expected = {obj.key for obj in store.values() if obj.spec.node_name == node}
        assert {obj.key for obj in store.by_index("node", node)} == expected
    assert len(store) == len(store.keys()) == len(store.values())


def test_what_was_there_is_given_back() -> None:
    store: Store[Pod] = Store()
    first, second = pod("a", "n1"), pod("a", "n2")
    assert store.upsert(first) is None
    assert store.upsert(second) is first
    assert store.get(second.key) is second
    assert second.key in store
    assert store.remove(second.key) is second
    assert store.remove(second.key) is None


def test_a_bad_index_function_keeps_no_object_out() -> None:
    store: Store[Pod] = Store()
    store.add_index("bad", lambda obj: [str(1 // (obj.metadata.name != "a"))])
    store.upsert(pod("a"))
    store.upsert(pod("b"))
    assert len(store) == 2
    assert [obj.metadata.name for obj in store.by_index("bad", "1")] == ["b"]


def test_index_names_are_checked() -> None:
    store: Store[Pod] = Store()
    store.add_index("node", by_node)
    with pytest.raises(ValueError, match="node"):
        store.add_index("node", by_node)
    with pytest.raises(KeyError):
        store.by_index("other", "")
