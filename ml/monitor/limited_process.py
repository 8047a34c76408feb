"""The limits of the monitor's programs, and the answer of one to its request; standard library only."""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any

NICENESS = 10  # with the lowest priority of all it may wait for ever on a busy machine
MAX_MEMORY_BYTES = 2 << 30
MAX_CPU_SECONDS = 300


class OutOfTimeError(Exception):
    """The process has used the processor time that it may."""


def limit_process() -> None:
    """Give way to every other process; bound memory and processor time."""
    os.nice(NICENESS)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread reserves memory
    signal.signal(signal.SIGXCPU, stop_work)
    for kind, limit in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, MAX_CPU_SECONDS)):
        _, most = resource.getrlimit(kind)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)  # noqa: PLW2901
        resource.setrlimit(kind, (limit, most))


def stop_work(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError


def print_answer(
    measured: str, answer_request: Callable[[IO[bytes]], Any], faults: tuple[type[Exception], ...]
) -> None:
    """Print the answer to the request in the file that the command names, or on stdin, as JSON.

    Exits with 1 and one sentence where it cannot be answered: for one of `faults`, the disk or a limit.
    """
    try:
        if len(sys.argv) > 1:
            with Path(sys.argv[1]).open("rb") as file:
                answer = answer_request(file)
        else:
            answer = answer_request(sys.stdin.buffer)
    except faults as error:
        sys.exit(f"no {measured} was measured: {error}")
    except OSError as error:
        sys.exit(f"no {measured} was measured: {error.strerror}: {error.filename}")
    except MemoryError:
        sys.exit(f"no {measured} was measured: it needs more memory than it may use; send fewer rows")
    except OutOfTimeError:
        sys.exit(f"no {measured} was measured: it needs more than {MAX_CPU_SECONDS} s; send fewer rows")
    json.dump(answer, sys.stdout, allow_nan=False)
