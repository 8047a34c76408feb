"""What a worker said about a row, as what a user gets: the prediction with who made it, or a problem."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from common.problems import Problem


@dataclass(frozen=True)
class Label:
    """Who made a prediction."""

    model: str
    release: int
    commit: str

    def __str__(self) -> str:
        return f"release {self.release} of {self.model}"

    @cached_property
    def ending(self) -> bytes:
        """Closes the object that a row's answer is, with the label in it."""
        named = {"model": self.model, "release": self.release, "commit": self.commit}
        return b"," + msgspec.json.encode(named)[1:]

    @cached_property
    def header(self) -> bytes:
        return b"%d" % self.release


def labelled(row: bytes, label: Label) -> bytes:
    """`{"prediction": …, "model": …, "release": …, "commit": …}`; raises `Problem` when there is none."""
    if row.startswith(b'{"prediction":'):
        return row[:-1] + label.ending
    raise fault(row, label)


def fault(row: bytes, label: Label) -> Problem:
    """Why a worker gave no prediction, told to whom it concerns."""
    try:
        said: dict[str, Any] = msgspec.json.decode(row, type=dict)
    except (msgspec.MsgspecError, ValueError):
        said = {}
    return signed(told(said, label), label)


def signed(problem: Problem, label: Label) -> Problem:
    """A problem that says whose it is, unless it does already."""
    problem.headers.setdefault("X-Slipway-Release", str(label.release))
    who = {"model": label.model, "release": label.release, "commit": label.commit}
    problem.extra = {**who, **problem.extra}
    return problem


def told(said: dict[str, Any], label: Label) -> Problem:
    if "invalid" in said:
        return Problem(422, "These features do not fit the model", str(said["invalid"]))
    if "unreadable" in said:
        detail = f"The model's Python cannot read these features: {said['unreadable']}"
        return Problem(400, "The features cannot be read", detail)
    error = said.get("error")
    error = error if isinstance(error, dict) else {}
    kind, message = str(error.get("type", "Unknown")), str(error.get("message", ""))
    detail = f"predict() raised {kind}{': ' if message else ''}{message}. The log of {label} has the details."
    return Problem(500, "The model failed", detail, error=kind)
