"""Faults of GitHub, injected on request."""

import threading
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

FaultKind = Literal[
    "none",  # with `delay`: a slow response, but a good one
    "unauthorized",  # 401
    "forbidden",  # 403, the token lacks the right
    "rate-limit",  # 403, the hourly quota is used up
    "secondary-rate-limit",  # 403 with Retry-After
    "too-many-requests",  # 429 with Retry-After
    "not-found",  # 404
    "server-error",  # 500
    "bad-gateway",  # 502 from the edge: HTML, none of GitHub's headers
    "html",  # 200, but a page for people
    "truncated",  # 200, the JSON ends in the middle
    "too-large",  # 200, with more blanks after the JSON than GitHub would ever send
    "dropped",  # the connection is closed before the response
    "garbled",  # 200, the first record gets `fields`
    "last-call",  # an ordinary response that used the last call of the window
    "validation",  # 422
    "secondary-without-wait",  # 403 without Retry-After
    "done-then-dropped",  # done, and after `delay` the connection is closed before the response
    "done-then-late",  # done, and after `delay` the response comes
]


@dataclass(frozen=True)
class GitHubFault:
    """A fault of requests for pull requests from number `after` + 1 on, `times` of them (None: for ever)."""

    kind: FaultKind
    after: int = 0
    times: int | None = None
    wait: int = 3600  # seconds until the limit is lifted
    delay: float = 0.0  # seconds before the response
    remaining: int | None = None  # the X-RateLimit-Remaining header meanwhile
    fields: dict[str, Any] = field(default_factory=dict)
    match: str = ""  # of writes: only those whose method and path have this, "GET …" included

    def applies_to(self, request: str) -> bool:
        """Return whether a request, such as `POST /repos/…`, gets it; by itself a write does."""
        return self.match in request if self.match else not request.startswith("GET ")

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(get_args(FaultKind))}")


class FaultInjector:
    """The one fault that is armed, and the number of requests since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: GitHubFault | None = None
        self.seen = 0  # requests that the fault applies to, since it was armed
        self._rearmed = threading.Event()

    def arm(self, fault: GitHubFault | None) -> None:
        """Arm this fault, or none. Requests that are being delayed go on."""
        with self._lock:
            self._fault, self.seen = fault, 0
            self._rearmed.set()
            self._rearmed = threading.Event()

    def next_fault(self) -> GitHubFault:
        """Return the fault of the request that has just come in, after its delay."""
        with self._lock:
            self.seen += 1
            fault, released = self._count_request(), self._rearmed
        released.wait(fault.delay)
        return fault

    def next_write_fault(self, request: str) -> GitHubFault:
        """Return the fault of a request that writes, or that a writer reads; `wait_for` is left to do."""
        with self._lock:
            if self._fault is None or not self._fault.applies_to(request):
                return GitHubFault("none")
            self.seen += 1
            return self._count_request()

    def wait_for(self, fault: GitHubFault) -> None:
        self._rearmed.wait(fault.delay)

    def _count_request(self) -> GitHubFault:
        fault = self._fault
        if fault is None or self.seen <= fault.after:
            return GitHubFault("none")
        if fault.times is not None and self.seen > fault.after + fault.times:
            return GitHubFault("none")
        return fault
