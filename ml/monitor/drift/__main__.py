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

import sys
from pathlib import Path


def main() -> None:
    sys.path.append(str(Path(__file__).parents[3]))
    from ml.monitor.limited_process import limit_process, print_answer  # noqa: PLC0415 (the path comes first)

    limit_process()
    from ml.monitor.drift.baseline import BaselineError  # noqa: PLC0415 (limits come first)
    from ml.monitor.drift.process import answer_request  # noqa: PLC0415
    from ml.monitor.drift.request import RequestError  # noqa: PLC0415

    print_answer("drift", answer_request, (RequestError, BaselineError))


if __name__ == "__main__":
    main()
