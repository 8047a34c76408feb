"""The quality process: `python -m ml.monitor.quality [FILE]`, or `PYTHON -I ml/monitor/quality/__main__.py`.

It reads one request from FILE or stdin, and prints the metrics of each release as JSON. The second form is
for the monitor's own environment, which has scikit-learn. A line of JSON each:

    {"version": 1, "seed": 0, "releases": {"7": "regression"}}
    {"release": 7, "call": ID, "answer": ..., "truth": ..., "at": TEXT or null}
    ...

`at` is the time that the truth belongs to, which a time series needs. Exit code 1 with one sentence on
stderr: it cannot be answered.
"""

# ruff: noqa: PLC0415 (where to import from is known first)
import json
import sys
from pathlib import Path


def main() -> None:
    sys.path.append(str(Path(__file__).parents[3]))
    from ml.monitor.drift.__main__ import MAX_CPU_SECONDS, OutOfTimeError, limit_process
    from ml.monitor.drift.request import RequestError
    from ml.monitor.quality.process import answer_request

    limit_process()
    try:
        if len(sys.argv) > 1:
            with Path(sys.argv[1]).open("rb") as file:
                answer = answer_request(file)
        else:
            answer = answer_request(sys.stdin.buffer)
    except RequestError as error:
        sys.exit(f"no quality was measured: {error}")
    except OSError as error:
        sys.exit(f"no quality was measured: {error.strerror}: {error.filename}")
    except MemoryError:
        sys.exit("no quality was measured: it needs more memory than it may use; send fewer rows")
    except OutOfTimeError:
        sys.exit(f"no quality was measured: it needs more than {MAX_CPU_SECONDS} s; send fewer rows")
    json.dump(answer, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
