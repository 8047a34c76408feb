"""A release's log, as text or followed by server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse
from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.plain import escape_lines
from common.problems import ProblemError
from common.system.threads import run_in_thread
from db.session import DB_ERRORS
from ml.paths import HomeLayout
from ml.settings import MlSettings
from ml.web import serializers
from ml.web.log_chunks import LogChunk, LogTail

EVENT_STREAM = "text/event-stream"
LOG_POLL_SECONDS = 0.2  # seconds between two polls of the logs
STATUS_POLL_SECONDS = 1.0  # seconds between two polls of the release's status
BEAT = 15.0  # seconds without an event after which a keep-alive is sent: proxies close idle connections
FOLLOWERS = 100  # streams at a time
END_EVENT_PREFIX = "end:"  # what the last event's id begins with
PLAIN_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Vary": "Accept"}

Facts = dict[str, Any]


def create_router(settings: MlSettings, sessions: sessionmaker[Session], ending: Event) -> APIRouter:
    router = APIRouter(tags=["releases"])
    home = HomeLayout(settings.home.absolute())
    following: set[object] = set()

    def ask(number: int) -> Facts | None:
        """Return the release's final status and reason, None while it is built; raises a 404 without one."""
        with sessions.begin() as session:
            release = serializers.find_release(session, number)
            return {"status": release.status, "reason": release.reason} if release.status.has_ended else None

    @router.get(
        "/releases/{number}/logs",
        summary="Output of its stages and its workers",
        response_class=Response,
        responses={
            200: {"content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", EVENT_STREAM)}}
        },
    )
    def logs(
        number: int,
        follow: bool = False,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str, Header()] = "",
    ) -> Response:
        """Return the log; with `?follow=1` or `Accept: text/event-stream`, follow it until the release ends.

        Each event `log` is `{"stage", "text"}`, the last one is `end` with the release's status and reason. A
        client that reconnects with `Last-Event-ID` continues where it was.
        """
        folder = home.logs_path(number)
        try:
            ended = ask(number)
        except DB_ERRORS:  # Postgres is unavailable, but the logs are here
            if not folder.is_dir():
                raise
            ended = None
        if not follow and EVENT_STREAM not in accept:
            tail = LogTail(folder)
            tail.mark_complete()
            return StreamingResponse(
                stream_text(tail), media_type="text/plain; charset=utf-8", headers=PLAIN_HEADERS
            )
        if ended and last_event_id.startswith(END_EVENT_PREFIX):
            return Response(status_code=204)  # a browser's EventSource reconnects until it gets a 204
        if len(following) >= FOLLOWERS:
            detail = f"{FOLLOWERS} logs are followed already: end some, or take this one without following."
            raise ProblemError(503, "Too many followers", detail, headers={"Retry-After": "10"})
        events = stream_events(
            LogTail(folder, last_event_id.removeprefix(END_EVENT_PREFIX)), lambda: ask(number), ending
        )
        headers = PLAIN_HEADERS | {"X-Accel-Buffering": "no"}
        return StreamingResponse(count_follower(events, following), media_type=EVENT_STREAM, headers=headers)

    return router


async def count_follower(events: AsyncIterator[str], following: set[object]) -> AsyncIterator[str]:
    following.add(events)
    try:
        async for event in events:
            yield event
    finally:
        following.discard(events)


async def stream_text(tail: LogTail) -> AsyncIterator[str]:
    """Yield the whole log, each stage under its name."""
    stage, ending = "", "\n"
    while (piece := await run_in_thread(read_next_plain, tail)) is not None:
        if piece.stage != stage:
            yield format_heading(piece.stage, after=ending if stage else None)
            stage = piece.stage
        yield piece.text
        ending = piece.text[-1]
    if not stage:
        yield "This release has not printed anything.\n"


def read_next_plain(tail: LogTail) -> LogChunk | None:
    piece = tail.read_next()
    return piece and replace(piece, text=escape_lines(piece.text))


def format_heading(stage: str, after: str | None) -> str:
    """Return a heading on a line of its own, after an empty line, whatever character precedes it."""
    before = "" if after is None else "\n" if after == "\n" else "\n\n"
    return f"{before}== {stage} ==\n"


async def stream_events(
    tail: LogTail, read_end: Callable[[], Facts | None], ending: Event
) -> AsyncIterator[str]:
    """Yield events until the release or this process ends; the work ends when the reader closes."""
    sent_at = time.monotonic()
    status_task: asyncio.Task[Facts | None] = asyncio.ensure_future(run_in_thread(read_end))
    polled_at, ended = sent_at, None
    yield "retry: 1000\n\n"
    try:
        while not ending.is_set():
            if ended is None and status_task.done():
                ended = get_end(status_task)
                if ended is None and time.monotonic() - polled_at > STATUS_POLL_SECONDS:
                    status_task, polled_at = asyncio.ensure_future(run_in_thread(read_end)), time.monotonic()
            if ended is not None:
                await run_in_thread(tail.mark_complete)  # its output was written before it ended
            piece = await run_in_thread(tail.read_next)
            if piece is not None:
                yield format_event("log", piece.position, {"stage": piece.stage, "text": piece.text})
                sent_at = time.monotonic()
            elif ended is not None:
                yield format_event("end", END_EVENT_PREFIX + tail.position, ended)
                return
            else:
                await asyncio.sleep(LOG_POLL_SECONDS)
            if time.monotonic() - sent_at > BEAT:
                yield ": still here\n\n"
                sent_at = time.monotonic()
    finally:
        status_task.cancel()


def get_end(asking: "asyncio.Task[Facts | None]") -> Facts | None:
    """Return the release's end; None, as for one being built, while Postgres is unavailable."""
    try:
        return asking.result()
    except DB_ERRORS as error:
        logger.debug("the status of a release is read again: {}", error)
        return None


def format_event(name: str, position: str, data: Facts) -> str:
    """Return an event with its data as JSON: a bare line end in untrusted text would begin a new field."""
    return f"event: {name}\nid: {position}\ndata: {json.dumps(data)}\n\n"
