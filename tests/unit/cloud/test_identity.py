# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr.cloud.identity import MAX_LENGTH, Identity, description, parse

part = st.text(st.characters(exclude_characters=":", codec="ascii"), min_size=1, max_size=40)


@given(part, part, part, st.text(st.characters(codec="ascii"), max_size=40))
def test_what_is_written_is_read(cluster: str, kind: str, uid: str, detail: str) -> None:
    identity = Identity(cluster, kind, uid, detail)
    assert parse(str(identity)) == identity


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    identity = parse(text)
    assert identity is None or str(identity) == text


@pytest.mark.parametrize(
    "text", ["", "kuryr", "kuryr:a:b", "kuryr::b:c", "kuryr:a:b:", "kuryr:a:b:c:", "other:a:b:c"]
)
def test_what_is_not_ours(text: str) -> None:
    assert parse(text) is None


def test_the_form() -> None:
    assert description("c1", "pod", "uid", "eth0") == "kuryr:c1:pod:uid:eth0"
    assert description("c1", "pool", "node1") == "kuryr:c1:pool:node1"


@pytest.mark.parametrize("parts", [("", "pod", "uid"), ("a:b", "pod", "uid"), ("c", "pod", "x" * MAX_LENGTH)])
def test_what_cannot_be_written_is_refused(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=r"identity"):
        description(*parts)
