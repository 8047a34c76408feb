"""What packages may take: disk in the cache and the environment, bounded together."""

from collections.abc import Callable

import pytest

from common.errors import RejectedError
from tests.harness.packages import build_sdist, build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer

MIB = 1 << 20
FILLING = """
import os
for number in range(20):
    with open(os.environ["UV_CACHE_DIR"] + f"/more-{number}", "wb") as file:
        file.write(bytes(15 << 20))
"""


def bytes_below(installer: Installer) -> int:
    found = installer.home.root.rglob("*")
    return sum(path.lstat().st_blocks * 512 for path in found if not path.is_dir())


def test_a_package_that_unpacks_without_end_is_refused(
    make_installer: Callable[..., Installer], shelf: Shelf
) -> None:
    """A few hundred kilobytes on their way, hundreds of megabytes on the disk."""
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"), SLIPWAY_FILE_SIZE="20MiB")
    zeros = {f"bomb/{number}": bytes(15 * MIB) for number in range(20)}
    put_package(shelf, "bomb", build_wheel("bomb", zeros))
    with pytest.raises(RejectedError, match=r"more than 40\.0 MiB unpacked"):
        installer.build(installer.resolve({"requirements.txt": "bomb\n"}))

    assert bytes_below(installer) < 40 * MIB


def test_a_build_does_not_fill_the_disk(make_installer: Callable[..., Installer], shelf: Shelf) -> None:
    """With many files, each as large as a file may be."""
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"), SLIPWAY_FILE_SIZE="20MiB")
    put_package(shelf, "filling", build_sdist("filling", FILLING), "tar.gz")
    with pytest.raises(RejectedError, match=r"more than 40\.0 MiB unpacked"):
        installer.build(installer.resolve({"requirements.txt": "filling\n"}))

    assert bytes_below(installer) < 40 * MIB
