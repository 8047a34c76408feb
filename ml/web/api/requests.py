"""The call by which an operator erases recorded requests and what was copied of them."""

import math
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from loguru import logger
from pydantic import Field, model_validator
from sqlalchemy.orm import Session, sessionmaker

from db import releases
from ml.paths import HomeLayout
from ml.serving.preview.previews import Previews
from ml.serving.registry import ModelRegistry
from ml.serving.request_log import erasure
from ml.serving.request_log.erasure import Erased, FieldValue
from ml.serving.request_log.log import RequestLog
from ml.web.operator_request import OperatorRequest, RequestBody

MAX_IDS = 400  # of a call, whose body has at most 16 KiB


class ErasureRequest(OperatorRequest):
    """A request to erase the rows of calls, by their ids, or all rows with a value in a field."""

    ids: list[Annotated[str, Field(max_length=100)]] | None = Field(None, max_length=MAX_IDS)
    field: str | None = Field(None, min_length=1, max_length=200)
    value: str | int | float | bool | None = None

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if (self.ids is None) == (self.field is None):
            raise ValueError('give "ids", or "field" and "value"')
        if self.field is not None and "value" not in self.model_fields_set:
            raise ValueError('give the "value" of the field')
        if not all(map(is_storable, (self.field, self.value))):
            raise ValueError("no row has such a field or value: Postgres stores neither NUL nor NaN")
        return self


def is_storable(value: str | int | float | bool | None) -> bool:
    """Return whether Postgres can hold this in JSON, and compare it."""
    if isinstance(value, str):
        return "\x00" not in value
    return not isinstance(value, float) or math.isfinite(value)


class RequestEraser:
    """Erases in Postgres, in files and in this process; ids that were not made here are none of ours."""

    def __init__(
        self, sessions: sessionmaker[Session], log: RequestLog, previews: Previews, home: HomeLayout
    ) -> None:
        self._sessions, self._log, self._previews, self._home = sessions, log, previews, home

    async def has_released(self, model: str) -> bool:
        """Return whether a model of this name ever had a release: others have no rows."""
        return is_storable(model) and await run_in_threadpool(self._has_released, model)

    def _has_released(self, model: str) -> bool:
        with self._sessions.begin() as session:
            return bool(releases.list_releases(session, model, limit=1))

    async def erase(self, model: str, asked: ErasureRequest) -> Erased:
        await self._log.flush()  # what waits to be written is found as well
        if asked.field is not None:
            wanted = FieldValue(asked.field, asked.value)
            erased = await run_in_threadpool(
                erasure.erase_value, self._sessions, self._home, model, wanted, self._log.fields_key
            )
        else:
            ids = [found for text in asked.ids or () if (found := self._log.find_id(model, text))]
            erased = await run_in_threadpool(erasure.erase_calls, self._sessions, self._home, model, ids)
        self._previews.forget_replays(model)
        logger.info("{} erased {} rows of the request log of {}", asked.who, erased.rows, model)
        return erased


def create_operator_router(registry: ModelRegistry, eraser: RequestEraser) -> APIRouter:
    router = APIRouter(tags=["operators"])
    body = RequestBody(ErasureRequest)

    @router.delete(
        "/models/{name}/requests",
        summary="Erase recorded requests, by id or by a field's value",
        openapi_extra=body.openapi,
    )
    async def erase(name: str, asked: Annotated[ErasureRequest, Depends(body)]) -> dict[str, Any]:
        """Erase rows, their ground truth, and copies in comparisons, in files of builders and in previews."""
        if not await eraser.has_released(name):  # a model that is not followed any more has its rows still
            name = registry.find(name).model.name
        erased = await eraser.erase(name, asked)
        return {
            "erased": erased.rows,
            "ground_truth": erased.ground_truth,
            "comparisons": erased.comparisons,
            "building": erased.building,
            "trained_on": erased.trained_on,
        }

    return router
