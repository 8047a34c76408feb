"""Slows down whoever presents wrong tokens, and locks nobody out."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from loguru import logger
from starlette.requests import HTTPConnection

from common import token as tokens
from common.problems import Problem

FREE = 5  # wrong tokens in a row before an address has to wait
STEP_SECONDS, MAX_SECONDS = 0.25, 2.0  # of waiting: it grows with each wrong token
FORGOTTEN_SECONDS = 60.0  # without a wrong one
MAX_ADDRESSES = 4096  # that are remembered; the oldest goes
MAX_WAITING = 512  # requests that wait for their verdict at a time
MAX_LOGGED = 20  # a minute


@dataclass
class Failures:
    """The wrong tokens of one address in a row."""

    count: int
    last: float


class Brake:
    """Judges the tokens that requests present; one for all calls of a service.

    An address with several wrong ones waits for its verdict, be it right or wrong: guesses come slowly, and
    an operator at the same address gets in all the same. Other addresses do not wait.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, Failures] = OrderedDict()
        self._waiting = 0
        self._minute, self._logged = 0, 0

    async def judge(self, request: HTTPConnection, presented: str, token: str) -> bool:
        """Return whether this is the token; raises `Problem` when too many wait already."""
        address = source(request)
        if seconds := self._seconds(address):
            await self._wait(seconds)
        if tokens.same(presented, token):
            self._failures.pop(address, None)
            return True
        self._note(address)
        return False

    def _seconds(self, address: str) -> float:
        known = self._failures.get(address)
        if known is None or known.count < FREE or time.monotonic() - known.last > FORGOTTEN_SECONDS:
            return 0
        return min(MAX_SECONDS, STEP_SECONDS * (known.count - FREE + 1))

    async def _wait(self, seconds: float) -> None:
        if self._waiting >= MAX_WAITING:
            detail = "Too many wrong tokens came from your address. Try again in a moment."
            headers = {"Retry-After": f"{MAX_SECONDS:g}", "Connection": "close"}
            raise Problem(429, "Too many tries", detail, headers=headers)
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1

    def _note(self, address: str) -> None:
        now = time.monotonic()
        known = self._failures.pop(address, None)
        if known is None or now - known.last > FORGOTTEN_SECONDS:
            known = Failures(0, now)
        known.count, known.last = known.count + 1, now
        self._failures[address] = known
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        if known.count == 1 or known.count % FREE == 0:
            self._log(address, known.count)

    def _log(self, address: str, count: int) -> None:
        minute = int(time.monotonic() // 60)
        self._logged = self._logged + 1 if minute == self._minute else 1
        self._minute = minute
        if self._logged <= MAX_LOGGED:
            slowed = ", which waits for its verdicts now" if count >= FREE else ""
            logger.warning("{} wrong operators' token(s) in a row from {}{}", count, address, slowed)


def source(request: HTTPConnection) -> str:
    """Return where a request is from: an address, or the network of one that has many addresses."""
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return "an unknown address"
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))
    return str(address)
