"""Which waiting requests leave together: all that came while the workers were busy, and no timer."""

from collections import deque
from collections.abc import Iterator

from ml.serving.worker import Request

MOST = 256  # rows in a frame
LARGEST = 4 << 20  # bytes of a frame, or one row: a worker holds all of it at once
HELD = 0.02  # seconds of work in a frame: rows behind a slow one are better off with another worker


class Line:
    """Rows that wait for a worker: single ones, and those of calls with many.

    A single row and a row of a call leave by turns, and so do the calls: nobody waits for all rows of
    another's call. What nobody waits for any more is forgotten.
    """

    def __init__(self) -> None:
        self.single: deque[Request] = deque()
        self.calls: deque[deque[Request]] = deque()  # in the order of their turns; none is empty
        self.rows_of_calls = 0
        self._is_turn_of_calls = False

    def __len__(self) -> int:
        return len(self.single) + self.rows_of_calls

    def __iter__(self) -> Iterator[Request]:
        yield from self.single
        for call in self.calls:
            yield from call

    def add_call(self, requests: list[Request]) -> None:
        self.calls.append(deque(requests))
        self.rows_of_calls += len(requests)

    def put_back(self, requests: list[Request]) -> None:
        """In front of all single rows."""
        self.single.extendleft(request for request in reversed(requests) if not request.answer.done())

    def join(self, other: "Line") -> None:
        """Take over all that waits in another line."""
        self.put_back(list(other.single))
        self.calls.extend(other.calls)
        self.rows_of_calls += other.rows_of_calls
        other.clear()

    def clear(self) -> None:
        self.single.clear()
        self.calls.clear()
        self.rows_of_calls = 0

    def forget(self) -> None:
        """Leave out what nobody waits for: it counts no longer."""
        self.single = deque(request for request in self.single if not request.answer.done())
        kept = [deque(row for row in call if not row.answer.done()) for call in self.calls]
        self.calls = deque(call for call in kept if call)
        self.rows_of_calls = sum(map(len, self.calls))

    def first(self) -> Request | None:
        """What leaves next; None when nothing waits."""
        while True:
            is_call = bool(self.calls) and (self._is_turn_of_calls or not self.single)
            queue = self.calls[0] if is_call else self.single
            if not queue:
                return None
            self._is_turn_of_calls = is_call
            if not queue[0].answer.done():
                return queue[0]
            queue.popleft()
            if is_call:
                self.rows_of_calls -= 1
                if not queue:
                    self.calls.popleft()

    def pop(self) -> None:
        """Let `first` leave."""
        if self._is_turn_of_calls:
            call = self.calls.popleft()
            call.popleft()
            self.rows_of_calls -= 1
            if call:
                self.calls.append(call)
        else:
            self.single.popleft()
        self._is_turn_of_calls = not self._is_turn_of_calls


def take(waiting: Line, free_workers: int, seconds_a_row: float) -> list[Request]:
    """The next frame's requests, taken from the front of `waiting`; none when nobody waits for any.

    One that a worker has died over, or that may be unreadable, leaves alone: it takes no neighbour along.
    """
    if len(waiting.single) == 1 and not waiting.calls:
        return [waiting.single.popleft()]  # as most often, at no cost
    share = -(-len(waiting) // free_workers)
    fits = int(HELD / seconds_a_row) if seconds_a_row else MOST
    most, size = min(share, MOST, fits), 0
    frame: list[Request] = []
    while (first := waiting.first()) is not None:
        size += len(first.body)
        if frame and (len(frame) >= most or first.alone or size > LARGEST):
            break
        waiting.pop()
        frame.append(first)
        if first.alone:
            break
    return frame
