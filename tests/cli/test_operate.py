"""An operator at the command line: the token is found by itself, names may be left out, errors are a line."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.auth import operator_token
from db import release_queue
from db.models import Score
from db.states import Status, Trigger
from tests.harness.waiting import wait_until
from tests.ml.conftest import shared_home  # noqa: F401 (a fixture)
from tests.ml.serving.conftest import make_shop, shop  # noqa: F401 (fixtures)
from tests.ml.serving.support import Shop, main_py

SLIPWAY = [sys.executable, "-c", "from cli.main import app; app()"]
EVIL = "\x1b[2J\u202e"
Slipway = Callable[..., subprocess.CompletedProcess[str]]


def environment(shop: Shop, **more: str) -> dict[str, str]:  # noqa: F811 (the fixture above)
    """Nothing but where the appliance lives."""
    return {
        "PATH": os.environ["PATH"],
        "SLIPWAY_HOME": str(shop.settings.home),
        "SLIPWAY_URL": shop.url,
        "LOGNAME": "dana",
        **more,
    }


@pytest.fixture
def slipway(shop: Shop, tmp_path: Path) -> Slipway:  # noqa: F811
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SLIPWAY, *arguments],
            env={"PYTHONPATH": os.getcwd(), **environment(shop, **more)},  # noqa: PTH109
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_roll_back_and_deploy_again(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))

    back = slipway("rollback", "--why", "negative visits")
    assert (back.returncode, back.stdout) == (0, f"release {first} of web-traffic is live\n")
    assert shop.served() == first
    decision = shop.get("/models/web-traffic/deployments").json()["deployments"][0]
    assert (decision["who"], decision["why"]) == ("dana", "negative visits")

    again = slipway("deploy", str(second))
    assert again.stdout == f"release {second} of web-traffic is live\n"
    assert shop.served() == second
    assert slipway("rollback", "web-traffic", "--no-wait").stdout.endswith("is going to be live\n")


def test_a_rollback_tells_where_it_ended(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    first, second, _ = (shop.publish(main_py(f"return {number}")) for number in range(3))
    (shop.settings.home / f"artifacts/web-traffic/{second}").write_bytes(b"something else")

    back = slipway("rollback")

    broken, live = back.stdout.splitlines()
    assert broken.startswith(f"release {second} failed to start: ")
    assert broken.endswith(f"; the rollback goes on to release {first}")
    assert (back.returncode, live) == (0, f"release {first} of web-traffic is live")
    assert shop.served() == first


def test_what_is_refused_is_one_line(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    release = shop.publish(main_py("return 1"))
    (shop.settings.home / f"artifacts/web-traffic/{release}").write_bytes(b"something else")

    for arguments, said in [
        (["rollback"], "no other release of web-traffic was live before"),
        (["deploy", "4711"], "There is no release 4711"),
        (["deploy", str(release)], "failed to start, the live release stays: "),
        (["cancel", str(release)], "has ended already, it is deployed"),
        (["train", "--commit", "main"], "commit: String should match pattern"),
        (["train", "another"], "There is no model 'another'; there is web-traffic."),
        (["logs", "4711", "-f"], "There is no release 4711"),
    ]:
        done = slipway(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("slipway: ")
        assert done.stderr.count("\n") == 1
        assert said in done.stderr


def test_the_token_is_needed_and_may_be_given(shop: Shop, slipway: Slipway, tmp_path: Path) -> None:  # noqa: F811
    known = operator_token.read_stored(shop.settings.home)
    elsewhere = str(tmp_path / "elsewhere")

    none = slipway("cancel", "1", SLIPWAY_HOME=elsewhere)
    wrong = slipway("cancel", "1", SLIPWAY_HOME=elsewhere, SLIPWAY_TOKEN="wrong")
    given = slipway("cancel", "1", SLIPWAY_HOME=elsewhere, SLIPWAY_TOKEN=str(known))

    assert "this needs the operators' token, and" in none.stderr
    assert "This is not the operators' token" in wrong.stderr
    assert "There is no release 1" in given.stderr


def test_train_and_cancel(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    live = shop.publish(main_py("return 1"))
    commit = shop.release(live).commit

    queued = slipway("train", "--warm-start", "-m", "new data")

    assert queued.stdout == (
        f"release {live + 1} of web-traffic is queued, commit {commit[:8]}\n"
        f"   follow it: slipway logs {live + 1} --follow\n"
    )
    release = shop.release(live + 1)
    assert (release.warm_start, release.requested_by, release.title) == (live, "dana", "new data")
    assert slipway("train", "--from", str(live)).returncode == 0
    assert slipway("cancel", str(live + 1)).stdout == f"release {live + 1} of web-traffic is cancelled\n"
    assert shop.release(live + 1).status is Status.CANCELLED


def test_a_training_of_what_was_rejected_says_so(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    live = shop.release(shop.publish(main_py("return 1")))
    with shop.sessions.begin() as session:
        rejected = release_queue.queue_release(
            session, live.model, live.repository, live.commit, Trigger.MANUAL
        )
        rejected.status, rejected.reason = Status.REJECTED, "SMAPE \x1b[2Jwould rise"

    lines = slipway("train").stdout.splitlines()

    assert lines[1:2] == [f"   release {live.id + 1} of this commit was rejected: SMAPE \\x1b[2Jwould rise"]


def score(shop: Shop, status: Status, **facts: Any) -> None:  # noqa: F811
    """Do the look-out's work for the first score that is asked for."""

    def scored() -> bool:
        with shop.sessions.begin() as session:
            asked = session.query(Score).first()
            if asked is not None:
                asked.status = status
                for name, value in facts.items():
                    setattr(asked, name, value)
            return asked is not None

    wait_until(scored, 60, "a score is asked for")


