"""A model's recorded requests with ground truth, as a file that it is trained on."""

import csv
import json
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError
from db import request_log
from ml.manifest import DataSection
from ml.sources.recorded.source import RecordedPeriod, RecordedRows
from ml.stage_log import discard
from tests.harness.recorded import label, make_row, record, record_labelled
from tests.ml.retraining.support import make_live

Sessions = sessionmaker[Session]
ADDRESS = "slipway://recorded?days=30"
MAX_BYTES = 1 << 30


def rows_of(sessions: Sessions, source: Path, model: str = "m", **section: Any) -> RecordedRows:
    named = DataSection.model_validate({"train": ADDRESS, **section})
    return RecordedRows(sessions, model, named, "left", source)


def write(rows: RecordedRows, name: str, folder: Path) -> list[dict[str, str]]:
    file, _ = rows.write(name, folder, MAX_BYTES, discard)
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def pairs(numbers: Iterable[int]) -> list[tuple[dict[str, Any], int]]:
    return [({"age": number, "name": f"n{number}"}, number % 2) for number in numbers]


def ages(rows: list[dict[str, str]]) -> list[int]:
    return [int(row["age"]) for row in rows]


def test_the_newest_fifth_is_what_it_is_judged_by(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *pairs(range(100)))
    rows = rows_of(sessions, tmp_path)

    assert ages(write(rows, "train", tmp_path / "data")) == list(range(80))
    found = write(rows, "test", tmp_path / "data")
    assert ages(found) == list(range(80, 100))
    assert found[1] == {"age": "81", "name": "n81", "left": "1"}


def test_only_its_own_answered_whole_rows_with_truth_count(sessions: Sessions, tmp_path: Path) -> None:
    wanted = record_labelled(sessions, "m", *pairs(range(100)))
    record_labelled(sessions, "other", *pairs(range(900, 999)))
    record_labelled(sessions, "m", *pairs(range(200, 220)), is_whole=False)
    record_labelled(sessions, "m", *pairs(range(300, 320)), error="ValueError", answer=None)
    record(sessions, "m", *(features for features, _ in pairs(range(400, 420))))
    guessed = record(sessions, "m", *(features for features, _ in pairs(range(500, 520))))
    label(sessions, "m", guessed, [0] * 20, source="model")
    foreign = record(sessions, "m", *(features for features, _ in pairs(range(600, 620))))
    label(sessions, "other", foreign, [0] * 20)
    rows = rows_of(sessions, tmp_path)
    found = [*write(rows, "train", tmp_path / "data"), *write(rows, "test", tmp_path / "data")]
    assert ages(found) == list(range(len(wanted)))


