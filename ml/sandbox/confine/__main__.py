"""The program that drops its own rights, then becomes the command.

    python -I -S ml/sandbox/confine/__main__.py TERMS COMMAND…

TERMS is JSON:
    user           uid and gid to become, null to stay; only root can
    covered, shown folders that are closed to `user`: emptied in a private view, but for the paths shown
    reads, writes  paths for Landlock, where the kernel has it
    ports          TCP ports that it may connect to; [] for no network at all, null for any
    here           those among them that it may connect to on this machine too
    sockets        folders with sockets that its processes may communicate by; [] for none
    umask          for the files that it creates
    oom_score      its oom_score_adj: the highest is killed first when the machine runs out of memory
    niceness       its nice value, which it cannot lower again
    memory, data, file_size, open_files, processes   limits; see `limits.py`
Measures that this machine lacks are skipped: `ml/sandbox/report.py` reports them at start. It runs at each
start of a model, so it imports little.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0])

from ml.sandbox.confine import kernel, landlock, limits, mounts, seccomp

TYPE_CHECKING = False  # typing takes 2 ms to import
if TYPE_CHECKING:
    from typing import Any


def confine_self(terms: dict[str, Any]) -> None:
    """Confine this process, or go on in a child, that can do no more than the terms allow."""
    parent, ports, sockets = os.getppid(), terms["ports"], terms["sockets"]
    if ports or sockets:
        from ml.sandbox.confine import network  # noqa: PLC0415 (takes 20 ms; not a worker's)
    yield_resources(terms["oom_score"], terms["niceness"])
    if os.geteuid() == 0:
        mount_view(terms)
    os.umask(terms["umask"])
    switch_user(terms["user"])
    limits.limit_resources(
        data=terms["data"],
        file_size=terms["file_size"],
        open_files=terms["open_files"],
        processes=terms["processes"],
        shared_user=terms["user"] is None,
    )
    kernel.die_with_parent(parent)  # again: a change of user clears it
    kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
    counted = limits.is_counted_by_kernel()
    if ports or sockets:
        network.restrict_network(
            terms["reads"],
            terms["writes"],
            ports,
            local_ports=terms["here"],
            sockets=sockets,
            counted=counted,
        )
        return
    landlock.restrict_self(terms["reads"], terms["writes"], ports)
    if ports is None:
        seccomp.refuse_outside_calls(counted=counted)
    else:
        seccomp.refuse_sockets(counted=counted)


def yield_resources(oom_score: int, niceness: int) -> None:
    """Make the kernel kill the model first, and not Postgres, when memory is short; yield the processor."""
    os.nice(niceness)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(str(oom_score))
    except OSError:
        return  # a container without /proc


def mount_view(terms: dict[str, Any]) -> None:
    try:
        mounts.enter_private_namespace(terms["covered"], terms["shown"], terms["memory"])
    except OSError:
        if terms["covered"]:
            raise  # else it is only the shared /dev/shm
    os.chdir(terms["folder"])  # the same folder, in the new view


def switch_user(user: int | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    elif os.geteuid() == 0:
        kernel.drop_capabilities()


def main() -> None:
    terms, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        confine_self(terms)
        os.execv(command[0], command)  # noqa: S606 (a list, without a shell)
    except Exception as error:  # noqa: BLE001 (whatever it is, the model is not to blame)
        sys.stderr.write(f"slipway: it could not be confined, so it was not started: {error}\n")
        sys.exit(126)


if __name__ == "__main__":
    main()