def test_evaluate_waits_for_the_score(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    live = shop.publish(main_py("return 1"))
    lookout = threading.Thread(target=score, args=[shop, Status.PASSED], kwargs={"metrics": {"SMAPE": 0.31}})
    lookout.start()
    done = slipway("evaluate")
    lookout.join()

    assert done.stdout == f"release {live} of web-traffic is going to be scored\n   SMAPE 0.31\n"


@pytest.fixture
def building(shop: Shop) -> int:  # noqa: F811
    release = shop.publish(main_py("return 1"), status=Status.BUILDING)
    write(shop, release, b"a line\r\n 10 %\r 20 %\r\x1b[2Jhidden\n")
    return release


def write(shop: Shop, release: int, text: bytes) -> None:  # noqa: F811
    log = shop.settings.home / f"releases/{release}/logs/train.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(text)


def test_a_log_is_shown_and_moves_no_cursor(shop: Shop, slipway: Slipway, building: int) -> None:  # noqa: F811
    said = "== train ==\na line\n 10 %\n 20 %\n\\x1b[2Jhidden\n"

    assert slipway("logs").stdout == said
    assert slipway("logs", str(building)).stdout == said


def test_a_log_is_followed_until_the_release_is_live_or_not(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    live = shop.publish(main_py("return 1"))
    broken = shop.publish("raise OSError('no main')", wait=False)

    for release, state in ((live, "live"), (broken, "failed: ")):
        said = slipway("logs", str(release), "--follow").stdout.splitlines()
        assert said[-2] == f"release {release} is deployed"
        assert said[-1].startswith(f"its deployment is {state}")


@pytest.mark.parametrize("facts", [{"metrics": {f"SMAPE{EVIL}": 0.5}}, {"reason": EVIL}])
def test_what_commands_print_moves_no_cursor(
    shop: Shop,  # noqa: F811
    slipway: Slipway,
    facts: dict[str, Any],
) -> None:
    shop.publish(main_py("return 1"))
    lookout = threading.Thread(target=score, args=[shop, Status.FAILED], kwargs=facts)
    lookout.start()
    done = slipway("evaluate")
    lookout.join()

    said = done.stdout + done.stderr
    assert [c for c in said if not c.isprintable() and c != "\n"] == []
    assert r"\x1b[2J\u202e" in said


def test_a_log_is_followed_over_a_restart_of_serve(
    make_shop: Callable[..., Shop],  # noqa: F811
    tmp_path: Path,
) -> None:
    made = make_shop()

    def lines(reader: subprocess.Popen[str]) -> Iterator[str]:
        assert reader.stdout is not None
        yield from iter(reader.stdout.readline, "")

    with made.process() as serve:
        release = made.publish(main_py("return 1"), status=Status.BUILDING)
        write(made, release, b"before\n")
        reader = subprocess.Popen(
            [*SLIPWAY, "logs", "--follow"],
            env={"PYTHONPATH": os.getcwd(), **environment(made)},  # noqa: PTH109
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = lines(reader)
        assert [next(said), next(said)] == ["== train ==\n", "before\n"]
        serve.kill()
        serve.wait()
        write(made, release, b"meanwhile\n")
        port = made.url.rpartition(":")[2]
        again = subprocess.Popen([sys.executable, "-m", "ml"], env={**os.environ, "ML_PORT": port})
        try:
            assert next(said) == "meanwhile\n"
            with made.sessions.begin() as session:
                known = session.merge(made.release(release))
                known.status, known.reason = Status.REJECTED, "no good"
            assert list(said) == [f"release {release} is rejected: no good\n"]
            assert reader.wait(30) == 0
        finally:
            for process in (again, reader):
                process.kill()
                process.wait()


def test_with_several_models_one_has_to_be_named(
    make_shop: Callable[..., Shop],  # noqa: F811
    tmp_path: Path,
) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[one]\nrepository = "acme/one"\n[two]\nrepository = "acme/two"\n')
    made = make_shop(SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="", SLIPWAY_MODELS=str(models))

    def refusal(served: Shop, *arguments: str) -> str:
        environ = {"PYTHONPATH": os.getcwd(), **environment(served)}  # noqa: PTH109
        done = subprocess.run(
            [*SLIPWAY, *arguments], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        return done.stderr

    with made.serving() as served:
        for command in ("rollback", "train", "evaluate"):
            assert refusal(served, command) == "slipway: name one of the models: one, two\n"
        assert "nothing of two is live: there is nothing to roll back" in refusal(served, "rollback", "two")
        assert "there is one, two" in refusal(served, "rollback", "three")


def test_retraining_is_paused_and_resumed(shop: Shop, slipway: Slipway) -> None:  # noqa: F811
    shop.publish(main_py())

    paused = slipway("pause", "--why", "repairs")

    since = shop.get("/models/web-traffic/retraining").json()["paused"]["since"]
    assert (paused.returncode, paused.stdout) == (
        0,
        f"retraining of web-traffic is paused by dana since {since}\n",
    )
    assert slipway("train").returncode == 0
    assert slipway("resume", "web-traffic").stdout == "retraining of web-traffic goes on\n"
    assert shop.get("/models/web-traffic/retraining").json()["paused"] is None
    assert slipway("pause", "nobody").returncode == 1
