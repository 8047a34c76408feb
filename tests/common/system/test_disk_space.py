"""When a disk counts as nearly full: by its size, and not back and forth."""

import shutil

import pytest

from common.system.disk import is_nearly_full

GIB = 1 << 30


def make_usage(free: float, total: float) -> "shutil._ntuple_diskusage":
    usage = shutil.disk_usage("/")
    return type(usage)(int(total * GIB), int((total - free) * GIB), int(free * GIB))


@pytest.mark.parametrize(
    ("free", "total", "is_low"),
    [
        (4.9, 100, True),
        (5.1, 100, False),
        (0.9, 10, True),
        (1.1, 10, False),
        (9, 4000, True),
        (11, 4000, False),
    ],
)
def test_nearly_full_is_a_share_within_bounds(free: float, total: float, is_low: bool) -> None:
    assert is_nearly_full(make_usage(free, total), was=False) is is_low


def test_a_little_more_room_does_not_end_it() -> None:
    assert is_nearly_full(make_usage(5.5, 100), was=True)
    assert not is_nearly_full(make_usage(6.1, 100), was=True)
