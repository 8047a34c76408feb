"""The log of a stage says what is being done while it is."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml.environments.relayed_log import relay_log
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.harness.waiting import wait_until
from tests.ml.environments.conftest import Installer


def test_what_is_fetched_is_said(make_installer: Callable[..., Installer], shelf: Shelf) -> None:
    content = {"large/numbers.bin": random.Random(0).randbytes(3 << 20)}
    put_package(shelf, "large", build_wheel("large", content))
    for item in shelf.items.values():
        item.pause = 0.15 if len(item.content) > 1 << 20 else 0
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    installer.log.parent.mkdir(parents=True, exist_ok=True)
    installer.log.touch()
    with ThreadPoolExecutor() as threads:
        building = threads.submit(lambda: installer.build(installer.resolve({"requirements.txt": "large\n"})))
        wait_until(lambda: "Downloading large (3.0MiB)" in installer.log.read_text(), 60, "it is said")
        assert not building.done()
        building.result()
    said = installer.log.read_text()

    assert said.index("resolving versions") < said.index("Resolved 1 package")
    installed = said.index("Installed 1 package")
    assert said.index("building environment") < installed < said.index("is ready: 3.0 MiB")


def test_lines_come_whole_and_without_secrets(tmp_path: Path) -> None:
    said, log = tmp_path / "said", tmp_path / "log"
    with relay_log(said, log, lambda text: text.replace("secret", "***")), said.open("w") as file:
        file.write("one\nit is sec")
        file.flush()
        wait_until(lambda: log.exists() and log.read_text() == "one\n", 10, "the first line comes")
        file.write("ret\nthe end")
    assert log.read_text() == "one\nit is ***\nthe end\n"


def test_a_program_that_talks_without_end_is_cut_off(tmp_path: Path) -> None:
    said, log = tmp_path / "said", tmp_path / "log"
    said.write_bytes(b"x" * 79 + b"\n")
    with said.open("ab") as file:
        file.truncate(64 << 20)
    with relay_log(said, log, str):
        pass
    assert log.stat().st_size <= 5 << 20
