"""Postgres is the only truth: whatever is killed or gone, the same release is live again."""

import platform
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from cli.up.postgres import Postgres
from db import appliance, listener, migrate, notification_deliveries
from db.session import create_sessionmaker
from ml.environments.locked_environment import LockedEnvironment
from ml.paths import HomeLayout
from ml.settings import MlSettings
from tests.conftest import FAST
from tests.harness.processes import alive, tree
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py

EXAMPLES = "def examples(self): return [0]"  # so that the health prediction needs no recorded request


def serves(shop: Shop, release: int) -> None:
    wait_until(lambda: shop.served() == release, 60, f"release {release} is served")
    assert shop.predict(0).json()["release"] == release


def test_live_is_restored_when_the_newest_deployment_failed(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop()
    with shop.serving():
        good = shop.publish(main_py())
        since = shop.get("/").json()["since"]
        broken = shop.publish(main_py(head="raise RuntimeError"), wait=False)
        shop.until(broken, "failed")
    with shop.serving():
        serves(shop, good)
        assert shop.get("/").json()["since"] == since


def test_it_is_restored_without_its_source_and_environment(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    home = HomeLayout(shop.settings.home)
    lock = "# for this test alone"
    with shop.serving():
        good = shop.publish(main_py(), lock=lock)
    shutil.rmtree(home.release_path(good))
    shutil.rmtree(home.repository_path(shop.model))
    key = LockedEnvironment(lock, platform.python_version()).key
    # its lock has no hashes: it is its model's alone
    shutil.rmtree(home.environment_path(f"{key}-{shop.model}"))

    with shop.serving():
        serves(shop, good)


def test_what_was_wanted_meanwhile_is_tried_after_what_was_live(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.serving():
        good = shop.publish(main_py("return 1"))
    broken = shop.publish(main_py(head="raise RuntimeError"), wait=False)

    with shop.serving():
        shop.until(broken, "failed")
        serves(shop, good)
    better = shop.publish(main_py("return 2"), wait=False)
    with shop.serving():
        shop.until_live(better)
        serves(shop, better)


def test_an_artifact_that_was_changed_is_never_loaded(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.serving():
        release = shop.publish(main_py())
    HomeLayout(shop.settings.home).artifact_path(shop.model, release).write_bytes(b"somebody else's pickle")

    with shop.serving():
        wait_until(lambda: "digest differs" in shop.get("/").text, 30, "the trouble is said")
        assert shop.predict(0).status_code == 503
        assert shop.deployment(release).state == "live"
        better = shop.publish(main_py())
        serves(shop, better)


def test_people_are_told_that_nothing_is_live(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.sessions.begin() as session:
        appliance.set_mode(session, "repository")
        notification_deliveries.set_on(session, ["somebody"])
    with shop.serving():
        release = shop.publish(main_py())
    HomeLayout(shop.settings.home).artifact_path(shop.model, release).write_bytes(b"somebody else's pickle")

    def is_told() -> bool:
        told = (
            "SELECT count(*) FROM vcs.notifications WHERE event = 'model.nothing_live' AND ended_at IS NULL"
        )
        with shop.sessions() as session:
            return bool(session.scalar(text(told)))

    with shop.serving():
        wait_until(is_told, 60, "people are told")
        shop.publish(main_py())
        assert not is_told()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_however_serve_ends_no_worker_is_left(make_shop: Callable[..., Shop], end: signal.Signals) -> None:
    shop = make_shop()
    with shop.process() as process:
        release = shop.publish(main_py(head="import subprocess; subprocess.Popen(['sleep', '3600'])"))
        processes = tree(process.pid)
        assert len(processes) >= 4  # serve, the leash, the worker, what the model started
        process.send_signal(end)
        process.wait(20)
        wait_until(lambda: not alive(processes), 10, "all of them have ended")
    with shop.process():
        serves(shop, release)


@pytest.mark.parametrize("count", range(3))
def test_killed_at_any_moment_of_a_switch_it_ends_the_same(
    make_shop: Callable[..., Shop], count: int
) -> None:
    shop = make_shop()
    with shop.process():
        shop.publish(main_py("return 1"))
        new = shop.publish(main_py("return 2"), wait=False)
        wait_until(lambda: count == 0 or reached(shop, new, count), 30, "the moment has come")
    with shop.process():
        shop.until_live(new)
        serves(shop, new)


def reached(shop: Shop, release: int, moment: int) -> bool:
    if moment == 1:  # its worker is being started
        return HomeLayout(shop.settings.home).log_path(release, "serve").exists()
    return shop.predict(0).json()["release"] == release


def own_postgres(home: Path) -> Postgres:
    return Postgres(home, settings=FAST).start()


def test_live_stays_live_without_postgres_and_they_agree_later(
    tmp_path: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = own_postgres(tmp_path / "postgres")
    url = postgres.database_url()
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    migrate.upgrade_schema(url)
    repository = ModelRepository(tmp_path / "repository")
    for name, value in {
        "DATABASE_URL": url,
        "SLIPWAY_HOME": str(shared_home),
        "SLIPWAY_REPOSITORY": "acme/web-traffic",
        "SLIPWAY_CLONE_URL": repository.url,
    }.items():
        monkeypatch.setenv(name, value)
    shop = Shop(MlSettings(), create_sessionmaker(url), repository)  # type: ignore[call-arg]
    with shop.serving():
        good = shop.publish(main_py("return 1"))
        slow = shop.publish(main_py("return 2", head="time.sleep(2)", more=EXAMPLES), wait=False)
        log = HomeLayout(shop.settings.home).log_path(slow, "serve")
        wait_until(log.exists, 30, "the next one is being started")
        with Load(shop, clients=1) as load:
            postgres.stop()
            wait_until(
                lambda: shop.predict(0).json()["release"] == slow, 30, "it has the place without Postgres"
            )
            assert shop.get("/health").json()["database"].startswith("away")
        assert load.failed == []
        postgres = Postgres(tmp_path / "postgres", port=port, settings=FAST).start()
        shop.until_live(slow)
        serves(shop, slow)
        wait_until(lambda: shop.get("/health").json()["database"] == "ok", 30, "it has heard of Postgres")
        postgres.stop()
    with shop.serving():  # Postgres is unavailable at the start
        wait_until(lambda: shop.get("/health").status_code == 503, 30, "it is said")
        assert "Postgres is unavailable" in shop.get("/").json()["detail"]
        assert "Postgres is unavailable" in shop.get("/", "text/html").text
        assert shop.predict(0).status_code == 503
        postgres = Postgres(tmp_path / "postgres", port=port, settings=FAST).start()
        serves(shop, slow)
        with shop.sessions.begin() as session:
            assert session.scalar(text("SELECT count(*) FROM deployments WHERE state = 'live'")) == 2
        assert good != slow
    postgres.stop()


def test_a_release_that_the_world_stops_is_tried_again(
    make_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    shop = make_shop(SLIPWAY_POLL_SECONDS="1")
    with shop.serving():
        good = shop.publish(main_py("return 1"))
        hidden = shop.repository.path.rename(tmp_path / "hidden")
        moved = ModelRepository(hidden)
        shop.repository = moved
        better = shop.publish(main_py("return 2"), wait=False)
        wait_until(lambda: "is tried again" in shop.get("/", "text/html").text, 30, "the trouble is said")
        assert shop.deployment(better).state == "wanted"
        serves(shop, good)

        hidden.rename(tmp_path / "repository")
        shop.until_live(better)


def test_predictions_answer_while_serve_starts_over(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.process() as process:
        shop.publish(main_py())
        process.terminate()
        with pytest.raises(httpx.TransportError):
            while True:
                assert shop.predict(0).status_code == 200


def test_listening_begins_anew_whatever_breaks_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(listener, "select", None)
        shop.publish(main_py("return 1"))
        wait_until(lambda: "not listened to" in shop.get("/health").json()["database"], 30, "it is said")

    wait_until(lambda: shop.get("/health").json()["database"] == "ok", 30, "it is listened to again")
    serves(shop, shop.publish(main_py("return 2")))
