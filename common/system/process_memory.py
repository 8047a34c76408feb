"""The memory that one process has mapped, alone or shared with others; standard library only."""

import os
import re
from contextlib import suppress

from common.system.procfs import as_process_user, parse_kibibytes, read_fields

MAPPING_BYTES = 256  # kernel memory of each mapping of a process
STATUS_FIELDS = ("VmRSS", "VmSwap", "VmPTE", "HugetlbPages")
MAPPING_LINE = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
# unlinked files, by the names that the kernel gives them
ANONYMOUS_FILES = ("/dev/zero (deleted)", "/memfd:", "/SYSV")

Inode = tuple[int, int]  # device and number


def mapped_bytes(process: int) -> int:
    """Return the bytes it has mapped, also of files and shared memory; its swap; its page tables."""
    with suppress(OSError):  # it ended meanwhile
        facts = read_fields(f"/proc/{process}/status")
        return sum(parse_kibibytes(facts[name]) for name in STATUS_FIELDS if name in facts)
    return 0


def mapping_overhead(process: int) -> int:
    """Return the kernel's memory for a process's mappings; the maximum where they are unreadable."""
    try:
        with as_process_user(process), open(f"/proc/{process}/maps", "rb") as file:  # noqa: PTH123
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 16), b"")) * MAPPING_BYTES
    except FileNotFoundError:  # it ended meanwhile
        return 0
    except OSError:
        return max_mapping_overhead()


def max_mapping_overhead() -> int:
    """Return the kernel's memory for the most mappings that one process may have."""
    with suppress(OSError, ValueError), open("/proc/sys/vm/max_map_count") as file:  # noqa: PTH123
        return int(file.read()) * MAPPING_BYTES
    return 65530 * MAPPING_BYTES


def proportional_bytes(process: int) -> int:
    """Return its private bytes, and its part of what it shares with the processes that it was forked from."""
    try:
        with as_process_user(process):
            facts = read_fields(f"/proc/{process}/smaps_rollup")
            tables = read_fields(f"/proc/{process}/status")
    except OSError:  # ended meanwhile, or unreadable: then all its mappings count as its own
        return mapped_bytes(process)
    if "Pss_Anon" not in facts:  # Linux is older than 5.4
        return parse_kibibytes(facts["Pss"])
    names = ("Pss_Anon", "SwapPss", "Private_Hugetlb", "Shared_Hugetlb")
    used = sum(parse_kibibytes(facts[name]) for name in names if name in facts)
    return used + parse_kibibytes(tables.get("VmPTE", "0 kB"))


def find_shared_mappings(processes: list[int], device: int) -> dict[Inode, int]:
    """Return the mapped bytes of each shared memory segment and memory-backed file."""
    found = dict[Inode, int]()
    for process in processes:
        with suppress(OSError), as_process_user(process):
            if parse_kibibytes(read_fields(f"/proc/{process}/smaps_rollup").get("Pss_Shmem", "1 kB")):
                add_mappings(process, device, found)
    return found


def add_mappings(process: int, device: int, found: dict[Inode, int]) -> None:
    inode: Inode | None = None
    with open(f"/proc/{process}/smaps", errors="replace") as file:  # noqa: PTH123
        for line in file:
            if (begins := MAPPING_LINE.match(line)) is not None:
                device_number = os.makedev(int(begins[1], 16), int(begins[2], 16))
                is_memory = device_number == device or begins[4].startswith(ANONYMOUS_FILES)
                inode = (device_number, int(begins[3])) if is_memory else None
            elif inode is not None and line.startswith("Pss:"):
                found[inode] = found.get(inode, 0) + parse_kibibytes(line.removeprefix("Pss:"))
