"""A sleep for processes under libfaketime, which raises an error when the end has passed already."""

import time
from contextlib import suppress

sleep = time.sleep


def sleep_in_any_case(seconds: float) -> None:
    with suppress(OSError):
        sleep(seconds)


time.sleep = sleep_in_any_case
