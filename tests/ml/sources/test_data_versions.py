"""What has changed of a release's data is seen by what its addresses tell, and nothing is fetched for it."""

from pathlib import Path
from typing import Any

import pytest

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError
from ml.data_folders import DataFolders
from ml.manifest import DataSection
from ml.sources.data_versions import ChangedData, find_changed_data
from ml.sources.datasets import DataSources, fetch_datasets
from ml.sources.fetch.cache import DataCache
from ml.sources.fetch.download import DownloadLimits
from tests.harness.shelf import Shelf


class Watched:
    """The data of one release: fetched once, and then looked at."""

    def __init__(self, folder: Path, **section: Any) -> None:
        own = folder / "data"
        own.mkdir(exist_ok=True)
        (folder / "source").mkdir(exist_ok=True)
        self.source, self.own, self.section = folder / "source", own, DataSection(**section)
        self.sources = DataSources(
            DataFolders(own, own, (own,)),
            AddressPolicy.from_text("127.0.0.1"),
            DataCache(folder / "cache", DownloadLimits(1 << 20, 10)),
        )
        self.used: dict[str, Any] = {}
        self.folder = folder

    def fetch(self) -> "Watched":
        output, log = self.folder / "release", self.folder / "log"
        self.used = fetch_datasets(
            self.section, self.source, self.sources, output=output, log=log
        ).to_metadata()
        return self

    def changed(self) -> ChangedData | None:
        return find_changed_data(self.section, self.source, self.sources, 1, self.used)


@pytest.fixture
def watched(tmp_path: Path, shelf: Shelf) -> Watched:
    shelf.put(b"train", "/train.csv")
    shelf.put(b"test", "/test.csv")
    made = Watched(tmp_path, train=shelf.url("/train.csv?key=s3cret"), test=shelf.url("/test.csv"))
    shelf.items["/train.csv?key=s3cret"] = shelf.items["/train.csv"]
    return made.fetch()


def test_new_content_is_seen_and_named_without_secrets(watched: Watched, shelf: Shelf) -> None:
    shelf.asked.clear()
    assert watched.changed() is None
    shelf.items["/train.csv?key=s3cret"].content = b"other"
    first = watched.changed()
    assert first is not None
    assert first.reason == f"the data has changed: train ({shelf.url('/train.csv?…')})"
    assert watched.changed() == first
    shelf.put(b"other", "/test.csv")
    second = watched.changed()
    assert second is not None
    assert second.digest != first.digest
    assert set(shelf.methods()) == {"HEAD"}


def test_what_another_build_has_fetched_is_new_for_this_one(watched: Watched, shelf: Shelf) -> None:
    shelf.put(b"other", "/test.csv")
    before, used = watched.changed(), watched.used
    (watched.folder / "release/data.json").unlink()
    watched.fetch()
    assert watched.changed() is None
    watched.used = used

    assert watched.changed() == before  # so that it is tried once


def test_a_size_alone_is_better_than_nothing(watched: Watched, shelf: Shelf) -> None:
    for item in shelf.items.values():
        item.etag, item.modified = False, None
    (watched.folder / "release/data.json").unlink()
    watched.fetch()
    assert watched.changed() is None
    shelf.items["/test.csv"].content = b"longer"

    assert watched.changed() is not None


def test_an_address_that_tells_nothing_is_refused(watched: Watched, shelf: Shelf) -> None:
    item = shelf.items["/test.csv"]
    item.etag, item.modified, item.length = False, None, -1

    with pytest.raises(RejectedError, match="tells neither an ETag nor a date nor a size"):
        watched.changed()


def test_an_address_on_this_machine_needs_the_operators_leave(watched: Watched, shelf: Shelf) -> None:
    watched.sources = DataSources(watched.sources.folders, AddressPolicy.from_text(""), watched.sources.cache)

    with pytest.raises(RejectedError, match="SLIPWAY_DATA_ALLOW"):
        watched.changed()


def test_files_of_the_repository_and_pinned_ones_do_not_change(tmp_path: Path, shelf: Shelf) -> None:
    shelf.put(b"test", "/test.csv")
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    made = Watched(tmp_path, test=shelf.url("/test.csv"), sha256={"test": digest})
    (made.source / "data").mkdir()
    (made.source / "data/train.csv").write_text("train")
    made.fetch()
    shelf.put(b"other", "/test.csv")
    shelf.asked.clear()

    assert made.changed() is None
    assert shelf.methods() == []


def test_files_and_folders_of_the_appliance_are_watched(tmp_path: Path) -> None:
    (tmp_path / "data/parts").mkdir(parents=True)
    (tmp_path / "data/parts/1.csv").write_text("1")
    made = Watched(tmp_path, train=(tmp_path / "data/parts").as_uri(), format="path")
    (made.own / "test.csv").write_text("test")
    made.fetch()
    assert made.changed() is None
    (made.own / "parts/1.csv").write_text("2")
    first = made.changed()
    assert first is not None
    assert "train" in first.reason
    (made.own / "test.csv").write_text("more")
    second = made.changed()
    assert second is not None
    assert "test" in second.reason
