"""A cheap check of whether a repository on GitHub has changed, before a tap is started for it.

The request is the tap's own first page with the ETag of the last sync. GitHub answers 304
where nothing has changed, which costs no quota where the request is authorized:
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests
GitHub allows a hundred concurrent requests; eight are sent.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from loguru import logger

from common.web.loopback import is_loopback
from vcs.bookmark import Quota

FIRST_PAGE = "pulls?state=all&sort=updated&direction=desc&per_page=100"  # the tap's own request
MAX_CONCURRENT_REQUESTS = 8
TIMEOUT_SECONDS = 10.0
RATE_LIMIT_STATUSES = (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)


class GitHubProbe:
    """Conditional requests, from one thread; `quota` is what the last responses reported, if any."""

    def __init__(self, url: str) -> None:
        self.api = url
        self.headers = {"Accept": "application/vnd.github+json", "User-Agent": "slipway"}
        self.quota: Quota | None = None
        self._is_limited = False

    def find_unchanged(self, etags: Mapping[str, str], tokens: Mapping[str, str]) -> set[str]:
        """Return the repositories that still have the given ETag; the tap has to fetch all others.

        `tokens` has one for each of them, which may be empty.

        Any error here occurs in the tap as well, which reports it.
        """
        self.quota, self._is_limited = None, False
        if not etags:
            return set()
        try:
            return asyncio.run(self._probe_all(etags, tokens))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # a proxy, a bundle
            logger.debug("the check for changes on GitHub failed: {}", type(error).__name__)
            return set()

    async def _probe_all(self, etags: Mapping[str, str], tokens: Mapping[str, str]) -> set[str]:
        turn = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        async with httpx.AsyncClient(
            headers=self.headers,
            timeout=TIMEOUT_SECONDS,
            trust_env=not is_loopback(urlsplit(self.api).hostname or ""),
            verify=self._tls_context,
        ) as client:
            answers = await asyncio.gather(
                *(
                    self._is_unchanged(client, turn, repository, make_headers(tag, tokens[repository]))
                    for repository, tag in etags.items()
                )
            )
        return {repository for repository, unchanged in zip(etags, answers, strict=True) if unchanged}

    async def _is_unchanged(
        self,
        client: httpx.AsyncClient,
        semaphore: asyncio.Semaphore,
        repository: str,
        headers: dict[str, str],
    ) -> bool:
        async with semaphore:
            if self._is_limited:
                return False
            try:
                async with (
                    asyncio.timeout(TIMEOUT_SECONDS),
                    client.stream(
                        "GET", f"{self.api}/repos/{repository}/{FIRST_PAGE}", headers=headers
                    ) as answer,
                ):
                    self._update_quota(answer)
                    return answer.status_code == HTTPStatus.NOT_MODIFIED
            except (httpx.HTTPError, TimeoutError):
                return False

    def _update_quota(self, answer: httpx.Response) -> None:
        found = parse_quota(answer.headers)
        if found and (self.quota is None or found.remaining < self.quota.remaining):
            self.quota = found
        if answer.status_code in RATE_LIMIT_STATUSES and (
            "Retry-After" in answer.headers or (found and not found.remaining)
        ):
            self._is_limited = True  # the others would get the same response

    @cached_property
    def _tls_context(self) -> ssl.SSLContext | bool:
        return make_tls_context(self.api)


def make_headers(etag: str, token: str) -> dict[str, str]:
    return {"If-None-Match": etag} | ({"Authorization": f"token {token}"} if token else {})


def make_tls_context(api: str) -> ssl.SSLContext | bool:
    """Return requests' choice in the tap: the operator's own bundle where one is named."""
    if not api.startswith("https:"):
        return False  # unused certificates would take 10 MiB
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if bundle := os.environ.get(name):
            if Path(bundle).is_dir():
                return ssl.create_default_context(capath=bundle)
            return ssl.create_default_context(cafile=bundle)
    return httpx.create_ssl_context()


def parse_quota(headers: httpx.Headers) -> Quota | None:
    """Return the remaining quota of the window, whose end GitHub gives by its own clock."""
    try:
        limit, remaining, reset = (
            int(headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")
        )
        now = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None
    return Quota(limit, remaining, time.monotonic() + reset - now)
