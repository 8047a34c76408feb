"""The quality process answers a bounded request as JSON, and a bad one with a sentence."""

import json
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ml.monitor.drift.request import RequestError
from ml.monitor.install import install
from ml.monitor.quality.process import answer_request
from ml.monitor.quality_run import PROGRAM

HEADER = {"version": 1, "releases": {"7": "regression"}}
ROW = {"release": 7, "call": "a", "answer": 1, "truth": 1}


def to_request(lines: Sequence[Any]) -> bytes:
    return b"\n".join(line.encode() if isinstance(line, str) else json.dumps(line).encode() for line in lines)


def run(
    request: bytes, *arguments: str, memory: int | None = None, python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    """Run the process on a request, under a lower limit of memory where one is given."""
    limit = ["prlimit", f"--as={memory}"] if memory else []
    command = [*limit, python, "-I", str(PROGRAM), *arguments]
    return subprocess.run(command, input=request, capture_output=True, check=False, cwd="/")


def test_each_release_is_measured_as_its_kind() -> None:
    lines: list[Any] = [
        {"version": 1, "releases": {"7": "regression", "8": "classification", "9": "generic"}}
    ]
    for number in range(60):
        call = {"call": str(number), "at": None}
        lines += [
            {**call, "release": 7, "answer": number, "truth": number + 1},
            {**call, "release": 8, "answer": "a", "truth": "b"},
            {**call, "release": 9, "answer": {}, "truth": {}},
        ]
    found = json.loads(run(to_request(lines)).stdout)["releases"]
    assert found["7"]["metrics"]["mae"]["value"] == 1
    assert found["8"]["metrics"]["accuracy"]["value"] == 0
    assert (found["9"]["metrics"], "generic" in found["9"]["reason"]) == ({}, True)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "line 1 of the request: it has to be an object with version 1"),
        ([{"version": 1}], "line 1 of the request: releases has to have one to 20 numbers"),
        ([{"version": 1, "releases": {"x": "regression"}}], "releases has to have one to 20 numbers"),
        ([{"version": 1, "releases": {"²": "regression"}}], "releases has to have one to 20 numbers"),
        ([{"version": 1, "releases": {"7": "magic"}}], "releases has to have one to 20 numbers"),
        ([{**HEADER, "seed": -1}], "seed has to be an integer"),
        ([HEADER, "[" * 5000], "line 2 of the request: it is no JSON"),
        ([HEADER, {}], "a row is an object with release, call, answer, truth and at"),
        ([HEADER, {**ROW, "release": 8}], "its release is not among those in line 1"),
        ([HEADER, {**ROW, "release": "7"}], "release has to be a number"),
        ([HEADER, {**ROW, "call": ""}], "call has to be a text"),
        ([HEADER, {**ROW, "at": 7}], "at has to be a time as text"),
        ([HEADER, *[json.dumps(ROW)] * 50_001], "50,000 rows: send fewer rows"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(lines: list[Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence.replace("²", ".")):
        answer_request(BytesIO(to_request(lines)))


def test_the_process_ends_with_one_sentence() -> None:
    ended = run(b"{")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.decode() == "no quality was measured: line 1 of the request: it is no JSON\n"
    assert run(b"", "/none").stderr.decode() == (
        "no quality was measured: No such file or directory: /none\n"
    )


def test_what_needs_too_much_memory_ends_with_a_sentence() -> None:
    row = {**ROW, "answer": [{}] * 1_000_000}
    ended = run(to_request([HEADER, *[row] * 8]), memory=1 << 28)
    sentence = "no quality was measured: it needs more memory than it may use; send fewer rows\n"
    assert (ended.returncode, ended.stderr.decode()) == (1, sentence)


def test_it_runs_in_the_environment_of_the_monitor(tmp_path: Path) -> None:
    python = install(tmp_path / "monitor" / "environment").python
    rows = [{**ROW, "call": str(number), "truth": number} for number in range(60)]
    ended = run(to_request([HEADER, *rows]), python=str(python))
    assert json.loads(ended.stdout)["releases"]["7"]["metrics"]["rmse"]["low"] > 0, ended.stderr


def test_a_request_that_has_too_few_rows_loads_no_numpy() -> None:
    code = (
        "import io, sys; from ml.monitor.quality.process import answer_request;"
        f"answer_request(io.BytesIO({to_request([HEADER, ROW])!r}));"
        "assert not {'numpy', 'scipy', 'sklearn', 'sqlalchemy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
