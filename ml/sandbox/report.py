"""The report of the sandbox measures that work on this machine, logged once at start."""

import os
from collections.abc import Iterator

from loguru import logger

from common.system import cgroups
from common.units import format_gib
from ml.sandbox import sandbox, uids
from ml.sandbox.confine import landlock, seccomp
from ml.settings import MlSettings


def log_measures(settings: MlSettings) -> None:
    measures, gaps = list_measures(settings)
    logger.info("model code is sandboxed by {}", "; ".join(measures))
    if gaps:
        logger.warning("the sandbox does not restrict {}", "; ".join(gaps))


def list_measures(settings: MlSettings) -> tuple[list[str], list[str]]:
    """Return the measures that work, and the gaps, each as a phrase for an operator."""
    own_user = uids.can_switch(settings.home.resolve())
    version, sockets, ports = landlock.abi_version(), seccomp.is_available(), settings.train_ports
    can_notify, counted = sockets and seccomp.can_notify(), cgroups.find_parent() is not None
    memory = settings.memory or sandbox.machine_memory() * 3 // 4
    counting = "counted by the kernel in a control group" if counted else "polled twice a second"
    measures = [
        f"limits ({format_gib(memory)} of memory, {counting}, {sandbox.process_limit()} "
        "processes and "
        f"threads, files of {format_gib(settings.file_size)})",
        "no_new_privs",
    ]
    if own_user:
        measures.insert(0, f"a user of its own for each model ({uids.FIRST_UID} and up)")
    if version:
        net = f"no TCP but to port {settings.ports.replace(',', ', ')} in training" if ports else "no network"
        scopes = ["files", *([net] if version >= 4 else []), *(["signals"] if version >= 6 else [])]
        measures.insert(0, f"Landlock {version} ({', '.join(scopes)})")
    if sockets:
        training = "; training TCP alone" if ports else ""
        training += ", not to this machine and metadata services" if can_notify and ports else ""
        listens = (
            "is reachable from this machine alone"
            if can_notify
            else "fails, as do sockets in the file system"
        )
        measures.append(
            f"seccomp (no calls that act on other processes; workers have no network{training}; "
            f"what listens {listens})"
        )
    gaps = [
        *list_user_gaps(version, own_user=own_user),
        *list_network_gaps(settings, version, can_notify=can_notify),
    ]
    if not sockets:
        gaps.append("calls that act on other processes of its user (no seccomp for this processor)")
    if os.geteuid() == 0 and not own_user and not counted:
        gaps.append("starting processes without a bound (root, without the rights to change the user)")
    if not uids.read_capabilities() >> uids.SYS_ADMIN_CAPABILITY & 1:
        gaps.append(describe_shared_memory(own_user=own_user))
    return measures, gaps


def describe_shared_memory(*, own_user: bool) -> str:
    """Return what a model may do in a shared /dev/shm."""
    what = "leaving files" if own_user else "leaving files, and reading those of other models,"
    return f"{what} in /dev/shm, which all share (only root with SYS_ADMIN makes own mounts)"


def list_user_gaps(version: int, *, own_user: bool) -> Iterator[str]:
    """Yield what a model may do to other processes of its user; `version` is Landlock's."""
    if own_user:
        if version < 6:
            yield "ending other processes of the same model (Landlock is older than 6)"
        return
    if not version:
        yield "files that this user may read or write, the appliance's own among them (no Landlock)"
    if version < 6:
        yield "ending processes of this user (Landlock is older than 6)"
    yield "changing modes, times and attributes of this user's files (only root gives a model its own user)"


def list_network_gaps(settings: MlSettings, version: int, *, can_notify: bool) -> Iterator[str]:
    if not seccomp.is_available() and version < 4:
        yield "the network in workers (no seccomp for this processor)"
    if settings.train_ports and version < 4:
        how = "by a manipulated connect() " if can_notify else ""
        yield f"services on this machine while it trains {how}(Landlock is older than 4)"
    elif settings.train_ports and not can_notify:
        where = settings.ports.replace(",", ", ")
        yield f"services and metadata services on port {where} while it trains (no seccomp listener)"
