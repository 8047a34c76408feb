"""GitHub's webhook: signed, small, accepted once; the payload only triggers a sync."""

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

from common.problems import ProblemError
from common.web.bodies import read_body
from db import merge_groups, pull_requests
from vcs.recheck_events import RECHECK_EVENTS, RecheckEvents, parse_repository

MAX_BODY_BYTES = 1 << 20  # GitHub's own are smaller
# that the database may take to look up a delivery: GitHub expects a response within 0.1
DATABASE_TIMEOUT_SECONDS = 0.05
MAX_PENDING = 100  # deliveries that wait for a database that hangs
QUEUE_EVENT = "merge_group"
SYNC_EVENTS = ("pull_request", "push", QUEUE_EVENT)

Json = dict[str, Any]


class Webhook:
    """A receiver of deliveries for the followed repositories."""

    def __init__(
        self,
        secret: str,
        repositories: Iterable[str],
        sessions: sessionmaker[Session],
        trigger_sync: Callable[[str], object],
        rechecks: RecheckEvents,
    ) -> None:
        self.secret, self.trigger_sync, self.rechecks = secret.encode(), trigger_sync, rechecks
        self.repositories = {repository.lower(): repository for repository in repositories}
        self.sessions = sessions
        self._thread = ThreadPoolExecutor(1, "deliveries")
        self._pending = 0

    async def handle_delivery(self, request: Request) -> tuple[int, Json]:
        """Return the response to a delivery: status and message. Raises `ProblemError` for a delivery that
        GitHub did not send.
        """
        if not self.secret:
            raise ProblemError(
                503,
                "Webhooks are not set up",
                "SLIPWAY_WEBHOOK_SECRET is not set, so Slipway cannot tell GitHub's calls from others. "
                "Set it to the webhook's secret and start again; until then the timer syncs pull requests.",
            )
        body = await read_body(request, MAX_BODY_BYTES)
        if not has_valid_signature(self.secret, body, request.headers.get("X-Hub-Signature-256")):
            raise ProblemError(
                401,
                "The signature is missing or wrong",
                "X-Hub-Signature-256 must be the body's HMAC-SHA256 with SLIPWAY_WEBHOOK_SECRET: see that "
                "the webhook at GitHub has the same secret.",
            )
        event, delivery = request.headers.get("X-GitHub-Event"), request.headers.get("X-GitHub-Delivery")
        if not event or not delivery:
            raise ProblemError(
                400, "This is not a delivery from GitHub", "X-GitHub-Event or X-GitHub-Delivery is missing."
            )
        if event == "ping":
            return 200, {"message": "pong"}
        if event in RECHECK_EVENTS:
            return await self.rechecks.handle(event, delivery, parse_payload(body))
        if event not in SYNC_EVENTS:
            return 202, {"message": f"nothing to do for {event}; send pull requests, pushes and merge groups"}
        repository = self.repositories.get(parse_repository(parse_payload(body)).lower())
        if repository is None:
            followed = ", ".join(self.repositories)
            return 202, {"message": f"nothing to do: this appliance follows {followed}"}
        if not await self.is_first_delivery(delivery, repository if event == QUEUE_EVENT else None):
            return 200, {"message": "seen already"}
        self.trigger_sync(repository)
        return 202, {"message": "a sync is triggered"}

    async def is_first_delivery(self, delivery: str, queue_of: str | None = None) -> bool:
        """Return False for a replay. A slow database costs one extra sync, and no delivery.

        `queue_of` is the repository whose merge queue has changed.
        """
        if self._pending >= MAX_PENDING:
            return True
        self._pending += 1
        recorded = asyncio.get_running_loop().run_in_executor(
            self._thread, self.record_delivery, delivery, queue_of
        )
        recorded.add_done_callback(self.on_recorded)
        try:
            return await asyncio.wait_for(asyncio.shield(recorded), DATABASE_TIMEOUT_SECONDS)
        except TimeoutError:
            return True

    def on_recorded(self, _: asyncio.Future[bool]) -> None:
        self._pending -= 1

    def record_delivery(self, delivery: str, queue_of: str | None) -> bool:
        try:
            with self.sessions.begin() as session:
                is_first = pull_requests.record_delivery(session, delivery)
                if is_first and queue_of is not None:
                    merge_groups.record_event(session, queue_of)
                return is_first
        except SQLAlchemyError as error:
            logger.warning("delivery {} could not be recorded: {}", delivery, type(error).__name__)
            return True

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def has_valid_signature(secret: bytes, body: bytes, signature: str | None) -> bool:
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (signature or "").encode())


def parse_payload(body: bytes) -> Json:
    """Parse `application/json`, or a form with a field `payload`: GitHub offers both."""
    if body.startswith(b"payload="):
        body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProblemError(
            400, "The delivery is not a JSON object", "Choose application/json as its content type."
        )
    return found
