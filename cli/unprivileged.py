"""How root starts a program that refuses to be root, as Postgres does."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cli.errors import Trouble

NOBODY = 65534
KEEP = (
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",  # else access(2), by which Postgres looks at itself, forgets them
    "--pdeathsig=KILL",
)


@dataclass(frozen=True)
class Guise:
    """A prefix for command lines, and the user who must own what the program insists to own."""

    prefix: tuple[str, ...]
    owner: int

    def own(self, folder: Path) -> None:
        """Hand `folder` over when it was made in another guise."""
        if folder.stat().st_uid != self.owner:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.owner, -1, follow_symlinks=False)


@cache
def guise() -> Guise:
    """Nothing for a normal user. For root: a user namespace, in which root is only called nobody.

    Containers forbid that namespace. There an existing user steps in, who keeps root's way past file
    permissions: the project may well lie under /root.
    """
    if os.geteuid() != 0:
        return Guise((), os.geteuid())
    candidates = [Guise(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), 0)]
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        candidates.append(Guise(("setpriv", *ids, *KEEP, "--"), user.pw_uid))
    for candidate in candidates:
        if shutil.which(candidate.prefix[0]) and works(candidate):
            return candidate
    raise Trouble("Postgres refuses to be root and no other user is to be had: be one, or set DATABASE_URL")


def works(candidate: Guise) -> bool:
    return subprocess.run([*candidate.prefix, "true"], capture_output=True, check=False).returncode == 0
