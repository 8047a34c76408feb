"""The drift process: `python -m ml.monitor.drift [FILE]`, or `PYTHON -I ml/monitor/drift/__main__.py [FILE]`.

It reads one request from FILE or stdin, and prints the findings as JSON. The second form is for the
monitor's own environment, which has numpy and scipy alone. A line of JSON each:

    {"version": 1, "baseline": PATH, "cache": PATH or null, "seed": 0, "now": SECONDS or null,
     "suspicion": that of the last answer}
    {"call": ID, "at": SECONDS, "features": ..., "prediction": ..., "window": NAME or null}
    ...

A row without "prediction" is compared by its features alone; one with "window" belongs to that one.

Exit code 1 with one sentence on stderr: it cannot be answered.
"""

# ruff: noqa: PLC0415 (limits come first)
import json
import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType

NICENESS = 10  # with the lowest priority of all it may wait for ever on a busy machine
MAX_MEMORY_BYTES = 2 << 30
MAX_CPU_SECONDS = 300


class OutOfTimeError(Exception):
    """The process has used the processor time that it may."""


def limit_process() -> None:
    """Give way to every other process; bound memory and processor time."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread reserves memory
    signal.signal(signal.SIGXCPU, stop_work)
    for kind, limit in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, MAX_CPU_SECONDS)):
        _, most = resource.getrlimit(kind)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)  # noqa: PLW2901
        resource.setrlimit(kind, (limit, most))


def stop_work(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError


def main() -> None:
    limit_process()
    sys.path.append(str(Path(__file__).parents[3]))
    from ml.monitor.drift.baseline import BaselineError
    from ml.monitor.drift.process import answer_request
    from ml.monitor.drift.request import RequestError

    try:
        if len(sys.argv) > 1:
            with Path(sys.argv[1]).open("rb") as file:
                answer = answer_request(file)
        else:
            answer = answer_request(sys.stdin.buffer)
    except (RequestError, BaselineError) as error:
        sys.exit(f"no drift was measured: {error}")
    except OSError as error:
        sys.exit(f"no drift was measured: {error.strerror}: {error.filename}")
    except MemoryError:
        sys.exit("no drift was measured: it needs more memory than it may use; send fewer rows")
    except OutOfTimeError:
        sys.exit(f"no drift was measured: it needs more than {MAX_CPU_SECONDS} s; send fewer rows")
    json.dump(answer, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