def test_the_same_rows_are_the_same_bytes(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *pairs(range(100)))
    files = [
        rows_of(sessions, tmp_path).write("train", tmp_path / folder, MAX_BYTES, discard)[0]
        for folder in ("one", "two")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_rows_of_one_call_are_not_divided(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *pairs(range(70)))
    [call] = record(sessions, "m", {"age": 70})
    others = [
        make_row("m", {"age": 70 + number}, at=time_of(call), id=call, row=number) for number in range(1, 40)
    ]
    with sessions.begin() as session:
        request_log.record_batch(session, others)
    for number in range(40):
        label(sessions, "m", [call], [1], row=number)

    rows = rows_of(sessions, tmp_path)
    assert ages(write(rows, "train", tmp_path / "data")) == list(range(70))
    assert ages(write(rows, "test", tmp_path / "data")) == list(range(70, 110))


def time_of(call: str) -> datetime:
    return request_log.read_id_time(uuid.UUID(call))


def test_test_rows_are_newer_than_those_live_was_trained_on(sessions: Sessions, tmp_path: Path) -> None:
    ids = record_labelled(sessions, "m", *pairs(range(200)))
    trained_until(sessions, ids[170])
    rows = rows_of(sessions, tmp_path)
    assert ages(write(rows, "test", tmp_path / "data"))[0] == 171
    assert ages(write(rows, "train", tmp_path / "data"))[-1] == 170


def test_what_live_began_from_counts_as_well(sessions: Sessions, tmp_path: Path) -> None:
    ids = record_labelled(sessions, "m", *pairs(range(200)))
    parent = trained_until(sessions, ids[175])
    trained_until(sessions, ids[100], warm_start=parent)
    assert ages(write(rows_of(sessions, tmp_path), "test", tmp_path / "data"))[0] == 176


def trained_until(sessions: Sessions, call: str, **facts: Any) -> int:
    at = time_of(call).isoformat()
    period = {"begin": at, "end": at, "rows": 1, "read_at": at}
    return make_live(sessions, data={"train": {"sha256": "", "recorded": period}}, **facts)


@pytest.mark.parametrize("count", [0, 99])
def test_too_few_rows_are_rejected_with_their_number(sessions: Sessions, tmp_path: Path, count: int) -> None:
    record_labelled(sessions, "m", *pairs(range(count))) if count else None
    with pytest.raises(RejectedError, match=f"{count} rows since .* and 100 are needed"):
        _ = rows_of(sessions, tmp_path).split


def test_nothing_new_since_live_cannot_be_judged(sessions: Sessions, tmp_path: Path) -> None:
    ids = record_labelled(sessions, "m", *pairs(range(100)))
    trained_until(sessions, ids[95])
    with pytest.raises(RejectedError, match="4 rows with ground truth are newer"):
        _ = rows_of(sessions, tmp_path).split


def test_the_usual_file_names_the_columns(sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("left,name,number,age\n0,a,1,2\n")
    record_labelled(sessions, "m", *(({**one, "extra": 1}, value) for one, value in pairs(range(100))))
    file, _ = rows_of(sessions, tmp_path).write("train", tmp_path / "out", MAX_BYTES, discard)
    assert file.read_text().splitlines()[:2] == ["left,name,number,age", "0,n0,,0"]


HOSTILE = [
    {"age": "DROP TABLE"},
    {"age": [1]},
    {"age": {"a": 1}},
    [1, 2],
    7,
    {"age": int("9" * 400)},
    {"age": True},
    {"left": 7, "age": 1},
    {"age": 2**70},
    {"age": None, "name": 'a"b\n,c'},
]


def test_hostile_rows_do_not_change_what_others_are(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *((features, 1) for features in HOSTILE), *pairs(range(390)))
    record_labelled(sessions, "m", *(({"age": 1, "name": "a"}, value) for value in ([1], None, "yes", 0)))
    rows = rows_of(sessions, tmp_path)
    found = write(rows, "train", tmp_path / "data")
    assert list(found[0]) == ["age", "name", "left"]
    assert [row["age"] for row in found[:4]] == ["1", "1.1805916207174113e+21", "", "0"]
    assert found[2]["name"] == 'a"b\n,c'
    assert {row["left"] for row in [*found, *write(rows, "test", tmp_path / "data")]} == {"0", "1"}


def test_names_without_end_are_no_columns(sessions: Sessions, tmp_path: Path) -> None:
    wide = [({f"x{call}-{number}": 1 for number in range(2000)}, 1) for call in range(3)]
    record_labelled(sessions, "m", *wide, *pairs(range(100)))
    found = write(rows_of(sessions, tmp_path), "train", tmp_path / "data")
    assert len(found[0]) == 1000
    assert {"age", "name", "left"} <= found[0].keys()


def test_features_without_names_are_json(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *((number, {"a": [2**70]}) for number in range(100)))
    with pytest.raises(RejectedError, match='format = "json"'):
        rows_of(sessions, tmp_path).write("train", tmp_path / "data", MAX_BYTES, discard)
    rows = rows_of(sessions, tmp_path, format="json")
    file, period = rows.write("test", tmp_path / "data", MAX_BYTES, discard)
    assert json.loads(file.read_text())[0] == {"features": 80, "left": {"a": [float(2**70)]}}
    assert period.rows == 20


def test_a_file_has_its_bound_of_bytes(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *(({"age": "x" * 100}, 1) for _ in range(2000)))
    with pytest.raises(RejectedError, match="SLIPWAY_DATA_LIMIT"):
        rows_of(sessions, tmp_path).write("train", tmp_path / "data", 50_000, discard)
    assert list((tmp_path / "data").glob("*.rows")) == []


def test_rows_are_new_data_once_there_are_enough(sessions: Sessions, tmp_path: Path) -> None:
    record_labelled(sessions, "m", *pairs(range(100)))
    rows = rows_of(sessions, tmp_path)
    _, used = rows.write("train", tmp_path / "data", MAX_BYTES, discard)

    steps = []
    for count in (99, 1, 99, 1):
        record_labelled(sessions, "m", *pairs(range(count)))
        steps.append(rows_of(sessions, tmp_path).find_growth(used).step)
    assert steps == [0, 1, 1, 2]
    many = RecordedPeriod(used.begin, used.end, 5000, used.read_at)
    assert rows_of(sessions, tmp_path).find_growth(many).step == 0
