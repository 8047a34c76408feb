"""What a worker said about a row, as what a user gets: the prediction with who made it, or a problem."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from common.problems import Problem
from common.text import make_storable
from ml.serving.protocol import PredictionJson

PREFIX = b'{"prediction":'
MAX_VALUES_BYTES = 1 << 20  # of predictions that are made into values
MAX_MESSAGE, MAX_NAME = 2000, 100  # characters of an error's text and of its type


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


class ModelFault(Problem):
    """The model gave no prediction, and its worker says why."""


def labelled(prediction: PredictionJson, label: Label) -> list[bytes]:
    """`{"prediction": …, "model": …, "release": …, "commit": …}`, in pieces when it is large.

    A prediction is one JSON value, which is looked at where it comes in: it cannot name another release.
    Keep it until its pieces are sent: what waits for clients is counted by it.
    """
    if isinstance(prediction, bytes):
        return [PREFIX + prediction + label.ending]
    return [PREFIX, *prediction.pieces, label.ending]


def values(predictions: Sequence[PredictionJson]) -> list[Any]:
    """Predictions as Python's values; raises `Problem` when they are too many, or beyond what that holds."""
    if sum(map(size, predictions)) > MAX_VALUES_BYTES:
        detail = (
            f"Its predictions have more than {MAX_VALUES_BYTES:,} bytes as JSON: too many to take apart. "
            "POST /predict gives one row's prediction as it is, up to 4 MiB."
        )
        raise Problem(413, "The answer is too large", detail)
    try:
        return [msgspec.json.decode(whole(prediction)) for prediction in predictions]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        detail = f"It is JSON that cannot be read here: {error}. POST /predict gives it as it is."
        raise Problem(500, "The prediction cannot be read", detail) from error


def whole(prediction: PredictionJson) -> bytes:
    return prediction if isinstance(prediction, bytes) else b"".join(prediction.pieces)


def size(prediction: PredictionJson) -> int:
    return len(prediction) if isinstance(prediction, bytes) else prediction.size


def fault(payload: bytes, label: Label) -> Problem:
    """Why a worker gave no prediction, told to whom it concerns."""
    try:
        said = json.loads(payload)  # msgspec does not take half a character, which an error's text may have
    except (ValueError, RecursionError):
        said = None
    return signed(told(said if isinstance(said, dict) else {}, label), label)


def signed(problem: Problem, label: Label) -> Problem:
    """A problem that says whose it is, unless it does already."""
    problem.headers.setdefault("X-Slipway-Release", str(label.release))
    who = {"model": label.model, "release": label.release, "commit": label.commit}
    problem.extra = {**who, **problem.extra}
    return problem


def told(said: dict[str, Any], label: Label) -> Problem:
    if "invalid" in said:
        detail = text(said["invalid"], MAX_MESSAGE)
        return ModelFault(422, "These features do not fit the model", detail)
    if "unreadable" in said:
        detail = f"The model's Python cannot read these features: {text(said['unreadable'], MAX_MESSAGE)}"
        return ModelFault(400, "The features cannot be read", detail)
    error = said.get("error")
    error = error if isinstance(error, dict) else {}
    kind, message = text(error.get("type"), MAX_NAME) or "Unknown", text(error.get("message"), MAX_MESSAGE)
    detail = f"predict() raised {kind}{': ' if message else ''}{message}. The log of {label} has the details."
    return ModelFault(500, "The model failed", detail, error=kind)


def text(said: Any, limit: int) -> str:
    """What a worker wrote, where it is a text at all."""
    return make_storable(said, limit) if isinstance(said, str) else ""
