"""A Singer target, inside the target's environment: target-postgres, configured from an open file.

    python target.py JOB REPORT     the numbers of two open files

JOB     {"config": …}
REPORT  {"failure": {"sqlstate": … or null, "error": the exception's name, "message": …}} when there is one

Singer's messages come on stdin, its state goes to stdout. The database's password is only in JOB.
"""

import json
import logging
import os
import sys
from types import ModuleType
from typing import Any

# for tunnels over SSH, which no job asks for: to import it takes a fifth of the time until the target runs
sys.modules["paramiko"] = ModuleType("paramiko")

from target_postgres.target import TargetPostgres  # type: ignore[import-not-found] # noqa: E402 (see above)


def describe_cause(error: BaseException) -> dict[str, Any]:
    """Return the error of Postgres, under the wrapping of SQLAlchemy and the SDK."""
    inner: BaseException | None = error
    while inner is not None:
        if hasattr(inner, "sqlstate"):
            return {"sqlstate": inner.sqlstate, "error": type(inner).__name__, "message": str(inner)}
        inner = getattr(inner, "orig", None) or inner.__cause__ or inner.__context__
    return {"sqlstate": None, "error": type(error).__name__, "message": str(error)}


def main(job_file: int, report_file: int) -> int:
    logging.disable(logging.INFO)
    with open(job_file, "rb") as file:
        job = json.load(file)
    try:
        TargetPostgres(config=job["config"], validate_config=True).listen(sys.stdin)
    except Exception as error:  # noqa: BLE001 (the edge of this process: it crosses as data)
        os.pwrite(report_file, json.dumps({"failure": describe_cause(error)}).encode(), 0)
        return 1
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
