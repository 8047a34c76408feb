"""The start of a program that refuses to be root, such as Postgres, by root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cli.errors import UserError

NOBODY_UID = 65534
SETPRIV_OPTIONS = (
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",  # else access(2), by which Postgres checks its files, loses them
    "--pdeathsig=KILL",
)


@dataclass(frozen=True)
class RunAs:
    """A prefix for command lines, and the user who must own the program's folders."""

    prefix: tuple[str, ...]
    owner: int

    def chown_to_owner(self, folder: Path) -> None:
        """Change the owner of `folder` when it was created as another user."""
        if folder.stat().st_uid != self.owner:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.owner, -1, follow_symlinks=False)


@cache
def find_run_as() -> RunAs:
    """Return nothing for a normal user. For root: a user namespace in which root is named nobody.

    Containers forbid that namespace. There an existing user is taken, who keeps root's right to bypass file
    permissions: the project may well lie under /root.
    """
    if os.geteuid() != 0:
        return RunAs((), os.geteuid())
    candidates = [
        RunAs(("unshare", "--user", f"--map-user={NOBODY_UID}", f"--map-group={NOBODY_UID}", "--"), 0)
    ]
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        candidates.append(RunAs(("setpriv", *ids, *SETPRIV_OPTIONS, "--"), user.pw_uid))
    for candidate in candidates:
        if shutil.which(candidate.prefix[0]) and can_run(candidate):
            return candidate
    raise UserError(
        "Postgres does not run as root, and there is no other user: run as a plain user, or set DATABASE_URL"
    )


def can_run(candidate: RunAs) -> bool:
    return subprocess.run([*candidate.prefix, "true"], capture_output=True, check=False).returncode == 0
