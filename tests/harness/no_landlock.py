"""The runner of a command as on a kernel without Landlock: `python -m tests.harness.no_landlock COMMAND…`."""

import errno
import os
import sys

from ml.sandbox.confine import kernel, landlock, seccomp


def main() -> None:
    kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
    refused = (seccomp.RETURN, 0, 0, seccomp.REFUSE | errno.ENOSYS)
    seccomp.install_filter([(seccomp.EQUAL, 0, 1, landlock.CREATE_RULESET), refused])
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
