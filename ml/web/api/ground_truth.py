"""The calls by which the true values of predictions are stored, and read with what they replaced."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from common.system.threads import run_in_thread
from common.web.bodies import read_body
from db import ground_truth
from db.ground_truth_models import GroundTruth
from ml.record_section import RecordSection
from ml.serving.ground_truth.items import MAX_ITEMS, Source
from ml.serving.ground_truth.store import GroundTruthStore
from ml.serving.registry import ModelRegistry
from ml.serving.request_log.log import RequestLog
from ml.web.api.openapi_operations import INTEGER, STRING
from ml.web.operator_request import get_content_type

MAX_BODY_BYTES = 8 << 20
CONCURRENT_CALLS = 4  # each is in memory with all its values
DEFAULT_PROBLEMS = 100  # that are listed, where a call names no other number
ITEM_SCHEMA = {
    "type": "object",
    "required": ["prediction", "value"],
    "additionalProperties": False,
    "properties": {
        "prediction": {**STRING, "minLength": 1, "maxLength": 100},
        "value": {},
        "row": {**INTEGER, "minimum": 0, "maximum": 2**31 - 1},
        "at": {**STRING, "format": "date-time"},
        "source": {"enum": list(get_args(Source))},
    },
}
OPENAPI = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "maxItems": MAX_ITEMS, "items": ITEM_SCHEMA},
                "example": [{"prediction": "0197…", "value": 12.5}],
            },
            "text/csv": {"schema": STRING, "example": "prediction,value\n0197…,12.5\n"},
        },
    }
}


def create_operator_router(
    registry: ModelRegistry, sessions: sessionmaker[Session], log: RequestLog
) -> APIRouter:
    router, store = APIRouter(tags=["operators"]), GroundTruthStore(sessions, log)
    free = asyncio.Semaphore(CONCURRENT_CALLS)

    @router.post(
        "/models/{name}/ground-truth", summary="Store the true values of predictions", openapi_extra=OPENAPI
    )
    async def add(
        name: str,
        request: Request,
        invalid: Literal["refuse", "skip"] = "refuse",
        problems: Annotated[int, Query(ge=0, le=MAX_ITEMS)] = DEFAULT_PROBLEMS,
    ) -> dict[str, Any]:
        """Store up to 10,000 values, as JSON or CSV; a later value of a row replaces the earlier one.

        With a wrong value nothing is stored, or with `invalid=skip` the others. Safe to repeat.
        """
        served = registry.find(name)
        live, is_table = served.live, is_csv(request)
        async with free:
            report = await run_in_thread(
                store.store,
                served.model.name,
                await read_body(request, MAX_BODY_BYTES),
                live.record if live else RecordSection(),
                live.release.kind if live else None,
                is_csv=is_table,
                skip_invalid=invalid == "skip",
            )
        return report.to_document(problems)

    @router.get("/models/{name}/ground-truth/{prediction}", summary="The true values of a prediction")
    def read(name: str, prediction: str) -> dict[str, Any]:
        """Return the value of each row of a call, with those that it replaced, newest first."""
        model = registry.find(name).model.name
        if (call := log.find_id(model, prediction)) is None:
            detail = f"{prediction[:100]!r} is no id of a prediction of {model}."
            raise ProblemError(404, "No such prediction", detail)
        with sessions.begin() as session:
            rows = [serialize_value(one) for one in ground_truth.list_values(session, model, call.uuid)]
        return {"model": model, "prediction": str(call.uuid), "rows": rows}

    return router


def is_csv(request: Request) -> bool:
    """Return whether a body is CSV, and not JSON; raises `ProblemError` when it is neither."""
    kind = get_content_type(request)
    if kind not in ("application/json", "text/csv"):
        detail = "The body has to be JSON or CSV and say so: `Content-Type: application/json` or `text/csv`."
        raise ProblemError(415, "The body is neither JSON nor CSV", detail)
    return kind == "text/csv"


def serialize_value(one: GroundTruth) -> dict[str, Any]:
    return {
        "row": one.row,
        "value": one.value,
        "source": one.source,
        "observed_at": format_time(one.observed_at),
        "stored_at": format_time(one.stored_at),
        "is_early": one.is_early,
        "earlier": one.earlier,
    }


def format_time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
