"""A machine that cannot confine a model's code is the machine's trouble: no commit is rejected for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UnavailableError
from ml.environments import uv
from ml.runtime import invoke
from ml.sandbox import sandbox
from ml.sandbox.interpreter_record import Interpreter, write_record
from tests.harness.waiting import wait_until
from tests.ml.serving.conftest import make_shop  # noqa: F401
from tests.ml.serving.support import Shop, main_py

WORDS = "could not be confined on this machine"


@pytest.fixture
def held(tmp_path: Path) -> sandbox.Sandbox:
    """With a limit that no kernel can set."""
    return sandbox.Sandbox(tmp_path.resolve(), "one", None, 1 << 30, 1 << 70, 100, ())


@pytest.mark.parametrize("asked", ["train", "evaluate"])
def test_a_stage_that_cannot_be_confined_is_tried_again(
    asked: str, held: sandbox.Sandbox, tmp_path: Path
) -> None:
    for name in ("source", "environment"):
        (tmp_path / name).mkdir()
    write_record(tmp_path / "environment", Interpreter(Path("/usr/bin/python3"), "3.11.7"))
    room = invoke.ModelRuntime(tmp_path / "environment", tmp_path / "source", tmp_path / "scratch", held)
    with pytest.raises(UnavailableError, match=WORDS):
        invoke.invoke(asked, {}, runtime=room, folder=tmp_path / "new", log=tmp_path / "log", timeout=30)
    assert "it was not started" in (tmp_path / "log").read_text()


def test_an_environment_is_made_later_where_uv_is_not_confined(held: sandbox.Sandbox, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=WORDS):
        uv.run(
            ["--version"],
            cwd=tmp_path,
            cache=tmp_path / "cache",
            pythons=tmp_path / "pythons",
            log=tmp_path / "log",
            sandbox=held,
        )


def test_an_unconfined_worker_leaves_live_and_is_tried_again(
    make_shop: Callable[..., Shop],  # noqa: F811
    shared_home: Path,
) -> None:
    (shared_home / "environments").unlink()  # other tests need theirs whole
    (shared_home / "environments").mkdir()
    with make_shop().serving() as shop:
        old = shop.publish(main_py("return 'old'"))
        python = next(shared_home.glob("environments/*/bin/python"))
        whole = python.readlink()
        python.unlink()
        python.write_text("no program")
        new = shop.publish(main_py("return 'new'"), wait=False)
        wait_until(lambda: WORDS in shop.get("/", "text/html").text, 30, "it is said")

        assert shop.deployment(new).state == "wanted"
        assert (shop.served(), shop.predict(1).json()["prediction"]) == (old, "old")

        python.unlink()
        python.symlink_to(whole)
        shop.until_live(new)
