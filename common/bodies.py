"""Reads the small bodies of requests: of so many bytes, and in so many seconds."""

import asyncio

from starlette.requests import Request

from common.problems import Problem

SECONDS = 30.0  # in which a body has to be there
CLOSE = {"Connection": "close"}


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises `Problem`: 413 beyond `limit` bytes, announced or not, 408 when its end does not come.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large(limit)
    except TimeoutError as error:
        detail = f"The body was not there after {SECONDS:g} s; its end was never sent."
        raise Problem(408, "The body is too slow", detail, headers=CLOSE) from error
    return bytes(body)


def too_large(limit: int) -> Problem:
    return Problem(413, "The body is too large", f"The body is longer than {limit} bytes.", headers=CLOSE)
