"""The nice value of a session against other sessions; standard library only."""

import time


def set_session_nice(process: int | str, nice: int) -> None:
    """Give the session of `process` this nice value against other sessions; 0 is the default."""
    for _ in range(30):  # the kernel takes one such call in a tenth of a second
        try:
            with open(f"/proc/{process}/autogroup", "w") as file:
                file.write(str(nice))
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return  # no autogroups here, or the process has ended
        else:
            return
