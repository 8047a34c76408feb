"""One message by Apprise, inside its environment: one address, one try.

    python -I apprise_process.py JOB

JOB     a file descriptor with {"address", "title", "body", "kind"}, kind: info, success, warning or failure
stdout  {"sent": true or false, "log": what Apprise warns of}

The address is in no argument list and no environment, and this process cannot be read by others of its user.
"""

import ctypes
import json
import logging
import os
import sys

PR_SET_DUMPABLE = 4  # <linux/prctl.h>
MAX_LOG_LINES = 5


class Collect(logging.Handler):
    """A handler that keeps the last warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines = [*self.lines, record.getMessage()[:300]][-MAX_LOG_LINES:]


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    import apprise  # noqa: PLC0415 (once others cannot read this process)

    log = Collect()
    logging.getLogger("apprise").addHandler(log)
    asset = apprise.AppriseAsset(
        app_id="Slipway",
        app_desc="Slipway",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        interpret_escapes=False,
        interpret_emojis=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sender = apprise.Apprise(asset=asset)
    if not sender.add(job["address"]):
        answer = {"sent": False, "log": ["Apprise does not know such an address"]}
    else:
        text = apprise.NotifyFormat.TEXT
        sent = sender.notify(job["body"], job["title"], notify_type=job["kind"], body_format=text)
        answer = {"sent": bool(sent), "log": log.lines}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
