"""However a preview ends, and whenever: no process of it is left, no file, and no half of a preview."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from common.system import filelock
from db.models import Release
from ml.controller import checks, gc
from ml.paths import HomeLayout
from ml.sandbox import uids
from ml.serving.preview import preview as preview_module
from ml.serving.preview import previews as previews_module
from ml.serving.preview.preview import Preview, PreviewState
from ml.serving.preview.previews import Previews
from ml.serving.preview.problems import Ending
from ml.serving.preview.settings import PreviewSettings
from ml.serving.registry import ModelRegistry
from tests.harness.processes import mentioning
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_preview import (
    HTML,
    THRICE,
    TWICE,
    attempt,
    form_headers,
    reject,
    state,
    stop,
    workers,
)
from tests.ml.serving.test_preview_checks import NUMBER, check, make_small, record_one, small

__all__ = ["make_small", "small"]  # fixtures
SLOW = "import time\ntime.sleep(600)\n" + THRICE
PRINTS = main_py(
    """
    print("printed", features, flush=True)
    threading.Timer(0.5, print, ["later", features], {"flush": True}).start()
    pathlib.Path(os.environ["HOME"], "stored").write_text(str(features))
    return features
    """,
    head="import pathlib, threading",
)
BUSY = main_py(
    """
    home = pathlib.Path(os.environ["HOME"])
    if features:
        (home / "started").touch()
        while not (home / "go-on").exists():
            time.sleep(0.05)
    return features
    """,
    head="import pathlib",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What removes files removes none of this project's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)


def begin(shop: Shop, release: int) -> None:
    """Start a preview as its page does, and return while the model is loaded."""
    answer = shop.client.post(f"{shop.url}/releases/{release}/predict", data={}, headers=form_headers(shop))
    assert answer.status_code == 303
    wait_until(lambda: state(shop, release)["activity"] == "loading the model", 60, "it is loaded")
    wait_until(lambda: workers(shop), 30, "it has a process")


def is_unlocked(shop: Shop, release: int) -> bool:
    return not filelock.is_locked(HomeLayout(shop.settings.home).preview_lock(release))


def test_start_that_is_stopped_leaves_nothing(small: Shop) -> None:
    release = reject(small, SLOW)
    begin(small, release)
    assert not is_unlocked(small, release)

    assert stop(small, release).status_code == 202

    assert workers(small) == []
    assert state(small, release)["reason"] == "it was stopped by a person"
    assert is_unlocked(small, release)
    assert not HomeLayout(small.settings.home).preview_scratch(release).exists()


def test_client_that_leaves_does_not_stop_a_start(small: Shop) -> None:
    release = reject(small, "import time\ntime.sleep(3)\n" + THRICE)
    with suppress(httpx.ReadTimeout):
        attempt(small, release, 1, timeout=0.5)
    wait_until(lambda: state(small, release)["state"] == "ready", 60, "it is ready for the next client")
    assert attempt(small, release, 1).json()["prediction"] == 3
    stop(small, release)
    assert workers(small) == []


def test_deployment_ends_a_start(make_small: Callable[..., Shop]) -> None:
    with make_small(SLIPWAY_MEMORY="900GiB").serving() as shop:
        release = reject(shop, SLOW)
        begin(shop, release)
        shop.publish(TWICE)
        assert state(shop, release)["reason"] == "it was stopped: a deployment needed its memory"
        assert workers(shop) == []
        assert is_unlocked(shop, release)


def test_deployment_counts_what_a_preview_may_still_take(
    make_small: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_small(SLIPWAY_MEMORY="256MiB").serving() as shop:
        release = reject(shop, THRICE)
        assert attempt(shop, release, 1).status_code == 200
        # for the deployment's worker there is enough, unless the preview takes what it may
        monkeypatch.setattr(previews_module, "count_free_bytes", lambda: 300 << 20)
        shop.publish(TWICE)
        assert state(shop, release)["reason"] == "it was stopped: a deployment needed its memory"


def test_release_that_is_removed_meanwhile(small: Shop) -> None:
    release = reject(small, "import time\ntime.sleep(2)\n" + THRICE)
    begin(small, release)
    with small.sessions.begin() as session:
        session.execute(delete(Release).where(Release.id == release))
    wait_until(lambda: state(small, release).get("state") == "ready", 60, "it is ready")
    assert attempt(small, release, 1).json()["prediction"] == 3
    assert stop(small, release).status_code == 202
    assert workers(small) == []
    assert attempt(small, release, 1).status_code == 404


def test_artifact_that_is_another_one_is_not_loaded(small: Shop) -> None:
    release = reject(small, THRICE)
    HomeLayout(small.settings.home).artifact_path(small.model, release).write_bytes(b"other code")
    answer = attempt(small, release, 1)
    assert (answer.status_code, answer.json()["title"]) == (500, "The preview did not start")
    assert "is not what was trained" in answer.json()["detail"]
    assert is_unlocked(small, release)
    assert workers(small) == []


async def start(previews: Previews, release: Release) -> Preview:
    return previews.start(release)


@contextmanager
def in_process(shop: Shop) -> Iterator[tuple[Previews, Callable[..., Any]]]:
    """Previews without the service around them, and what runs a coroutine in their event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    limits = PreviewSettings(SLIPWAY_PREVIEW_MEMORY="256MiB")
    made = Previews(ModelRegistry(shop.settings.list_models()), shop.settings, limits, shop.sessions)

    def run(work: Any, seconds: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)

    try:
        yield made, run
    finally:
        run(made.end_all("the test is over"))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_end_that_is_cancelled_goes_on(make_small: Callable[..., Shop]) -> None:
    shop = make_small()
    release = shop.release(reject(shop, THRICE))

    async def cut_off(previews: Previews) -> None:
        preview = previews.start(release)
        await previews.wait_until_ready(preview)
        ending = asyncio.create_task(previews.end(preview, Ending("It has ended", "the test says so")))
        await asyncio.sleep(0)
        ending.cancel()
        with suppress(asyncio.CancelledError):
            await ending
        await previews.end(preview, Ending("It has ended", "again"))

    with in_process(shop) as (previews, run):
        run(cut_off(previews))
        assert previews.find(release.id) is None
        assert workers(shop) == []
        assert run(start(previews, release)).state is PreviewState.STARTING  # not: it is being stopped


