"""The memory that is free on this machine, or in this container."""

from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
# the limit, the use and the reclaimable part of a container's memory: cgroup v2, then v1
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def count_free_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that processes may still take before the kernel has to end one."""
    numbers = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    free = [int(numbers["MemAvailable"].split()[0]) << 10]
    for limit_name, used_name, stat_name, cache_name in CGROUP_FILES:
        with suppress(OSError, ValueError, KeyError):  # no such file, or no limit ("max")
            limit, used = (int((cgroups / name).read_text()) for name in (limit_name, used_name))
            stat = dict(line.split() for line in (cgroups / stat_name).read_text().splitlines())
            free.append(limit - used + int(stat[cache_name]))
    return max(0, min(free))
