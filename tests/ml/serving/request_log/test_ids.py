"""Ids of calls: UUIDv7 that nobody forges, and by which a call is sampled."""

import uuid

import pytest

from ml.serving.request_log.ids import IdMaker

KEY = b"k" * 32


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    made = IdMaker(KEY, "m").make(1_764_000_000_123)

    found = uuid.UUID(made.text.decode())
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.bytes == made.raw
    assert made.at.timestamp() == 1_764_000_000.123


def test_ids_of_one_moment_differ() -> None:
    ids = IdMaker(KEY, "m")
    assert len({ids.make(7).text for _ in range(10_000)}) == 10_000


def test_only_its_own_ids_are_known() -> None:
    ids = IdMaker(KEY, "m")
    made = ids.make(7)
    found = ids.find(made.text.decode())

    assert found is not None
    assert (found.raw, found.digest) == (made.raw, made.digest)
    assert IdMaker(KEY, "other").find(made.text.decode()) is None
    assert IdMaker(b"l" * 32, "m").find(made.text.decode()) is None


@pytest.mark.parametrize("bit", [0, 40, 52, 70, 95, 96, 127])
def test_a_changed_id_is_refused(bit: int) -> None:
    ids = IdMaker(KEY, "m")
    forged = uuid.UUID(int=uuid.UUID(bytes=ids.make(7).raw).int ^ 1 << (127 - bit))
    assert ids.find(str(forged)) is None


@pytest.mark.parametrize("text", ["", "x", "0" * 36, "\0", "é" * 36])
def test_other_text_is_no_id(text: str) -> None:
    assert IdMaker(KEY, "m").find(text) is None


def test_a_share_of_the_calls_is_sampled() -> None:
    ids = IdMaker(KEY, "m")
    made = [ids.make(7) for _ in range(20_000)]

    assert 0.08 < sum(one.is_sampled(0.1) for one in made) / len(made) < 0.12
    assert all(one.is_sampled(1) for one in made)
    assert not any(one.is_sampled(0) for one in made)
    assert all(one.is_sampled(0.5) for one in made if one.is_sampled(0.1))
