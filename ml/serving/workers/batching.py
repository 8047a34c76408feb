"""Batching of the requests that arrived while the workers were busy, without a timer."""

from collections import deque
from collections.abc import Iterator

from ml.serving.workers.worker import RowRequest

MAX_FRAME_ROWS = 256  # rows in a frame
MAX_FRAME_BYTES = 4 << 20  # bytes of a frame, or one row: a worker holds all of it at once
# seconds of work in a frame: rows behind a slow one are better off with another worker
MAX_FRAME_SECONDS = 0.02


class RequestQueue:
    """The queue of rows that wait for a worker: single ones, and those of calls with many.

    A single row and a row of a call leave by turns, and so do the calls: no client waits for all rows of
    another client's call. Rows whose client has left are dropped.
    """

    def __init__(self) -> None:
        self.single: deque[RowRequest] = deque()
        self.batches: deque[deque[RowRequest]] = deque()  # in the order of their turns; none is empty
        self.batch_row_count = 0
        self._is_batch_turn = False

    def __len__(self) -> int:
        return len(self.single) + self.batch_row_count

    def __iter__(self) -> Iterator[RowRequest]:
        yield from self.single
        for call in self.batches:
            yield from call

    def add_batch(self, requests: list[RowRequest]) -> None:
        self.batches.append(deque(requests))
        self.batch_row_count += len(requests)

    def requeue(self, requests: list[RowRequest]) -> None:
        """Put requests back in front of all single rows; suspects behind those that wait by now.

        A suspect may take a worker away once more, and its waiting time has started again.
        """
        waiting = [request for request in requests if not request.answer.done()]
        self.single.extend(request for request in waiting if request.is_suspect)
        self.single.extendleft(request for request in reversed(waiting) if not request.is_suspect)

    def merge_from(self, other: "RequestQueue") -> None:
        """Take over all that waits in another queue."""
        self.single.extendleft(reversed(other.single))
        self.batches.extend(other.batches)
        self.batch_row_count += other.batch_row_count
        other.clear()

    def clear(self) -> None:
        self.single.clear()
        self.batches.clear()
        self.batch_row_count = 0

    def drop_finished(self) -> None:
        """Drop rows that no client waits for: they no longer count."""
        self.single = deque(request for request in self.single if not request.answer.done())
        waiting = [deque(row for row in call if not row.answer.done()) for call in self.batches]
        self.batches = deque(call for call in waiting if call)
        self.batch_row_count = sum(map(len, self.batches))

    def peek_next(self) -> RowRequest | None:
        """Return the row that leaves next; None when nothing waits."""
        while True:
            is_call = bool(self.batches) and (self._is_batch_turn or not self.single)
            queue = self.batches[0] if is_call else self.single
            if not queue:
                return None
            self._is_batch_turn = is_call
            if not queue[0].answer.done():
                return queue[0]
            queue.popleft()
            if is_call:
                self.batch_row_count -= 1
                if not queue:
                    self.batches.popleft()

    def pop_next(self) -> None:
        """Remove the row that `peek_next` returned."""
        if self._is_batch_turn:
            call = self.batches.popleft()
            call.popleft()
            self.batch_row_count -= 1
            if call:
                self.batches.append(call)
        else:
            self.single.popleft()
        self._is_batch_turn = not self._is_batch_turn


def take_frame(queue: RequestQueue, free_workers: int, seconds_per_row: float) -> list[RowRequest]:
    """Take the next frame's requests from the front of `queue`; none when no client waits for any.

    A request that a worker crashed on, or that may be unreadable, leaves alone: no neighbour fails with it.
    """
    if len(queue.single) == 1 and not queue.batches:
        request = queue.single.popleft()  # the most frequent case, at no cost
        return [] if request.answer.done() else [request]
    share = -(-len(queue) // free_workers)
    fits = int(MAX_FRAME_SECONDS / seconds_per_row) if seconds_per_row else MAX_FRAME_ROWS
    most, size = min(share, MAX_FRAME_ROWS, fits), 0
    frame: list[RowRequest] = []
    while (first := queue.peek_next()) is not None:
        size += len(first.body)
        if frame and (len(frame) >= most or first.needs_isolation or size > MAX_FRAME_BYTES):
            break
        queue.pop_next()
        frame.append(first)
        if first.needs_isolation:
            break
    return frame
