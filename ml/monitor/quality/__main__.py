"""The quality process: `python -m ml.monitor.quality [FILE]`, or `PYTHON -I ml/monitor/quality/__main__.py`.

It reads one request from FILE or stdin, and prints the metrics of each release as JSON. The second form is
for the monitor's own environment, which has scikit-learn. A line of JSON each:

    {"version": 1, "seed": 0, "releases": {"7": "regression"}}
    {"release": 7, "call": ID, "answer": ..., "truth": ..., "at": TEXT or null}
    ...

`at` is the time that the truth belongs to, which a time series needs. Exit code 1 with one sentence on
stderr: it cannot be answered.
"""

import sys
from pathlib import Path


def main() -> None:
    sys.path.append(str(Path(__file__).parents[3]))
    from ml.monitor.limited_process import limit_process, print_answer  # noqa: PLC0415 (the path comes first)

    limit_process()
    from ml.monitor.drift.request import RequestError  # noqa: PLC0415 (limits come first)
    from ml.monitor.quality.process import answer_request  # noqa: PLC0415

    print_answer("quality", answer_request, (RequestError,))


if __name__ == "__main__":
    main()
