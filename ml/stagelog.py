"""The log of a stage, for what Slipway itself has to say in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


@contextmanager
def writing(log: Path, about: str) -> Iterator[Callable[[str], None]]:
    """What puts a line about `about` at the end of the log, at once."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", buffering=1) as file:
        yield lambda text: print(f"{datetime.now():%H:%M:%S} {about}: {text}", file=file)
