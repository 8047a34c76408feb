"""Takes its own rights away, then becomes the command.

    python -I -S ml/runner/confine/__main__.py TERMS COMMAND…

TERMS is JSON:
    user           uid and gid to become, null to stay; only root can
    covered, shown folders that are closed to `user`: emptied in an own view, but for the paths shown
    reads, writes  paths for Landlock, where the kernel has it
    ports          TCP ports that it may connect to; [] for no network at all, null for any
    here           those among them that it may connect to on this machine too
    sockets        folders with sockets that its processes may talk by; [] for none
    umask          for the files that it makes
    memory, data, file_size, open_files, processes   limits; see `limits.py`
What cannot be had here is left out: `ml/runner/measures.py` says at start what holds. It runs at each start
of a model, so it imports little.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0])

from ml.runner.confine import kernel, landlock, limits, mounts, seccomp

TYPE_CHECKING = False  # typing takes 2 ms to import
if TYPE_CHECKING:
    from typing import Any


def confine(terms: dict[str, Any]) -> None:
    """Ends with a process that can do no more than the terms say."""
    parent, ports, sockets = os.getppid(), terms["ports"], terms["sockets"]
    if ports or sockets:
        from ml.runner.confine import network  # noqa: PLC0415 (takes 20 ms; not a worker's)
    yield_memory()
    if os.geteuid() == 0:
        view(terms)
    os.umask(terms["umask"])
    become(terms["user"])
    limits.limit(
        data=terms["data"],
        file_size=terms["file_size"],
        open_files=terms["open_files"],
        processes=terms["processes"],
        shared_user=terms["user"] is None,
    )
    kernel.die_with(parent)  # again: a change of user clears it
    kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
    counted = limits.counted_by_kernel()
    if ports or sockets:
        network.limit(
            terms["reads"], terms["writes"], ports, here=terms["here"], sockets=sockets, counted=counted
        )
        return
    landlock.restrict(terms["reads"], terms["writes"], ports)
    if ports is None:
        seccomp.refuse_foreign(counted=counted)
    else:
        seccomp.refuse_sockets(counted=counted)


def yield_memory() -> None:
    """When memory is short, the model goes and not Postgres."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("1000")
    except OSError:
        return  # a container without /proc


def view(terms: dict[str, Any]) -> None:
    try:
        mounts.own_view(terms["covered"], terms["shown"], terms["memory"])
    except OSError:
        if terms["covered"]:
            raise  # else it is only the /dev/shm that all share
    os.chdir(terms["folder"])  # the same place, in the new view


def become(user: int | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    elif os.geteuid() == 0:
        kernel.drop_capabilities()


def main() -> None:
    terms, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        confine(terms)
        os.execv(command[0], command)  # noqa: S606 (a list, and no shell wanted)
    except Exception as error:  # noqa: BLE001 (whatever it is, the model is not to blame)
        sys.stderr.write(f"slipway: it could not be confined, so it was not started: {error}\n")
        sys.exit(126)


if __name__ == "__main__":
    main()
