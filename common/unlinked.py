"""Files that no folder has any more and that hold disk all the same, for a process has them open."""

import os
import stat
from contextlib import suppress

from common.memory import ANONYMOUS, SHARED, Inode, read, seen_as

IN_MEMORY = (*ANONYMOUS, SHARED)  # counted as memory
ON_THEIR_WAY = "scm_fds"  # in a socket's fdinfo: how many descriptors wait in it


class Unlinked:
    """What a tree keeps by descriptors, each file once; and whether there may be more that cannot be seen."""

    def __init__(self, tree: list[int]) -> None:
        self.sizes = dict[Inode, int]()  # bytes on disk
        self._mapped = set[str]()  # inodes
        self._waits = False  # a descriptor in a socket, on its way to a process
        for process in tree:
            with suppress(OSError), seen_as(process):  # it ended meanwhile, or hides
                self._look_at(process)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    @property
    def has_hidden(self) -> bool:
        """Whether a file may be held whose size cannot be told: only mapped, or on its way in a socket."""
        return self._waits or not self._mapped <= {str(inode) for _, inode in self.sizes}

    def _look_at(self, process: int) -> None:
        for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
            with suppress(OSError):  # closed meanwhile
                self._note(f"/proc/{process}", name)
        with open(f"/proc/{process}/maps", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.endswith(" (deleted)\n"):
                    _, _, _, _, inode, path = line.split(maxsplit=5)
                    if not path.startswith(IN_MEMORY):
                        self._mapped.add(inode)

    def _note(self, place: str, name: str) -> None:
        link = os.readlink(f"{place}/fd/{name}")  # noqa: PTH115
        if link.startswith("socket:"):
            self._waits |= read(f"{place}/fdinfo/{name}").get(ON_THEIR_WAY, "0").strip() != "0"
        elif link.endswith(" (deleted)") and not link.startswith(IN_MEMORY):
            facts = os.stat(f"{place}/fd/{name}")  # noqa: PTH116
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                self.sizes[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
