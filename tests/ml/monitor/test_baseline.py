"""A baseline is bounded, and as a file it is read back as it was written, or refused with the cause."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.monitor.drift.baseline import (
    MAX_CELLS,
    MAX_REQUEST_ROWS,
    MAX_TRAINING_ROWS,
    BaselineError,
    DriftBaseline,
    Source,
    make_baseline,
    pick_rows,
    select_usual,
)
from ml.monitor.drift.baseline_file import MAX_FILE_BYTES, parse_payload, read_baseline, write_baseline
from tests.ml.monitor.test_values import ANY_JSON

ROWS = [
    {"age": float(row), "plan": "ab"[row % 2], "note": None if row % 3 else f"{row}"} for row in range(30)
]


def rewrite(path: Path, **changes: Any) -> None:
    """Change a baseline's content, with the digest that fits."""
    content = json.loads(path.read_bytes().partition(b"\n")[2]) | changes
    write_payload(path, json.dumps(content).encode())


def write_payload(path: Path, payload: bytes) -> None:
    path.write_bytes(f"slipway-drift-baseline 1 {hashlib.sha256(payload).hexdigest()}\n".encode() + payload)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_baseline(make_baseline(ROWS, list(range(30))), tmp_path / "baseline")
    return tmp_path / "baseline"


def test_training_rows_are_drawn_and_requests_taken_in_order() -> None:
    rows = [{"row": row} for row in range(30_000)]
    drawn = make_baseline(rows, list(range(30_000)))
    assert drawn.rows == len(drawn.features[0]) == MAX_TRAINING_ROWS
    assert drawn.prediction is not None
    assert drawn.features[0].numbers == drawn.prediction.numbers  # the same rows
    assert make_baseline(rows) == make_baseline(rows)

    first = make_baseline([[row] for row in range(3000)], source=Source.REQUESTS)
    assert first.rows == MAX_REQUEST_ROWS
    assert not first.has_columns


@pytest.mark.parametrize("strange", [7, dict.fromkeys(map(str, range(1001))), {"x" * 201: 1}, {}, [[]]])
def test_one_call_does_not_decide_about_columns(strange: Any) -> None:
    rows = [{"age": number} for number in range(950)] + [strange] * 50
    made = make_baseline(*select_usual(rows, list(range(1000))), Source.REQUESTS)
    assert [column.name for column in made.features] == ["age"]
    assert made.has_columns
    assert made.rows >= 950


def test_requests_that_have_no_usual_column_stay_whole() -> None:
    rows = [{f"{number}": 1} for number in range(1000)]
    assert select_usual(rows, rows) == (rows, rows)
    assert not make_baseline(*select_usual([1, 2, {"a": 1}], [1, 2, 3]), Source.REQUESTS).has_columns


def test_of_many_columns_fewer_rows_are_taken() -> None:
    assert len(pick_rows(30_000, 500, Source.TRAINING, 0)) == MAX_CELLS // 500


@pytest.mark.parametrize(
    ("features", "predictions", "cause"),
    [
        ([], [], "there are none"),
        ([{"a": 1}], [1, 2], "2 predictions on 1 rows"),
        ([dict.fromkeys(map(str, range(1001)))], [], "more than 1,000 columns"),
        ([{"x" * 201: 1}], [], "is longer than 200"),
    ],
)
def test_what_makes_no_baseline_is_refused(features: list[Any], predictions: list[Any], cause: str) -> None:
    with pytest.raises(BaselineError, match=cause):
        make_baseline(features, predictions)


@given(
    features=st.lists(st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=4), min_size=1, max_size=8)
    | st.lists(ANY_JSON, min_size=1, max_size=8),
    has_predictions=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_baseline_of_any_rows_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, features: list[Any], has_predictions: bool
) -> None:
    baseline = make_baseline(features, features if has_predictions else [])
    path = tmp_path_factory.getbasetemp() / "any"
    digest = write_baseline(baseline, path)
    assert read_baseline(path) == (baseline, digest)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"rows": 0}, "1 to 10,000 rows"),
        ({"rows": 10_001}, "1 to 10,000 rows"),
        ({"rows": True}, "1 to 10,000 rows"),
        ({"rows": 29}, "one label for each row"),
        ({"features": []}, "1 to 1,000 columns"),
        ({"features": 7}, "no columns"),
        ({"features": [7]}, "a column is no object"),
        ({"features": [{"name": "x" * 201}]}, "no name"),
        ({"source": "elsewhere"}, "unknown"),
        ({"source": ["training"]}, "unknown"),
        ({"prediction": {"name": "prediction", "labels": [7], "codes": []}}, "labels that are none"),
        ({"prediction": {"name": "p", "labels": ["x" * 101], "codes": []}}, "labels that are none"),
        ({"prediction": {"name": "p", "labels": ["x"], "codes": [1] * 30}}, "one label for each row"),
        (
            {"prediction": {"name": "p", "labels": ["x"], "codes": [0] * 30, "numbers": [1e308] * 30}},
            "one number",
        ),
        (
            {"prediction": {"name": "p", "labels": ["x"], "codes": [0] * 30, "numbers": [10**400] * 30}},
            "one number",
        ),
        ({"prediction": {"name": "p", "labels": [], "codes": [None] * 30, "numbers": []}}, "unknown kind"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_forged_file_is_refused_with_the_cause(written: Path, changes: dict[str, Any], cause: str) -> None:
    rewrite(written, **changes)
    with pytest.raises(BaselineError, match=cause):
        read_baseline(written)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[" * 100_000, b'{"rows": NaN}', b"\xff", b"1" * 5000, b"null"],
    ids=lambda p: repr(p[:9]),
)
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, payload: bytes) -> None:
    write_payload(tmp_path / "baseline", payload)
    with pytest.raises(BaselineError, match="cannot be used"):
        read_baseline(tmp_path / "baseline")


def test_a_flipped_byte_or_a_cut_end_is_damage(written: Path) -> None:
    content = written.read_bytes()
    for damaged in (content[:-1], content[:200] + b"X" + content[201:], content.replace(b"age", b"aga", 1)):
        written.write_bytes(damaged)
        with pytest.raises(BaselineError, match="it is damaged"):
            read_baseline(written)


def test_links_pipes_and_large_files_are_not_read(written: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(written)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path / "none", tmp_path):
        with pytest.raises(BaselineError, match="there is no baseline file"):
            read_baseline(path)
    os.truncate(written, MAX_FILE_BYTES + 1)
    with pytest.raises(BaselineError, match="more than 32 MiB"):
        read_baseline(written)


def test_another_version_is_told_apart_from_damage(written: Path) -> None:
    written.write_bytes(written.read_bytes().replace(b" 1 ", b" 2 ", 1))
    with pytest.raises(BaselineError, match="another version"):
        read_baseline(written)


@given(content=st.dictionaries(st.sampled_from(["rows", "features", "prediction", "source"]), ANY_JSON))
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_baseline_or_a_clear_error(content: dict[str, Any]) -> None:
    try:
        assert isinstance(parse_payload(json.dumps(content).encode()), DriftBaseline)
    except BaselineError as error:
        assert "make it again" in str(error)
