"""Predictions: rows in, each row's answer out as JSON; an error of one row affects no other row."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import repository
from .declared_schema import parse_declared_schema
from .errors import call_model
from .mismatch import FeatureValidationError
from .schema import ANY_FEATURES, FeatureSchema, learn_schema
from .to_json import NotSerializableError, to_json_value

MAX_PREDICTION_BYTES = 4 << 20  # bytes of a prediction
MAX_ERRORS_BYTES = 6 << 10  # as JSON
PREDICTION_PREFIX = '{"prediction":'
find_surrogate = re.compile("[\ud800-\udfff]").search
encode_unicode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass
class LoadedModel:
    """A loaded model with the schema of its features and its predict functions."""

    loaded: Any  # the result of load(), else the trained bytes
    feature_schema: FeatureSchema
    predict: Callable[[Any, Any], Any]
    predict_batch: Callable[[Any, list[Any]], Any] | None
    hides_errors: bool = False  # errors may repeat features, of which the log must have none


def prepare_model(given: dict[str, Any]) -> tuple[dict[str, Any], LoadedModel]:
    """Return the handshake for the gateway, and the model; raises `ModelError` when it cannot be loaded."""
    entry_point = repository.load_entry_point(given)
    loaded: Any = Path(given["artifact"]).read_bytes()
    load, batch = find_method(entry_point, "load"), find_method(entry_point, "predict_batch")
    if load is not None:
        loaded = call_model("load()", load, loaded)
    schema = learn_schema(entry_point.predict)
    if schema.schema is None:
        schema = schema_from_info(entry_point)
    handshake = {
        "examples": read_examples(entry_point),
        "schema": schema.schema,
        "batch": batch is not None,
        "load": load is not None,
    }
    return handshake, LoadedModel(
        loaded, schema, entry_point.predict, batch, hides_errors=bool(given.get("hides_errors"))
    )


def find_method(entry_point: Any, name: str) -> Callable[..., Any] | None:
    found = getattr(entry_point, name, None)
    return found if callable(found) else None


def schema_from_info(entry_point: Any) -> FeatureSchema:
    """Return the schema that info() declares; info() is written for people first, and may raise anything."""
    try:
        return parse_declared_schema(entry_point.info())
    except BaseException:  # noqa: BLE001 (untrusted code)
        traceback.print_exc()
        return ANY_FEATURES


def read_examples(entry_point: Any) -> list[Any] | None:
    """Return the result of the model's optional examples(); anything else of that name is ignored."""
    function = find_method(entry_point, "examples")
    if function is None:
        return None
    try:
        found = to_json_value(function())
    except BaseException:  # noqa: BLE001 (untrusted code)
        traceback.print_exc()
        return None
    return found if isinstance(found, list) and found else None


def predict_row(model: LoadedModel, row: Any) -> str:
    """Return the answer to one row; any error becomes an answer too."""
    try:
        features = model.feature_schema.build(row, "")
    except FeatureValidationError as mismatch:
        return encode_json({"invalid": format_error(mismatch, 2000), "errors": list_field_errors(mismatch)})
    except BaseException as error:  # noqa: BLE001 (a validator of the model's own)
        return encode_json({"invalid": format_error(error)})
    try:
        return encode_prediction(model.predict(model.loaded, features))
    except NotSerializableError as unfit:
        message = f"JSON cannot hold what predict() gave: {format_error(unfit)}"
        return encode_json({"error": {"type": "Unfit", "message": message}})
    except BaseException as error:  # noqa: BLE001 (untrusted code, which may even call sys.exit)
        log_error(error, is_hidden=model.hides_errors)
        return encode_json({"error": {"type": type(error).__name__[:100], "message": format_error(error)}})


def list_field_errors(mismatch: FeatureValidationError) -> list[dict[str, str]]:
    """Return the error of each field, as many as the reply has room for."""
    listed: list[dict[str, str]] = []
    for place, message in mismatch.errors:
        more = {"at": place, "message": message}
        if len(encode_json([*listed, more])) > MAX_ERRORS_BYTES:
            break
        listed.append(more)
    return listed


def predict_batch_or_none(model: LoadedModel, rows: list[Any]) -> list[str] | None:
    """Return the answers to rows by predict_batch(); None when each row has to be predicted alone."""
    if model.predict_batch is None or len(rows) < 2:
        return None
    try:
        features = [model.feature_schema.build(row, "") for row in rows]
        predictions = list(model.predict_batch(model.loaded, features))
        if len(predictions) != len(rows):
            raise ValueError(f"predict_batch() gave {len(predictions)} predictions for {len(rows)} rows")
        answers = [encode_prediction(prediction) for prediction in predictions]
        return answers if sum(map(len, answers)) <= MAX_PREDICTION_BYTES else None
    except (FeatureValidationError, NotSerializableError):
        return None
    except BaseException as error:  # noqa: BLE001 (untrusted code; row by row the failing one is found)
        log_error(error, is_hidden=model.hides_errors)
        return None


def encode_prediction(prediction: Any) -> str:
    plain = to_json_value(prediction, "the prediction")
    encoded = encode_json(plain)
    if len(encoded) > MAX_PREDICTION_BYTES:
        raise NotSerializableError(
            f"the prediction has {len(encoded):,} bytes as JSON, and at most "
            f"{MAX_PREDICTION_BYTES:,} are sent"
        )
    if has_surrogates(plain, encoded):
        raise NotSerializableError("the prediction has a text with half a character (a lone surrogate)")
    return PREDICTION_PREFIX + encoded + "}"


def has_surrogates(plain: Any, encoded: str) -> bool:
    """Return True when a text has half a character: Python's JSON accepts that, and no reader does."""
    return "\\ud" in encoded and bool(find_surrogate(encode_unicode(plain)))


def log_error(error: BaseException, *, is_hidden: bool) -> None:
    """Print an error to the log without Slipway's own frame, which does not concern the model's author.

    Of a hidden one, the text and its causes are left out.
    """
    trace = error.__traceback__ and error.__traceback__.tb_next
    if not is_hidden:
        traceback.print_exception(type(error), error, trace)
        return
    traceback.print_tb(trace)
    sys.stderr.write(f"{type(error).__name__[:100]}: not logged, [record] hides fields\n")


def format_error(error: BaseException, limit: int = 500) -> str:
    try:
        return str(error)[:limit]
    except Exception:  # noqa: BLE001 (a hostile __str__)
        return ""
