"""Unlinked files that still take disk space because a process has them open."""

import os
import stat
from contextlib import suppress

from common.system.open_files import SHM_PATH
from common.system.process_memory import ANONYMOUS_FILES, Inode
from common.system.procfs import as_process_user, read_fields

MEMORY_FILES = (*ANONYMOUS_FILES, SHM_PATH)  # counted as memory
PENDING_FIELD = "scm_fds"  # in a socket's fdinfo: the number of descriptors that wait in it


class UnlinkedFiles:
    """The unlinked files that a tree has open, each once, and whether there may be unreadable ones."""

    def __init__(self, tree: list[int]) -> None:
        self.sizes = dict[Inode, int]()  # bytes on disk
        self._mapped_inodes = set[str]()  # inodes
        self._has_pending = False  # a descriptor in flight in a socket
        for process in tree:
            with suppress(OSError), as_process_user(process):  # it ended meanwhile, or is unreadable
                self._inspect_process(process)

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())

    @property
    def has_hidden(self) -> bool:
        """Return whether a file of unknown size may be open: only mapped, or in flight in a socket."""
        return self._has_pending or not self._mapped_inodes <= {str(inode) for _, inode in self.sizes}

    def _inspect_process(self, process: int) -> None:
        for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
            with suppress(OSError):  # closed meanwhile
                self._add_descriptor(f"/proc/{process}", name)
        with open(f"/proc/{process}/maps", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.endswith(" (deleted)\n"):
                    _, _, _, _, inode, path = line.split(maxsplit=5)
                    if not path.startswith(MEMORY_FILES):
                        self._mapped_inodes.add(inode)

    def _add_descriptor(self, place: str, name: str) -> None:
        link = os.readlink(f"{place}/fd/{name}")  # noqa: PTH115
        if link.startswith("socket:"):
            self._has_pending |= read_fields(f"{place}/fdinfo/{name}").get(PENDING_FIELD, "0").strip() != "0"
        elif link.endswith(" (deleted)") and not link.startswith(MEMORY_FILES):
            facts = os.stat(f"{place}/fd/{name}")  # noqa: PTH116
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                self.sizes[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
