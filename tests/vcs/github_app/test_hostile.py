"""What a model says in a check run: it stays text, stays in bounds, and names no file elsewhere."""

import uuid
from typing import Any

import pytest

from db.vcs_models import OutboxSubject
from resources.demo.github.check_runs import find_invalid
from tests.vcs.outbox.test_comment import HOSTILE, facts, outline
from vcs.outbox.check_run import MAX_OUTPUT_BYTES, CheckRunWriter, to_annotation
from vcs.outbox.comment import render_report

WRITER = CheckRunWriter(None, lambda url: url)  # type: ignore[arg-type]


def describe(text: str, annotations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    document = {
        "state": "failure",
        "commit": "a" * 40,
        "model": "iris",
        "check": 41,
        "summary": text,
        "metrics": [{"name": text, "candidate": text, "live": None, "rule": text, "is_met": False}] * 200,
        "changes": {"changed": 1, "compared": 2, "source": text, "worst": [{"row": 1, "live": text}] * 99},
        "stages": [{"name": text, "seconds": 1e308, "outcome": text}] * 99,
        "log": [text] * 60,
        "changed_rules": [text] * 99,
        "annotations": annotations or [],
    }
    return WRITER.describe(OutboxSubject(id=uuid.uuid4(), repository="a/b", facts=document))


@pytest.mark.parametrize("text", [*HOSTILE, "", " ", "\n", "é€😀" * 30_000, "\ud800"])
def test_github_takes_a_check_run_whatever_a_model_says(text: str) -> None:
    body = describe(text, [{"path": "main.py", "line": 3, "message": text}] * 99)

    assert find_invalid(body) is None
    assert len(body["output"]["summary"].encode()) <= MAX_OUTPUT_BYTES
    assert len(body["output"]["title"]) <= 140
    assert body["output"]["title"].isprintable()
    assert len(body["output"]["annotations"]) == 50


@pytest.mark.parametrize("text", HOSTILE)
def test_its_markdown_is_text(text: str) -> None:
    shape, found = (
        outline(
            render_report(facts(said), lambda path: f"https://models.example.com{path}", MAX_OUTPUT_BYTES)
        )
        for said in ("harmless", text)
    )
    assert (found.tags, found.links) == (shape.tags, shape.links)
    assert [part.strip() for part in found.loose] == [part.strip() for part in shape.loose]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/passwd", 1),
        ("../main.py", 1),
        ("shop/../../main.py", 1),
        ("", 1),
        (".", 1),
        ("main.py\n", 1),
        ("\u202emain.py", 1),
        ("a" * 500, 1),
        ("main.py", 0),
        ("main.py", -1),
        ("main.py", 2**31),
    ],
)
def test_no_other_path_is_sent(path: str, line: int) -> None:
    assert to_annotation({"path": path, "line": line, "message": "x"}) is None


def test_a_report_without_anything_is_a_sentence() -> None:
    assert render_report({"summary": "it waits"}, lambda _: None, 100) == "`it waits`"
