"""The drift process answers a bounded request as JSON, and a bad one with a sentence."""

import json
import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.monitor.drift.baseline import BaselineError, make_baseline
from ml.monitor.drift.baseline_file import write_baseline
from ml.monitor.drift.process import answer_request
from ml.monitor.drift.request import RequestError
from ml.monitor.install import DRIFT_PROGRAM, drift_command, install
from ml.monitor.limited_process import NICENESS
from tests.ml.monitor.worlds import Change, World, predict

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = World(np.random.default_rng(1)).rows(2000)
    path = tmp_path_factory.mktemp("drift") / "baseline"
    write_baseline(make_baseline(rows, [predict(row) for row in rows]), path)
    return path


def make_request(baseline: Path, change: Change = Change.NONE, begin: float = 0.0, **header: Any) -> bytes:
    rows = World(np.random.default_rng(int(begin) + 2), change).rows(600)
    lines: list[Any] = [{"version": 1, "baseline": str(baseline)} | header]
    for place, row in enumerate(rows):
        lines.append({"call": str(place), "at": begin + place, "features": row, "prediction": predict(row)})
    return b"\n".join(json.dumps(line).encode() for line in lines)


def run(
    request: bytes, *arguments: str, command: list[str] | None = None, memory: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the process on a request, under a lower limit of memory where one is given."""
    limit = ["prlimit", f"--as={memory}"] if memory else []
    command = [*limit, *(command or [sys.executable, "-I", str(DRIFT_PROGRAM)]), *arguments]
    return subprocess.run(command, input=request, capture_output=True, check=False, cwd="/")


def test_drift_is_found_over_two_requests(baseline: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "thresholds")
    first = json.loads(run(make_request(baseline, Change.SCALE, cache=cache)).stdout)
    assert [window["status"] for window in first["windows"]] == ["suspected", "suspected"]
    assert first["baseline"]["source"] == "training"

    stored = Path(cache).stat().st_mtime_ns
    request = make_request(baseline, Change.SCALE, 1000.0, cache=cache, suspicion=first["suspicion"])
    (tmp_path / "request").write_bytes(request)
    second = json.loads(run(b"", str(tmp_path / "request")).stdout)
    newest = second["windows"][0]
    assert (newest["window"], newest["status"]) == ("newest", "drift")
    assert {column["name"] for column in newest["columns"] if column["status"] == "drift"} == {
        "weight",
        "prediction",
    }
    assert Path(cache).stat().st_mtime_ns == stored  # the same thresholds again


def test_the_same_request_has_the_same_answer(baseline: Path) -> None:
    assert answer_request(BytesIO(make_request(baseline))) == answer_request(BytesIO(make_request(baseline)))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "line 1 of the request: it has to be an object with version 1"),
        (["{"], "line 1 of the request: it is no JSON"),
        (['{"version": 2}'], "line 1 of the request: it has to be an object with version 1"),
        (['{"version": 1}'], "baseline has to be the path of a file"),
        (['{"version": 1, "baseline": "a\\u0000b"}'], "baseline has to be the path of a file"),
        (
            ['{"version": 1, "baseline": "/none"}'],
            "there is no baseline file none: make it again from the release",
        ),
        (['{"version": 1, "baseline": "BASELINE", "seed": "x"}'], "seed has to be an integer"),
        (['{"version": 1, "baseline": "BASELINE", "now": NaN}'], "now a time in seconds"),
        (
            ['{"version": 1, "baseline": "BASELINE", "suspicion": {"newest": 7}}'],
            "suspicion has to be that of the last",
        ),
        (
            ['{"version": 1, "baseline": "BASELINE", "suspicion": {"x": {}}}'],
            "suspicion has to be that of the last",
        ),
        (['{"version": 1, "baseline": "BASELINE"}', "7"], "line 2 of the request: a row is an object"),
        (
            ['{"version": 1, "baseline": "BASELINE"}', '{"features": 1, "at": 1}'],
            "line 2 of the request: call has to be",
        ),
        (
            ['{"version": 1, "baseline": "BASELINE"}', '{"features": 1, "call": "a", "at": "x"}'],
            "at has to be a time",
        ),
        (['{"version": 1, "baseline": "BASELINE"}', "[" * 100_000], "line 2 of the request: it is no JSON"),
        (
            ['{"version": 1, "baseline": "BASELINE"}', " " * (5 << 20)],
            "line 2 of the request: it has more than 4 MiB",
        ),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_bad_request_is_answered_with_a_sentence(baseline: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises((RequestError, BaselineError), match=re.escape(sentence)):
        answer_request(BytesIO("\n".join(lines).replace("BASELINE", str(baseline)).encode()))


@pytest.mark.parametrize(
    ("request_file", "sentence"),
    [
        ((), "line 1 of the request: it has to be an object with version 1"),
        (("/none/request",), "No such file or directory: /none/request"),
    ],
)
def test_the_process_ends_with_one_sentence(request_file: tuple[str, ...], sentence: str) -> None:
    ended = run(b"", *request_file)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.decode() == f"no drift was measured: {sentence}\n"


def test_too_many_rows_are_refused(baseline: Path) -> None:
    header = json.dumps({"version": 1, "baseline": str(baseline)}).encode()
    row = b'{"call": "a", "at": 1, "features": 1}'
    with pytest.raises(RequestError, match="50,000 rows: send fewer rows"):
        answer_request(BytesIO(b"\n".join([header, *[row] * 50_001])))


def test_what_needs_too_much_memory_ends_with_a_sentence(baseline: Path) -> None:
    row = (
        b'{"call": "a", "at": 1, "features": [' + b"{}," * 1_300_000 + b"1]}\n"
    )  # 90 MB each when it is read
    request = json.dumps({"version": 1, "baseline": str(baseline)}).encode() + b"\n" + row * 8
    ended = run(request, memory=1 << 28)
    sentence = "no drift was measured: it needs more memory than it may use; send fewer rows\n"
    assert (ended.returncode, ended.stderr.decode()) == (1, sentence)


def test_it_gives_way_to_others(baseline: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stdin, os.fdopen(read_end, "rb") as request:
        process = subprocess.Popen(
            [sys.executable, "-I", str(DRIFT_PROGRAM)], stdin=request, stdout=subprocess.PIPE
        )
        stdin.write(make_request(baseline)[:100_000])  # more than a pipe holds: it is reading
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= NICENESS
    process.communicate()


def test_no_service_is_imported() -> None:
    """The environment of the monitor has numpy and scipy alone."""
    program = "import sys; from ml.monitor.drift import judge, process; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in found.stdout.split()}
    assert {"ml", "common", "numpy", "scipy"} <= imported
    assert imported & {"fastapi", "sqlalchemy", "pydantic", "loguru", "db", "httpx", "psycopg2"} == set()


def test_it_runs_in_the_environment_of_the_monitor(baseline: Path, tmp_path: Path) -> None:
    environment = install(tmp_path / "monitor" / "environment")
    answer = json.loads(run(make_request(baseline), command=drift_command(environment)).stdout)
    assert [window["status"] for window in answer["windows"]] == ["same", "same"]
