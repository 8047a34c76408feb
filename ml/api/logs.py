"""A release's log: as it grows, by server-sent events, or the whole of it as text."""

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

from common.plain import lines
from common.problems import Problem
from db.session import AWAY
from ml.api import documents
from ml.api.tail import Piece, Tail
from ml.home import Home
from ml.serving.threads import aside
from ml.settings import Settings

EVENTS = "text/event-stream"
LOOK = 0.2  # seconds between two looks at the logs
ASK = 1.0  # seconds between two questions whether the release has ended
BEAT = 15.0  # seconds of silence after which a sign of life is sent: proxies close what is silent
FOLLOWERS = 100  # streams at a time
END = "end:"  # what the last event's id begins with
PLAIN = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Vary": "Accept"}

Facts = dict[str, Any]


def routes(settings: Settings, sessions: sessionmaker[Session], ending: Event) -> APIRouter:
    router = APIRouter(tags=["releases"])
    home = Home(settings.home.absolute())
    following: set[object] = set()

    def ask(number: int) -> Facts | None:
        """How the release ended, None while it is on its way; raises a 404 when there is none."""
        with sessions.begin() as session:
            release = documents.find(session, number)
            return {"status": release.status, "reason": release.reason} if release.status.ended else None

    @router.get("/releases/{number}/logs", summary="What its stages and its workers printed")
    def logs(
        number: int,
        follow: bool = False,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str, Header()] = "",
    ) -> Response:
        """With `?follow=1` or `Accept: text/event-stream` it goes on until the release has ended.

        Each event `log` is `{"stage", "text"}`, the last one is `end` with the release's status and reason. A
        client that comes back with `Last-Event-ID` goes on where it was.
        """
        folder = home.logs(number)
        try:
            ended = ask(number)
        except AWAY:  # Postgres is away, and the logs are here
            if not folder.is_dir():
                raise
            ended = None
        if not follow and EVENTS not in accept:
            tail = Tail(folder)
            tail.end()
            return StreamingResponse(whole(tail), media_type="text/plain; charset=utf-8", headers=PLAIN)
        if ended and last_event_id.startswith(END):
            return Response(status_code=204)  # a browser's EventSource comes back until it is told so
        if len(following) >= FOLLOWERS:
            detail = f"{FOLLOWERS} logs are followed already: end some, or take this one without following."
            raise Problem(503, "Too many followers", detail, headers={"Retry-After": "10"})
        events = followed(Tail(folder, last_event_id.removeprefix(END)), lambda: ask(number), ending)
        headers = PLAIN | {"X-Accel-Buffering": "no"}
        return StreamingResponse(counted(events, following), media_type=EVENTS, headers=headers)

    return router


async def counted(events: AsyncIterator[str], following: set[object]) -> AsyncIterator[str]:
    following.add(events)
    try:
        async for event in events:
            yield event
    finally:
        following.discard(events)


async def whole(tail: Tail) -> AsyncIterator[str]:
    """All of it, each stage under its name."""
    stage, ending = "", "\n"
    while (piece := await aside(next_plainly, tail)) is not None:
        if piece.stage != stage:
            yield heading(piece.stage, after=ending if stage else None)
            stage = piece.stage
        yield piece.text
        ending = piece.text[-1]
    if not stage:
        yield "This release has not printed anything.\n"


def next_plainly(tail: Tail) -> Piece | None:
    piece = tail.next()
    return piece and replace(piece, text=lines(piece.text))


def heading(stage: str, after: str | None) -> str:
    """On a line of its own, and with an empty one before it, whatever character it comes after."""
    before = "" if after is None else "\n" if after == "\n" else "\n\n"
    return f"{before}== {stage} ==\n"


async def followed(tail: Tail, ask: Callable[[], Facts | None], ending: Event) -> AsyncIterator[str]:
    """Events until the release has ended, or this process ends. The work ends with whoever reads them."""
    said = time.monotonic()
    asking: asyncio.Task[Facts | None] = asyncio.ensure_future(aside(ask))
    asked, ended = said, None
    yield "retry: 1000\n\n"
    try:
        while not ending.is_set():
            if ended is None and asking.done():
                ended = answer(asking)
                if ended is None and time.monotonic() - asked > ASK:
                    asking, asked = asyncio.ensure_future(aside(ask)), time.monotonic()
            if ended is not None:
                await aside(tail.end)  # what it printed was there before it ended
            piece = await aside(tail.next)
            if piece is not None:
                yield event("log", piece.position, {"stage": piece.stage, "text": piece.text})
                said = time.monotonic()
            elif ended is not None:
                yield event("end", END + tail.position, ended)
                return
            else:
                await asyncio.sleep(LOOK)
            if time.monotonic() - said > BEAT:
                yield ": still here\n\n"
                said = time.monotonic()
    finally:
        asking.cancel()


def answer(asking: "asyncio.Task[Facts | None]") -> Facts | None:
    """While Postgres cannot be asked, a release is taken to be on its way."""
    try:
        return asking.result()
    except AWAY as error:
        logger.debug("whether a release has ended is asked again: {}", error)
        return None


def event(name: str, position: str, data: Facts) -> str:
    """Foreign text goes as JSON: a bare line end in it would begin a field of its own."""
    return f"event: {name}\nid: {position}\ndata: {json.dumps(data)}\n\n"
