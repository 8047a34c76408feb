"""A throttle that slows down clients with wrong tokens, and locks nobody out."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from loguru import logger
from starlette.requests import HTTPConnection

from common.auth import operator_token as tokens
from common.problems import ProblemError

MAX_FREE_ATTEMPTS = 5  # wrong tokens in a row before an address has to wait
DELAY_STEP_SECONDS, MAX_DELAY_SECONDS = 0.25, 2.0  # added with each wrong token
RESET_AFTER_SECONDS = 60.0  # without a wrong one
MAX_ADDRESSES = 4096  # that are tracked; the oldest is dropped
MAX_WAITING = 512  # requests that wait for their check at a time
MAX_LOGGED = 20  # a minute


@dataclass
class FailedAttempts:
    """A count of wrong tokens in a row from one address."""

    count: int
    last_at: float


class TokenThrottle:
    """A check of the tokens that requests present; one instance for all requests of a service.

    An address with several wrong ones waits for its check, right or wrong: guessing becomes slow, and
    an operator at the same address still gets in. Other addresses do not wait.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, FailedAttempts] = OrderedDict()
        self._waiting = 0
        self._minute, self._logged = 0, 0

    async def check_token(self, request: HTTPConnection, presented: str, token: str) -> bool:
        """Return whether this is the token; raises `ProblemError` when too many requests already wait."""
        address = client_address(request)
        if seconds := self._delay_for(address):
            await self._wait(seconds)
        if tokens.is_same(presented, token):
            self._failures.pop(address, None)
            return True
        self._record_failure(address)
        return False

    def _delay_for(self, address: str) -> float:
        failures = self._failures.get(address)
        if (
            failures is None
            or failures.count < MAX_FREE_ATTEMPTS
            or time.monotonic() - failures.last_at > RESET_AFTER_SECONDS
        ):
            return 0
        return min(MAX_DELAY_SECONDS, DELAY_STEP_SECONDS * (failures.count - MAX_FREE_ATTEMPTS + 1))

    async def _wait(self, seconds: float) -> None:
        if self._waiting >= MAX_WAITING:
            detail = "Too many wrong tokens came from your address. Try again in a moment."
            headers = {"Retry-After": f"{MAX_DELAY_SECONDS:g}", "Connection": "close"}
            raise ProblemError(429, "Too many tries", detail, headers=headers)
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1

    def _record_failure(self, address: str) -> None:
        now = time.monotonic()
        failures = self._failures.pop(address, None)
        if failures is None or now - failures.last_at > RESET_AFTER_SECONDS:
            failures = FailedAttempts(0, now)
        failures.count, failures.last_at = failures.count + 1, now
        self._failures[address] = failures
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        if failures.count == 1 or failures.count % MAX_FREE_ATTEMPTS == 0:
            self._log_failure(address, failures.count)

    def _log_failure(self, address: str, count: int) -> None:
        minute = int(time.monotonic() // 60)
        self._logged = self._logged + 1 if minute == self._minute else 1
        self._minute = minute
        if self._logged <= MAX_LOGGED:
            slowed = "; its requests are delayed now" if count >= MAX_FREE_ATTEMPTS else ""
            logger.warning("{} wrong operators' token(s) in a row from {}{}", count, address, slowed)


def client_address(request: HTTPConnection) -> str:
    """Return the client's address; for IPv6 its /64 network, as one client has many addresses."""
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return "an unknown address"
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))
    return str(address)
