"""Which measures of the sandbox hold on this machine, said once at start."""

import os
from collections.abc import Iterator

from loguru import logger

from common import groups
from ml.runner import sandbox, users
from ml.runner.confine import landlock, seccomp
from ml.settings import Settings


def say(settings: Settings) -> None:
    holds, lacks = measures(settings)
    logger.info("model code is held by {}", "; ".join(holds))
    if lacks:
        logger.warning("model code is not kept from {}", "; ".join(lacks))


def measures(settings: Settings) -> tuple[list[str], list[str]]:
    """What holds, and what does not, each in words for an operator."""
    own_user = users.possible(settings.home.resolve())
    version, sockets, ports = landlock.version(), seccomp.available(), settings.train_ports
    asked, counted = sockets and seccomp.can_ask(), groups.place() is not None
    memory = settings.memory or sandbox.machine_memory() * 3 // 4
    counts = "counted by the kernel in a control group" if counted else "looked at twice a second"
    holds = [
        f"limits ({memory / sandbox.GIB:.3g} GiB of memory, {counts}, {sandbox.processes()} processes and "
        f"threads, files of {settings.file_size / sandbox.GIB:.3g} GiB)",
        "no_new_privs",
    ]
    if own_user:
        holds.insert(0, f"a user of its own for each model ({users.FIRST} and up)")
    if version:
        net = f"no TCP but to port {settings.ports.replace(',', ', ')} in training" if ports else "no network"
        scopes = ["files", *([net] if version >= 4 else []), *(["signals"] if version >= 6 else [])]
        holds.insert(0, f"Landlock {version} ({', '.join(scopes)})")
    if sockets:
        training = "; training TCP alone" if ports else ""
        training += ", not to this machine and metadata services" if asked and ports else ""
        listens = "is heard on this machine alone" if asked else "fails, as do sockets in the file system"
        holds.append(
            f"seccomp (no calls that act on other processes; workers have no network{training}; "
            f"what listens {listens})"
        )
    lacks = [*of_the_user(version, own_user=own_user), *of_the_network(settings, version, asked=asked)]
    if not sockets:
        lacks.append("calls that act on other processes of its user (no seccomp for this processor)")
    if os.geteuid() == 0 and not own_user and not counted:
        lacks.append("starting processes without a bound (root, without the rights to change the user)")
    if not users.capabilities() >> users.ADMINISTER & 1:
        lacks.append(of_shared_memory(own_user=own_user))
    return holds, lacks


def of_shared_memory(*, own_user: bool) -> str:
    """What a model may do in a /dev/shm that all share."""
    what = "leaving files" if own_user else "leaving files, and reading those of other models,"
    return f"{what} in /dev/shm, which all share (only root with SYS_ADMIN makes own mounts)"


def of_the_user(version: int, *, own_user: bool) -> Iterator[str]:
    """What a model may do to others of its user; `version` is Landlock's."""
    if own_user:
        if version < 6:
            yield "ending other processes of the same model (Landlock is older than 6)"
        return
    if not version:
        yield "files that this user may read or write, the appliance's own among them (no Landlock)"
    if version < 6:
        yield "ending processes of this user (Landlock is older than 6)"
    yield "changing modes, times and attributes of this user's files (only root gives a model its own user)"


def of_the_network(settings: Settings, version: int, *, asked: bool) -> Iterator[str]:
    if not seccomp.available() and version < 4:
        yield "the network in workers (no seccomp for this processor)"
    if settings.train_ports and version < 4:
        how = "should it cheat on its connect() " if asked else ""
        yield f"services on this machine while it trains {how}(Landlock is older than 4)"
    elif settings.train_ports and not asked:
        where = settings.ports.replace(",", ", ")
        yield f"services and metadata services on port {where} while it trains (seccomp asks nobody)"
