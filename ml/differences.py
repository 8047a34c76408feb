"""How a release's predictions differ from the live one's, on what users asked or else on its examples()."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.durable import publish
from db.models import Deployment
from ml import stagelog
from ml.errors import Rejected, Unavailable
from ml.restore import restore
from ml.runner import trees, verb
from ml.runner.verb import Room
from ml.settings import Model, Settings
from ml.stages.train import Artifact

MOST = 200  # rows that are compared
SECONDS = 10.0  # that a model may take over all of them
TIMEOUT = 60.0  # seconds, with loading the model
WORST = 5  # rows that are kept to be shown
SHOWN = 2000  # characters of a value that is shown
DEEPEST = 50  # lists in lists that are looked into
NEAR = {"rel_tol": 1e-9, "abs_tol": 1e-12}  # closer than that, two numbers are one


@dataclass(frozen=True)
class Row:
    """One that changed; values as JSON, cut when they are long."""

    features: str
    live: str
    this: str
    change: float | None  # the largest of its numbers; None where it is no number, or this release failed


@dataclass(frozen=True)
class Differences:
    """Of rows that the live release answered: `changed` counts those too that `failed` in this one."""

    compared_with: int
    inputs: str  # "recorded requests" or "examples"
    compared: int
    changed: int
    failed: int
    mean: float | None  # of the changes that are numbers, over all rows that have numbers
    largest: float | None
    worst: tuple[Row, ...]

    @property
    def share(self) -> float:
        return self.changed / self.compared

    @property
    def said(self) -> str:
        """`34% of 200 recorded requests`."""
        return f"{100 * self.share:.3g}% of {self.compared} {self.inputs}"

    def document(self) -> dict[str, Any]:
        """As it is kept with the release."""
        return asdict(self) | {"worst": [asdict(row) for row in self.worst], "share": self.share}


@dataclass(frozen=True)
class Release:
    """What can be asked: where its code runs, what it is called, what was trained."""

    room: Room
    entry_point: str
    artifact: Artifact


def from_live(
    live: Deployment | None,
    this: Release,
    requests: Sequence[Any],
    *,
    model: Model,
    settings: Settings,
    into: Path,
    log: Path,
) -> Differences | str:
    """The differences, or in words why there are none; what was answered is kept in `into`.

    Raises `Unavailable` when the live release cannot be brought back now.
    """
    if live is None:
        return "nothing is live whose predictions could be compared"
    try:
        ready = restore(settings, model, live.release, stagelog.to(log))
    except Rejected as fault:  # of this disk, not of the commit that is judged
        raise Unavailable(f"release {live.release_id}, which is live, cannot be asked: {fault}") from fault
    try:
        other = Release(ready.room, ready.entry_point, Artifact(ready.artifact, live.release.artifact or ""))
        requests = keep_requests(requests, into)
        rows, theirs, ours = ask(this, other, requests or None, into, log)
    except Rejected as fault:
        return f"the predictions could not be compared: {fault}"
    inputs = "recorded requests" if requests else "examples"
    found = compare(rows, theirs, ours, live.release_id, inputs)
    if not rows:
        return "no recorded request and no examples() to compare predictions on"
    return (
        found
        if found.compared
        else f"release {live.release_id}, which is live, answered none of the {inputs}"
    )


def keep_requests(requests: Sequence[Any], into: Path) -> list[Any]:
    """What was asked when this was first tried: answers of then may be kept, and users ask on."""
    kept = into / "requests.json"
    if not kept.exists():
        into.mkdir(parents=True, exist_ok=True)
        new = kept.with_name("requests.json.new")
        new.write_text(json.dumps(list(requests)))
        publish(new, kept)
    found: list[Any] = json.loads(kept.read_text())
    return found


def ask(
    this: Release, live: Release, requests: list[Any] | None, into: Path, log: Path
) -> tuple[list[Any], list[Any], list[Any]]:
    """The rows, the live release's answers, this one's; both at the same time where the rows are known."""
    if requests is None:
        rows, ours = replay(this, None, into / "this", log)
        return rows, (replay(live, rows, into / "live", log)[1] if rows else []), ours
    with ThreadPoolExecutor(2) as both:
        one = both.submit(partial(replay, this, requests, into / "this", log))
        other = both.submit(partial(replay, live, requests, into / "live", log))
        rows, theirs = other.result()
        return rows, theirs, one.result()[1]


def replay(release: Release, rows: list[Any] | None, into: Path, log: Path) -> tuple[list[Any], list[Any]]:
    """What a release says to each row, in its own environment; kept in `into`."""
    done = into / "answers.json"
    if not done.exists():
        new = into.with_name(into.name + ".new")
        trees.remove(new)
        question = {
            "entry_point": release.entry_point,
            "artifact": str(release.artifact.path),
            "rows": rows,
            "most": MOST,
            "seconds": SECONDS,
        }
        result = verb.ask("replay", question, room=release.room, folder=new, log=log, timeout=TIMEOUT)
        kept = [result.get("rows"), result.get("answers")]
        if not all(isinstance(part, list) for part in kept):
            raise Rejected("the model wrote something of its own over Slipway's output.json")
        (new / done.name).write_text(json.dumps(kept))
        publish(new, into)
    asked, answers = json.loads(done.read_text())
    return asked[:MOST], answers[:MOST]


def compare(
    rows: Sequence[Any], theirs: Sequence[Any], ours: Sequence[Any], live: int, inputs: str
) -> Differences:
    """Row by row, of those that the live release answered and this one was asked."""
    compared, failed, gaps, changed = 0, 0, list[float](), list[Row]()
    for features, before, after in zip(rows, theirs, ours, strict=False):
        if not answered(before):
            continue
        compared += 1
        gap = gap_of(before["prediction"], after["prediction"]) if answered(after) else math.nan
        failed += not answered(after)
        if not math.isnan(gap):
            gaps.append(gap)
        if gap != 0:
            change = None if math.isnan(gap) else gap
            changed.append(Row(shown(features), shown(before), shown(after), change))
    worst = sorted(changed, key=lambda row: math.inf if row.change is None else row.change, reverse=True)
    return Differences(
        live,
        inputs,
        compared,
        len(changed),
        failed,
        mean(gaps),
        max(gaps, default=None),
        tuple(worst[:WORST]),
    )


def mean(gaps: Sequence[float]) -> float | None:
    found = sum(gap / len(gaps) for gap in gaps)
    return found if gaps and math.isfinite(found) else None


def answered(answer: Any) -> bool:
    return isinstance(answer, dict) and "prediction" in answer


def gap_of(before: Any, after: Any, depth: int = 0) -> float:
    """0 where both are the same, the largest change of a number in them, NaN where they differ otherwise."""
    if depth > DEEPEST:
        return math.nan
    if is_number(before) and is_number(after):
        return distance(before, after)
    pairs: list[tuple[Any, Any]]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(before[name], after[name]) for name in before]
    else:
        return 0.0 if before == after and type(before) is type(after) else math.nan
    gaps = [gap_of(one, other, depth + 1) for one, other in pairs]
    return math.nan if any(map(math.isnan, gaps)) else max(gaps, default=0.0)


def distance(before: float, after: float) -> float:
    """NaN where it is beyond what a float holds: Python's whole numbers have no end."""
    try:
        gap = 0.0 if math.isclose(before, after, **NEAR) else float(abs(after - before))
    except OverflowError:
        return 0.0 if before == after else math.nan
    return gap if math.isfinite(gap) else math.nan


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A prediction or an error, as JSON that fits a table."""
    if isinstance(value, dict) and len(value) == 1 and "prediction" in value:
        value = value["prediction"]
    text = json.dumps(value, ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode()  # half a character is none
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