def test_preview_that_ends_before_it_is_opened_removes_nothing(make_small: Callable[..., Shop]) -> None:
    shop, mine = make_small(), Path("mine")
    mine.write_text("of the folder that the service was started in")
    release = shop.release(reject(shop, THRICE))

    async def start_and_end(previews: Previews) -> None:
        await previews.end(previews.start(release), Ending("It has ended", "at once"))

    with in_process(shop) as (previews, run):
        run(start_and_end(previews))
        assert previews.find(release.id) is None
    assert mine.exists()


def test_restoring_is_cut_off_with_its_processes(make_small: Callable[..., Shop]) -> None:
    shop, sleep = make_small(), ["sleep", "617.25"]
    project = '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    project += '[project]\nname = "slow"\nversion = "1"\n'
    files = {"setup.py": f"import subprocess\nsubprocess.run({sleep})\n", "pyproject.toml": project}
    shop.repository.write({f"slow/{name}": text for name, text in files.items()})
    lock = 'lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\nname = "slow"\nversion = "1"\n'
    release = shop.release(reject(shop, THRICE, lock=lock + 'directory = { path = "slow" }\n'))

    with in_process(shop) as (previews, run):
        preview = run(start(previews, release))
        wait_until(lambda: mentioning(sleep[1]) or preview.closing, 60, "a package is built")
        assert preview.closing is None, previews.find_ending(release.id)

        run(previews.end(preview, Ending("It has ended", "the test says so")))

        assert mentioning(sleep[1]) == []
        wait_until(lambda: is_unlocked(shop, release.id), 30, "its files are released")


def test_what_is_printed_over_recorded_requests_is_not_kept(small: Shop) -> None:
    small.publish(TWICE)
    record_one(small, "a-users-secret")
    release = reject(small, PRINTS)
    assert attempt(small, release, "typed-by-hand").status_code == 200
    wait_until(
        lambda: "later typed-by-hand" in small.get(f"/releases/{release}/logs").text, 30, "it is logged"
    )

    page = small.client.get(f"{small.url}/releases/{release}/predict", headers=HTML).text
    assert "a-users-secret" in page
    stored = HomeLayout(small.settings.home).preview_scratch(release) / "stored"
    assert stored.read_text() == "a-users-secret"
    assert attempt(small, release, "typed-after").status_code == 200
    stop(small, release)

    assert not stored.parent.exists()
    logs = small.get(f"/releases/{release}/logs").text
    assert "printed typed-by-hand" in logs
    assert "typed-after" not in logs
    for file in HomeLayout(small.settings.home).release_path(release).rglob("*"):
        assert not file.is_file() or b"a-users-secret" not in file.read_bytes(), file
    assert state(small, release)["log"] == ""


def test_page_says_why_nothing_is_replayed_while_it_is_busy(
    small: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_module, "MAX_REQUESTS", 1)
    small.publish(TWICE)
    record_one(small)
    release = reject(small, BUSY)
    scratch = HomeLayout(small.settings.home).preview_scratch(release)
    assert attempt(small, release, 0).status_code == 200
    busy = threading.Thread(target=attempt, args=(small, release, 1), kwargs={"timeout": 60})
    busy.start()
    wait_until((scratch / "started").exists, 30, "its process is busy")

    def show() -> str:
        page = small.client.get(f"{small.url}/releases/{release}/predict", headers=HTML)
        assert page.status_code == 200
        return page.text

    assert "Recorded requests were not sent to it yet." in show()
    (scratch / "go-on").touch()
    busy.join()
    assert "Of the 1 newest recorded requests" in show()


def test_the_user_of_a_check_stays_while_its_preview_runs(small: Shop) -> None:
    release, home = check(small, THRICE), HomeLayout(small.settings.home)
    if not uids.can_switch(home.root):
        pytest.skip("models have no users of their own here")
    name = f"{small.model}@{NUMBER}"
    assert attempt(small, release, 1).status_code == 200

    assert not checks.sweep_isolated(home, set())
    assert name in uids.list_names(home.root)
    stop(small, release)
    assert checks.sweep_isolated(home, set())
    assert name not in uids.list_names(home.root)


def test_scratch_of_a_preview_that_was_killed_is_swept(small: Shop) -> None:
    release, home = reject(small, THRICE), HomeLayout(small.settings.home)
    assert attempt(small, release, 1).status_code == 200
    scratch = home.preview_scratch(release)
    gc.sweep_releases(home, [small.release(release)])
    assert scratch.is_dir()
    stop(small, release)
    scratch.mkdir()
    gc.sweep_releases(home, [small.release(release)])
    assert not scratch.exists()
