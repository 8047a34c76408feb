"""GitHub's webhook: signed, small, taken once; the payload is only a nudge to ask GitHub."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

from fastapi import Request
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from common.bodies import read_body
from common.problems import Problem
from db import pull_requests

LIMIT = 1 << 20  # bytes; GitHub's own are smaller
MEMORY = 0.05  # seconds that the database may take to know a delivery: GitHub is to be answered in 0.1
PENDING = 100  # deliveries that wait for a database that hangs
NUDGES = ("pull_request", "push")

Json = dict[str, Any]


class Webhook:
    """Takes deliveries for the repositories that are followed."""

    def __init__(
        self,
        secret: str,
        repositories: Iterable[str],
        sessions: sessionmaker[Session],
        nudge: Callable[[], object],
    ) -> None:
        self.secret, self.nudge = secret.encode(), nudge
        self.repositories = [repository.lower() for repository in repositories]
        self.sessions = sessions
        self._thread = ThreadPoolExecutor(1, "deliveries")
        self._pending = 0

    async def take(self, request: Request) -> tuple[int, Json]:
        """The answer to a delivery: a status and what was done. `Problem` for what GitHub did not send."""
        if not self.secret:
            raise Problem(
                503,
                "Webhooks are not set up",
                "SLIPWAY_WEBHOOK_SECRET is not set, so nobody could tell GitHub's calls from others. "
                "Set it to the webhook's secret and start again; until then pull requests come by the tick.",
            )
        body = await read_body(request, LIMIT)
        if not signed(self.secret, body, request.headers.get("X-Hub-Signature-256")):
            raise Problem(
                401,
                "The signature is missing or wrong",
                "X-Hub-Signature-256 must be the body's HMAC-SHA256 with SLIPWAY_WEBHOOK_SECRET: see that "
                "the webhook at GitHub has the same secret.",
            )
        event, delivery = request.headers.get("X-GitHub-Event"), request.headers.get("X-GitHub-Delivery")
        if not event or not delivery:
            raise Problem(
                400, "This is no delivery of GitHub's", "X-GitHub-Event or X-GitHub-Delivery is missing."
            )
        if event == "ping":
            return 200, {"message": "pong"}
        if event not in NUDGES:
            return 202, {"message": f"nothing to do for {event}; send pull requests and pushes"}
        if repository_of(payload(body)).lower() not in self.repositories:
            followed = ", ".join(self.repositories)
            return 202, {"message": f"nothing to do: this appliance follows {followed}"}
        if not await self.first_time(delivery):
            return 200, {"message": "seen already"}
        self.nudge()
        return 202, {"message": "GitHub will be asked"}

    async def first_time(self, delivery: str) -> bool:
        """False for a replay. A database that does not say so at once costs one sync more, no delivery."""
        if self._pending >= PENDING:
            return True
        self._pending += 1
        remembered = asyncio.get_running_loop().run_in_executor(self._thread, self.remember, delivery)
        remembered.add_done_callback(self.remembered)
        try:
            return await asyncio.wait_for(asyncio.shield(remembered), MEMORY)
        except TimeoutError:
            return True

    def remembered(self, _: asyncio.Future[bool]) -> None:
        self._pending -= 1

    def remember(self, delivery: str) -> bool:
        try:
            with self.sessions.begin() as session:
                return pull_requests.take_delivery(session, delivery)
        except SQLAlchemyError as error:
            logger.warning("delivery {} could not be remembered: {}", delivery, type(error).__name__)
            return True

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def signed(secret: bytes, body: bytes, signature: str | None) -> bool:
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (signature or "").encode())


def payload(body: bytes) -> Json:
    """As `application/json`, or as a form with a field `payload`: GitHub offers both."""
    if body.startswith(b"payload="):
        body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(400, "The delivery is no JSON object", "Choose application/json as its content type.")
    return found


def repository_of(event: Json) -> str:
    repository = event.get("repository")
    return str(repository.get("full_name", "")) if isinstance(repository, dict) else ""
