"""Which measures of the sandbox hold on this machine, said once at start."""

import os

from loguru import logger

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
    asked = bool(ports) and sockets and seccomp.can_ask()
    memory = settings.memory or sandbox.machine_memory() * 3 // 4
    holds = [
        f"limits ({memory / sandbox.GIB:.3g} GiB of memory, {sandbox.processes()} processes and threads, "
        f"files of {settings.file_size / sandbox.GIB:.3g} GiB)",
        "no_new_privs",
    ]
    lacks = []
    if own_user:
        holds.insert(0, f"a user of its own for each model ({users.FIRST} and up)")
    if version:
        net = f"no TCP but to port {settings.ports.replace(',', ', ')} in training" if ports else "no network"
        scopes = ["files", *([net] if version >= 4 else []), *(["signals"] if version >= 6 else [])]
        holds.insert(0, f"Landlock {version} ({', '.join(scopes)})")
    if sockets:
        training = "; training TCP alone" if ports else ""
        training += ", not to this machine and metadata services" if asked else ""
        holds.append(f"seccomp (workers have no network{training})")
    elif version < 4:
        lacks.append("the network in workers (no seccomp for this processor)")
    if not version and not own_user:
        lacks.append("files that this user may read or write, the appliance's own among them (no Landlock)")
    if version < 6 and not own_user:
        lacks.append("ending processes of this user (Landlock is older than 6)")
    if os.geteuid() == 0 and not own_user:
        lacks.append("starting processes without a bound (root, without the rights to change the user)")
    if ports and version < 4:
        how = "should it cheat on its connect() " if asked else ""
        lacks.append(f"services on this machine while it trains {how}(Landlock is older than 4)")
    elif ports and not asked:
        where = settings.ports.replace(",", ", ")
        lacks.append(f"services and metadata services on port {where} while it trains (seccomp asks nobody)")
    return holds, lacks
