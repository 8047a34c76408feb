"""uv's caches: what nothing needs is taken away, and what is too large is made anew."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.controller import package_caches
from tests.harness.packages import build_sdist, build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer


def test_what_no_package_needs_is_taken_away(
    make_installer: Callable[..., Installer], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_package(shelf, "small", build_wheel("small"))
    put_package(shelf, "built", build_sdist("built"), "tar.gz")
    monkeypatch.setenv("SLIPWAY_REPOSITORY", "acme/one")
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    assert installer.modules({"requirements.txt": "small"}) == {"small"}
    assert installer.modules({"requirements.txt": "built"}) == {"built"}
    caches = [installer.home.package_cache, installer.home.model_package_cache("one")]
    for cache in caches:
        leave_in(cache)

    package_caches.prune_all(installer.settings)

    assert [left_in(cache) for cache in caches] == [False, False]
    assert archives(caches[0])
    monkeypatch.setattr(package_caches, "MAX_BYTES", 1)
    package_caches.prune_all(installer.settings)
    assert [archives(cache) for cache in caches] == [[], []]
    assert installer.modules({"requirements.txt": "small\n# again"}) == {"small"}


def leave_in(cache: Path) -> None:
    """As an installation that was cut off does: an archive that nothing leads to."""
    left = cache / "archive-v0" / "left-over"
    left.mkdir(parents=True, exist_ok=True)
    (left / "large").write_bytes(b"x" * 1000)
    owner = cache.stat()
    for path in (left.parent, left, left / "large"):
        os.chown(path, owner.st_uid, owner.st_gid)


def left_in(cache: Path) -> bool:
    return (cache / "archive-v0" / "left-over").exists()


def archives(cache: Path) -> list[Path]:
    return list(cache.glob("archive-v0/*"))


def test_pruning_is_due_once_a_day(make_installer: Callable[..., Installer]) -> None:
    installer = make_installer()
    assert not package_caches.is_due(installer.home)
    a_day_ago = time.time() - package_caches.DAY_SECONDS - 1
    os.utime(installer.home.prune_log, (a_day_ago, a_day_ago))
    assert package_caches.is_due(installer.home)
    package_caches.prune_all(installer.settings)
    assert not package_caches.is_due(installer.home)
