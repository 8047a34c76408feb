"""What can go wrong at GitHub, made to happen on request."""

import threading
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "none",  # with `delay`: a slow answer, but a good one
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
    "dropped",  # the connection is closed before the answer
    "garbled",  # 200, the first record gets `fields`
    "last-call",  # an ordinary answer that used the last call of the window
]


@dataclass(frozen=True)
class Fault:
    """Hits the requests for pull requests from number `after` + 1 on, `times` of them (None: for ever)."""

    kind: Kind
    after: int = 0
    times: int | None = None
    wait: int = 3600  # seconds until the limit is lifted
    delay: float = 0.0  # seconds before the answer
    remaining: int | None = None  # what X-RateLimit-Remaining says meanwhile
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(get_args(Kind))}")


class Faults:
    """The one fault that is armed, and how many requests it has seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._seen = 0
        self._armed_anew = threading.Event()

    def arm(self, fault: Fault | None) -> None:
        """From now on this one, or none. Requests that are being delayed go on."""
        with self._lock:
            self._fault, self._seen = fault, 0
            self._armed_anew.set()
            self._armed_anew = threading.Event()

    def next(self) -> Fault:
        """What happens to the request that has just come in, after its delay."""
        with self._lock:
            self._seen += 1
            fault, released = self._hit(), self._armed_anew
        released.wait(fault.delay)
        return fault

    def _hit(self) -> Fault:
        fault = self._fault
        if fault is None or self._seen <= fault.after:
            return Fault("none")
        if fault.times is not None and self._seen > fault.after + fault.times:
            return Fault("none")
        return fault
