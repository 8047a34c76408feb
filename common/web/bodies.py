"""Reads of small request bodies, limited in bytes and seconds."""

import asyncio

from starlette.requests import Request

from common.problems import ProblemError

MAX_BODY_SECONDS = 30.0  # in which a body has to be complete
CLOSE_HEADERS = {"Connection": "close"}


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises `ProblemError`: 413 beyond `limit` bytes, announced or not, 408 when its end does not come.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large_problem(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large_problem(limit)
    except TimeoutError as error:
        detail = f"The body was not there after {MAX_BODY_SECONDS:g} s; its end was never sent."
        raise ProblemError(408, "The body is too slow", detail, headers=CLOSE_HEADERS) from error
    return bytes(body)


def too_large_problem(limit: int) -> ProblemError:
    return ProblemError(
        413, "The body is too large", f"The body is longer than {limit} bytes.", headers=CLOSE_HEADERS
    )
