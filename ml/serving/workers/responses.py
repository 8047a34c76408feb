"""Conversion of a worker's reply into the response: the prediction with its release, or a problem."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from common.problems import ProblemError
from common.text import make_storable
from ml.serving.workers.wire import PredictionJson

PREDICTION_PREFIX = b'{"prediction":'
MAX_VALUES_BYTES = 1 << 20  # of predictions that are decoded into values
MAX_MESSAGE_CHARS, MAX_NAME_CHARS = 2000, 100  # characters of an error's text and of its type
MAX_FIELD_ERRORS = 20  # fields of one row that are reported


@dataclass(frozen=True)
class Label:
    """The release that made a prediction."""

    model: str
    release: int
    commit: str

    def __str__(self) -> str:
        return f"release {self.release} of {self.model}"

    @cached_property
    def json_suffix(self) -> bytes:
        """The end of the JSON object of a row's answer, with the label in it."""
        named = {"model": self.model, "release": self.release, "commit": self.commit}
        return b"," + msgspec.json.encode(named)[1:]

    @cached_property
    def header(self) -> bytes:
        return b"%d" % self.release


class PredictionError(ProblemError):
    """A model's failure to predict, with the reason that its worker reports."""


def build_success_body(prediction: PredictionJson, label: Label) -> list[bytes]:
    """Return `{"prediction": …, "model": …, "release": …, "commit": …}`, in pieces when it is large.

    A prediction is one JSON value, which is validated on arrival: it cannot name another release.
    Keep a reference to it until its pieces are sent: the response budget is released with it.
    """
    if isinstance(prediction, bytes):
        return [PREDICTION_PREFIX + prediction + label.json_suffix]
    return [PREDICTION_PREFIX, *prediction.pieces, label.json_suffix]


def decode_predictions(predictions: Sequence[PredictionJson]) -> list[Any]:
    """Return predictions as Python values; raises `ProblemError` when they are too large or not decodable."""
    if sum(map(count_bytes, predictions)) > MAX_VALUES_BYTES:
        detail = (
            f"Its predictions have more than {MAX_VALUES_BYTES:,} bytes as JSON: too many to take apart. "
            "POST /predict gives one row's prediction as it is, up to 4 MiB."
        )
        raise ProblemError(413, "The answer is too large", detail)
    try:
        return [msgspec.json.decode(join_pieces(prediction)) for prediction in predictions]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        detail = f"It is JSON that cannot be read here: {error}. POST /predict gives it as it is."
        raise ProblemError(500, "The prediction cannot be read", detail) from error


def join_pieces(prediction: PredictionJson) -> bytes:
    return prediction if isinstance(prediction, bytes) else b"".join(prediction.pieces)


def count_bytes(prediction: PredictionJson) -> int:
    return len(prediction) if isinstance(prediction, bytes) else prediction.size


def to_problem(payload: bytes, label: Label) -> ProblemError:
    """Return the problem for a worker's reply that is no prediction."""
    try:
        reply = json.loads(payload)  # msgspec rejects half a character, which an error's text may have
    except (ValueError, RecursionError):
        reply = None
    return with_release(explain_failure(reply if isinstance(reply, dict) else {}, label), label)


def with_release(problem: ProblemError, label: Label) -> ProblemError:
    """Return the problem with the release that it concerns, unless it names one already."""
    problem.headers.setdefault("X-Slipway-Release", str(label.release))
    who = {"model": label.model, "release": label.release, "commit": label.commit}
    problem.extra = {**who, **problem.extra}
    return problem


def explain_failure(reply: dict[str, Any], label: Label) -> ProblemError:
    if "invalid" in reply:
        detail = sanitize_text(reply["invalid"], MAX_MESSAGE_CHARS)
        return PredictionError(
            422, "These features do not fit the model", detail, **read_field_errors(reply.get("errors"))
        )
    if "unreadable" in reply:
        detail = (
            "The model's Python cannot read these features: "
            f"{sanitize_text(reply['unreadable'], MAX_MESSAGE_CHARS)}"
        )
        return PredictionError(400, "The features cannot be read", detail)
    error = reply.get("error")
    error = error if isinstance(error, dict) else {}
    kind, message = (
        sanitize_text(error.get("type"), MAX_NAME_CHARS) or "Unknown",
        sanitize_text(error.get("message"), MAX_MESSAGE_CHARS),
    )
    detail = f"predict() raised {kind}{': ' if message else ''}{message}. The log of {label} has the details."
    return PredictionError(500, "The model failed", detail, error=kind)


def read_field_errors(errors: Any) -> dict[str, Any]:
    """Return the invalid fields, each with its reason, where the worker reports them."""
    given = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    found = [
        {
            "at": sanitize_text(one.get("at"), MAX_NAME_CHARS),
            "message": sanitize_text(one.get("message"), MAX_MESSAGE_CHARS),
        }
        for one in given[:MAX_FIELD_ERRORS]
    ]
    return {"errors": found} if found else {}


def sanitize_text(value: Any, limit: int) -> str:
    """Return a worker's text, shortened and storable; empty when it is not a text."""
    return make_storable(value, limit) if isinstance(value, str) else ""
