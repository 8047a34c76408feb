"""An erasure names the releases that were trained on the erased rows, and removes what they read."""

from pathlib import Path
from typing import Any
from uuid import UUID

from common.system import filelock
from db.request_log import read_id_time
from ml.paths import QUALITY_FOLDER, HomeLayout
from tests.ml.serving.request_log.test_erasure import SECRET, erase
from tests.ml.serving.request_log.test_recorded import ID, rows_of
from tests.ml.serving.support import Shop, main_py


def trained(begin: str, end: str) -> dict[str, Any]:
    """The facts of a release that was trained on the rows from one call to another."""
    times = [read_id_time(UUID(call)).isoformat() for call in (begin, end)]
    period = {"begin": times[0], "end": times[1], "rows": 2, "read_at": times[1]}
    return {"data": {"train": {"sha256": "", "recorded": period}, "test": {"sha256": ""}}}


def put_rows(shop: Shop, release: int, folder: str) -> Path:
    file = HomeLayout(shop.settings.home).release_path(release) / folder / "recorded/train.csv"
    file.parent.mkdir(parents=True)
    file.write_text(SECRET)
    return file


def test_releases_trained_on_erased_rows_are_named(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    calls = []
    for number in range(4):
        made = shop.predict({"who": SECRET if number == 1 else "other", "x": number})
        rows_of(shop, made, 1)
        calls.append(made.headers[ID])
    with_it = shop.publish(main_py("return 2"), **trained(calls[0], calls[2]))
    shop.publish(main_py("return 3"), **trained(calls[2], calls[3]))
    began_from_it = shop.publish(main_py("return 4"), warm_start=with_it)

    answer = erase(shop, field="who", value=SECRET).json()
    assert (answer["erased"], answer["trained_on"]) == (1, [with_it, began_from_it])
    assert erase(shop, ids=[calls[1]]).json()["trained_on"] == [with_it, began_from_it], "although it is gone"
    assert erase(shop, field="who", value=SECRET).json()["trained_on"] == []


def test_rows_in_files_of_training_are_removed(shop: Shop) -> None:
    made = shop.predict({"x": 1}) if shop.publish(main_py("return 1")) else None
    assert made is not None
    call = made.headers[ID]
    release = shop.publish(main_py("return 2"), **trained(call, call))
    other = shop.publish(main_py("return 3"))
    files = [put_rows(shop, release, name) for name in ("data", "data.new", "retraining-3.data", "source")]
    foreign = put_rows(shop, other, "data")

    answer = erase(shop, ids=[call]).json()
    assert (answer["trained_on"], answer["building"]) == ([release], [])
    assert [file.exists() for file in files] == [False, False, False, True], "the repository is not touched"
    assert foreign.exists(), "it has no recorded rows"


def test_a_release_that_reads_rows_meanwhile_is_named(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    call = shop.predict({"x": 1}).headers[ID]
    release = shop.publish(main_py("return 2"), data={"train": {"recorded": {}}, "test": {}})
    file = put_rows(shop, release, "data.new")
    with filelock.acquire(HomeLayout(shop.settings.home).release_path(release) / "builder.lock"):
        answer = erase(shop, ids=[call]).json()
    assert (answer["building"], answer["trained_on"]) == ([release], [release])
    assert file.exists(), "its builder reads it, and removes it when it ends"


def test_rows_that_scoring_has_left_in_files_are_removed(shop: Shop) -> None:
    release = shop.publish(main_py("return 1"))
    call = shop.predict({"x": 1}).headers[ID]
    file = put_rows(shop, release, QUALITY_FOLDER)
    assert erase(shop, ids=[call]).json()["trained_on"] == []
    assert not file.exists()
