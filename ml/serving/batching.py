"""Which waiting requests leave together: all that came while the workers were busy, and no timer."""

from collections import deque

from ml.serving.worker import Request

MOST = 256  # rows in a frame
LARGEST = 4 << 20  # bytes of a frame, or one row: a worker holds all of it at once
HELD = 0.02  # seconds of work in a frame: rows behind a slow one are better off with another worker


def take(waiting: deque[Request], free_workers: int, seconds_a_row: float) -> list[Request]:
    """The next frame's requests, taken from the front of `waiting` (not empty).

    One that a worker has died over leaves alone, so that it takes no neighbour along.
    """
    if waiting[0].blamed:
        return [waiting.popleft()]
    share = -(-len(waiting) // free_workers)
    fits = int(HELD / seconds_a_row) if seconds_a_row else MOST
    frame, size = [waiting.popleft()], 0
    while waiting and len(frame) < min(share, MOST, fits):
        size += len(frame[-1].body)
        if waiting[0].blamed or size + len(waiting[0].body) > LARGEST:
            break
        frame.append(waiting.popleft())
    return frame
