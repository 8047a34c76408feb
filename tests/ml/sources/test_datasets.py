"""Where a release's data comes from, what is kept of it, and what is refused."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError
from db.states import Status
from ml.data_folders import DataFolders
from ml.manifest import DataSection
from ml.settings import MlSettings
from ml.sources import datasets
from ml.sources.datasets import DataSets, DataSources
from ml.sources.fetch.cache import DataCache
from ml.sources.fetch.download import DownloadLimits
from tests.harness.shelf import Shelf
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.ml.controller.test_crash import kill_builder
from tests.models import working

TRAIN, TEST = b"day,visits\n1,10\n2,20\n", b"day,visits\n3,30\n"


class Place:
    """A repository's tree, the appliance's folder for data, and a release."""

    def __init__(self, root: Path, *readable: str) -> None:
        """`readable` are the folders in SLIPWAY_DATA that the model `web` may read; none: the whole."""
        self.root, self.source, self.folder = root, root / "source", root / "data"
        self.folders = DataFolders(
            self.folder, self.folder / "web", tuple(self.folder / name for name in readable or ["."])
        )
        self.log = root / "logs/data.log"
        self.source.mkdir()

    def put(self, name: str, content: bytes = TRAIN) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def fetch(self, release: int = 1, **section: object) -> DataSets:
        cache = DataCache(self.root / "cache", DownloadLimits(1 << 30, 60))
        supply = DataSources(self.folders, AddressPolicy.from_text("127.0.0.1"), cache)
        told = DataSection.model_validate(section)
        into = self.root / f"releases/{release}/data"
        return datasets.fetch_datasets(told, self.source, supply, output=into, log=self.log)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_without_a_word_it_is_in_the_repository(place: Place) -> None:
    place.put("source/data/train.csv", TRAIN)
    place.put("source/data/test.csv", TEST)

    found = place.fetch()

    assert found.train.path == place.source / "data/train.csv"
    assert found.to_metadata() == {
        "train": {"sha256": sha256(TRAIN), "size": len(TRAIN), "from": "data/train.csv in the repository"},
        "test": {"sha256": sha256(TEST), "size": len(TEST), "from": "data/test.csv in the repository"},
    }
    assert f"train: data/train.csv in the repository: {len(TRAIN)} bytes" in place.log.read_text()


def test_else_it_is_on_the_appliance_and_stays_what_it_was(place: Place) -> None:
    train = place.put("data/web/train.csv", TRAIN)
    place.put("data/web/test.csv", TEST)
    train.chmod(0o600)

    found = place.fetch()
    train.write_bytes(b"changed while the model trains")

    assert found.train.path == place.root / "releases/1/data/train/train.csv"
    assert found.train.path.read_bytes() == TRAIN
    assert found.train.path.stat().st_mode & 0o777 == 0o444
    assert place.fetch() == found  # the same release, after a crash
    assert place.fetch(release=2).train.sha256 == sha256(b"changed while the model trains")


def test_else_all_three_places_are_said(place: Place) -> None:
    with pytest.raises(RejectedError) as fault:
        place.fetch()

    for word in ("data/train.csv in the repository", "[data] train", f"{place.folder}/web/train.csv"):
        assert word in str(fault.value)


def test_an_address_is_fetched_and_keeps_its_ending(place: Place, shelf: Shelf) -> None:
    shelf.put(TRAIN, "/a%20b/tr%C3%A4in.csv.gz?key=s3cret")
    place.put("source/test/x.json", TEST)
    url = shelf.url("/a%20b/tr%C3%A4in.csv.gz?key=s3cret")

    found = place.fetch(train=url, test="test/x.json", format="json")

    assert found.train.path.name == "tr_in.csv.gz"
    assert found.train.to_request() == {"path": str(found.train.path), "format": "json"}
    assert found.train.to_metadata()["from"] == shelf.url("/a%20b/tr%C3%A4in.csv.gz?…")
    assert "s3cret" not in place.log.read_text() + json.dumps(found.to_metadata())


def test_two_releases_hold_one_copy(place: Place, shelf: Shelf) -> None:
    shelf.put(TRAIN)
    first = place.fetch(1, train=shelf.url(), test=shelf.url())
    second = place.fetch(2, train=shelf.url(), test=shelf.url())

    inodes = {found.path.stat().st_ino for found in (first.train, first.test, second.train, second.test)}
    assert len(inodes) == 1
    assert shelf.methods().count("GET") == 1


def test_the_digest_may_be_pinned_wherever_the_file_is(place: Place, shelf: Shelf) -> None:
    shelf.put(TEST)
    place.put("source/data/train.csv", TRAIN)
    pins = {"train": sha256(TRAIN), "test": sha256(TEST)}
    assert place.fetch(1, test=shelf.url(), sha256=pins).test.sha256 == sha256(TEST)

    with pytest.raises(
        RejectedError, match=f"has the sha256 {sha256(TRAIN)}, and slipway.toml wants {'0' * 64}"
    ):
        place.fetch(2, test=shelf.url(), sha256={"train": "0" * 64})


def test_a_folder_is_handed_over_by_its_path_alone(place: Place) -> None:
    place.put("source/images/a.png", b"a")
    place.put("source/images/more/b.png", b"b")

    found = place.fetch(1, train="images", test="images", format="path")
    assert (found.train.path, found.train.size) == (place.source / "images", 2)
    place.put("source/images/more/b.png", b"c")
    assert place.fetch(2, train="images", test="images", format="path").train.sha256 != found.train.sha256

    with pytest.raises(RejectedError, match='only format = "path"'):
        place.fetch(3, train="images", test="images")


def test_a_folder_on_the_appliance_is_used_where_it_is(place: Place) -> None:
    place.put("data/images/a.png", b"a")
    url = (place.folder / "images").as_uri()

    assert place.fetch(train=url, test=url, format="path").train.path == place.folder / "images"


@pytest.mark.parametrize("link", ["/etc/passwd", "/dev/zero", "../../secret", "../secret.csv"])
def test_a_link_out_of_the_repository_is_not_followed(link: str, place: Place) -> None:
    place.put("secret.csv")
    place.put("source/data/test.csv")
    (place.source / "data/train.csv").symlink_to(link)
    with pytest.raises(RejectedError, match=r"link out of the repository|no such file"):
        place.fetch()

    (place.source / "folder").mkdir()
    (place.source / "folder/x").symlink_to(link)
    with pytest.raises(RejectedError, match=r"folder/x is a link out of|which is not a file"):
        place.fetch(train="folder", test="folder", format="path")


def test_a_link_within_the_repository_is(place: Place) -> None:
    place.put("source/real.csv", TRAIN)
    place.put("source/data/test.csv", TEST)
    (place.source / "data/train.csv").symlink_to("../real.csv")

    assert place.fetch().train.sha256 == sha256(TRAIN)


def test_a_pointer_of_git_lfs_is_not_taken_for_data(place: Place) -> None:
    place.put("source/data/train.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")

    with pytest.raises(RejectedError, match="is a pointer of Git LFS"):
        place.fetch()


def test_another_file_of_the_appliance_is_out_of_reach(place: Place) -> None:
    place.put("secret.csv")

    for url in (
        f"file://{place.root}/secret.csv",
        f"file://{place.folder}/../secret.csv",
        "file:///etc/passwd",
    ):
        with pytest.raises(RejectedError, match="is not in "):
            place.fetch(train=url)


@pytest.fixture
def one_of_several(tmp_path: Path) -> Place:
    """Where the model `web` is one of several, and `churn` another."""
    return Place(tmp_path, "web", "shared")


@pytest.mark.parametrize(
    "named",
    [
        "churn/train.csv",
        "train.csv",
        "web/../churn/train.csv",
        "web/%2e%2e/churn/train.csv",
        "web/..%2fchurn/train.csv",
        "%63hurn/train.csv",
        "web//../churn/train.csv",
        "shared/../churn/train.csv",
        "WEB/train.csv",
        "webs/train.csv",
        "web/link.csv",
        "web/folder/train.csv",
        "shared/link.csv",
    ],
)
def test_another_models_data_is_out_of_reach(named: str, one_of_several: Place) -> None:
    for name in ("churn", "WEB", "webs", "."):
        one_of_several.put(f"data/{name}/train.csv")
    one_of_several.put("data/web/test.csv")
    one_of_several.put("data/shared/test.csv")
    (one_of_several.folder / "web/link.csv").symlink_to("../churn/train.csv")
    (one_of_several.folder / "web/folder").symlink_to("../churn")
    (one_of_several.folder / "shared/link.csv").symlink_to("../churn/train.csv")

    with pytest.raises(RejectedError) as fault:
        one_of_several.fetch(train=f"file://{one_of_several.folder}/{named}")

    for word in (f"put it in {one_of_several.folder}/web", f"{one_of_several.folder}/shared", "data = [...]"):
        assert word in str(fault.value)


def test_its_own_folder_and_the_shared_one_are_within_reach(one_of_several: Place) -> None:
    one_of_several.put("data/web/deep/train.csv", TRAIN)
    one_of_several.put("data/shared/test.csv", TEST)

    where = one_of_several.folder.as_uri()
    found = one_of_several.fetch(train=f"{where}/web/deep/train.csv", test=f"{where}/shared/test.csv")

    assert (found.train.sha256, found.test.sha256) == (sha256(TRAIN), sha256(TEST))


@pytest.mark.parametrize("target", ["../churn/train.csv", "../../secret.csv", "/etc/passwd"])
def test_a_link_out_of_a_models_folder_is_not_followed(target: str, one_of_several: Place) -> None:
    one_of_several.put("data/churn/train.csv")
    one_of_several.put("secret.csv")
    one_of_several.put("data/web/test.csv")
    link = one_of_several.folder / "web/train.csv"
    link.symlink_to(target)
    with pytest.raises(RejectedError, match="is a link out of"):
        one_of_several.fetch()

    url = link.parent.as_uri()
    with pytest.raises(RejectedError, match=r"web/train\.csv is a link out of"):
        one_of_several.fetch(train=url, test=url, format="path")


def test_a_models_folder_may_be_a_link(one_of_several: Place) -> None:
    one_of_several.put("disk/train.csv", TRAIN)
    one_of_several.put("disk/test.csv", TEST)
    one_of_several.folder.mkdir()
    (one_of_several.folder / "web").symlink_to(one_of_several.root / "disk")

    assert one_of_several.fetch().train.sha256 == sha256(TRAIN)


def readable(monkeypatch: pytest.MonkeyPatch, folder: Path, model: str, **more: str) -> set[str]:
    """The folders that the settings let a model read, as they lie in SLIPWAY_DATA."""
    told = {"DATABASE_URL": "postgresql://nowhere", "SLIPWAY_DATA": str(folder / "data"), **more}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    folders = MlSettings().data_folders(model).readable  # type: ignore[call-arg]
    return {os.path.relpath(each, folder / "data") for each in folders}


def test_several_models_read_what_the_operator_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = tmp_path / "models.toml"
    several.write_text(
        '[web]\nrepository = "acme/web"\ndata = ["weather", "/mnt/wide"]\n'
        '[churn]\nrepository = "acme/churn"\n[other]\nrepository = "acme/other"\ndata = ["."]\n'
    )
    found = {
        name: readable(monkeypatch, tmp_path, name, SLIPWAY_MODELS=str(several)) for name in ("web", "churn")
    }

    assert found["web"] == {"web", "shared", "weather", os.path.relpath("/mnt/wide", tmp_path / "data")}
    assert found["churn"] == {"churn", "shared"}


def test_a_model_named_shared_shares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = tmp_path / "models.toml"
    several.write_text('[shared]\nrepository = "acme/shared"\n[churn]\nrepository = "acme/churn"\n')

    assert readable(monkeypatch, tmp_path, "churn", SLIPWAY_MODELS=str(several)) == {"churn"}


def test_the_only_model_reads_all_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "." in readable(monkeypatch, tmp_path, "web", SLIPWAY_REPOSITORY="acme/web")


@pytest.mark.parametrize("name", ["", "../other", "a/../../b"])
def test_what_is_granted_lies_in_the_folder_for_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = tmp_path / "models.toml"
    several.write_text(f'[web]\nrepository = "acme/web"\ndata = ["{name}"]\n')

    with pytest.raises(SystemExit, match=r"web\.data\.0: .* is not a folder in SLIPWAY_DATA"):
        readable(monkeypatch, tmp_path, "web", SLIPWAY_MODELS=str(several))


def test_a_release_that_is_fetched_for_says_what_it_used(
    make_appliance: Callable[..., Appliance], shelf: Shelf
) -> None:
    appliance = make_appliance(SLIPWAY_DATA_ALLOW="127.0.0.1")
    shelf.put(b"date,visits\n2026-01-05,100\n2026-01-06,110\n", "/train.csv")
    shelf.put(b"date,visits\n2026-01-07,120\n", "/test.csv")
    manifest = f'[data]\ntrain = "{shelf.url("/train.csv")}"\ntest = "{shelf.url("/test.csv")}"\n'
    commit = appliance.merge({**working.quick(), "slipway.toml": manifest})
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    assert release.data is not None
    assert release.data["test"]["sha256"] == sha256(shelf.items["/test.csv"].content)
    assert release.metrics is not None
    assert release.metrics["rows"] == 1
    assert "training on 2 rows" in appliance.log(release, "train")
    assert "train: " in appliance.log(release, "data")

    def tidy() -> bool:
        appliance.look()
        return not (appliance.settings.home / f"releases/{release.id}/data").exists()

    assert wait_until(tidy, 20, "what it was trained on is taken away")


def test_a_fetch_goes_on_after_its_builder_was_killed(
    make_appliance: Callable[..., Appliance], shelf: Shelf
) -> None:
    appliance = make_appliance(SLIPWAY_DATA_ALLOW="127.0.0.1")
    item = shelf.put(b"date,visits\n" + b"2026-01-05,100\n" * 50_000)
    item.pause = 0.3
    manifest = f'[data]\ntrain = "{shelf.url()}"\ntest = "{shelf.url()}"\n'
    commit = appliance.merge({**working.quick(), "slipway.toml": manifest})
    appliance.wait_for_stage("data")
    parts = appliance.settings.home / "data-cache/addresses"
    wait_until(lambda: sum(part.stat().st_size for part in parts.glob("*.part")), 20, "a part is here")
    kill_builder(appliance)
    item.pause = 0
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED
    ranges = [asked.headers.get("range") for asked in shelf.asked if asked.method == "GET"]
    assert [bool(wanted) for wanted in ranges] == [False, True]
    (kept,) = (appliance.settings.home / "data-cache/content").iterdir()
    assert kept.read_bytes() == item.content


def test_a_private_address_ends_a_release_in_words(
    make_appliance: Callable[..., Appliance], shelf: Shelf
) -> None:
    appliance = make_appliance()
    commit = appliance.merge(
        {**working.quick(), "slipway.toml": f'[data]\ntrain = "{shelf.url("/train.csv")}"\n'}
    )
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert "127.0.0.1, which is not on the internet" in (release.reason or "")
    assert shelf.asked == []


def test_the_model_cannot_change_what_others_train_on(
    make_appliance: Callable[..., Appliance], shelf: Shelf
) -> None:
    """The file is one for all releases that use it."""
    appliance = make_appliance(SLIPWAY_DATA_ALLOW="127.0.0.1")
    content = b"date,visits\n2026-01-05,100\n"
    shelf.put(content)
    files = working.quick()
    vandal = """
import os
for name in ("train", "test"):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", name, "data.csv")
    try:
        os.chmod(path, 0o666)
        open(path, "w").write("poison")
        print("poisoned", path)
    except OSError as error:
        print("kept from it:", error)
"""
    files["main.py"] = vandal + files["main.py"]
    files["slipway.toml"] = f'[data]\ntrain = "{shelf.url()}"\ntest = "{shelf.url()}"\n'
    commit = appliance.merge(files)
    appliance.settle()

    said = appliance.log(appliance.release(commit), "train")
    assert "kept from it:" in said
    assert "poisoned" not in said
    (kept,) = (appliance.settings.home / "data-cache/content").iterdir()
    assert kept.read_bytes() == content
