"""Every stage of a release has a log that says what was done, and why it ended where it did."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from db.models import Status
from ml import stagelog
from ml.api.tail import ORDER, logs
from ml.home import Home
from tests.ml.conftest import Appliance
from tests.ml.test_release import GATE, go_live
from tests.models import working

ROOT = Path(__file__).parents[2]


def last_line(text: str) -> str:
    return text.splitlines()[-1].partition(" ")[2]  # without its time


def test_each_stage_says_what_it_did(appliance: Appliance) -> None:
    commit = appliance.merge(working.quick())
    appliance.settle()
    release = appliance.release(commit)
    home = Home(appliance.settings.home)

    assert list(logs(home.logs(release.id))) == [*ORDER[:-1]]  # but serve's
    assert f"fetching commit {commit[:8]} from {appliance.repository.url}" in appliance.log(
        release, "checkout"
    )
    assert f"commit {commit}: 3 files, " in appliance.log(release, "checkout")
    assert f"environment {release.environment} is " in appliance.log(release, "environment")
    assert f"sha256 {release.artifact}" in appliance.log(release, "train")
    assert "SMAPE 0.250" in appliance.log(release, "evaluate")
    assert "nothing was live to compare with" in appliance.log(release, "gate")
    assert last_line(appliance.log(release, "deploy")) == "passed the gate, to be deployed"


def test_the_gate_shows_every_metric_beside_the_live_ones_and_each_rule(appliance: Appliance) -> None:
    appliance.merge({**working.quick(smape=0.20), "slipway.toml": GATE})
    appliance.settle()
    go_live(appliance)
    worse = appliance.merge(working.quick(smape=0.30))
    appliance.settle()

    release = appliance.release(worse)
    assert release.status is Status.REJECTED
    said = appliance.log(release, "gate")
    assert "beside release 1, which is live" in said
    assert "SMAPE 0.300, live has 0.200 (+50.0%)" in said
    assert "rule: SMAPE may worsen by 5%: not passed" in said
    assert last_line(said) == f"rejected: {release.reason}"


def test_a_repository_that_cannot_be_fetched_is_told_of_without_its_password(
    make_appliance: Callable[..., Appliance],
) -> None:
    appliance = make_appliance(SLIPWAY_CLONE_URL="http://ada:s3cret@127.0.0.1:9/acme/web-traffic.git")
    appliance.merge(working.quick())
    appliance.wait_for_stage("checkout")
    appliance.lookout.builders.wait()

    release = appliance.releases()[0]
    said = appliance.log(release, "checkout")
    assert "from http://***@127.0.0.1:9/acme/web-traffic.git" in said
    assert last_line(said) == f"unavailable: {release.reason}"
    assert "s3cret" not in said


def test_a_reason_of_several_lines_forges_none(tmp_path: Path) -> None:
    stagelog.to(tmp_path / "train.log", "evil\x1b[2J")("boom\r\n02:00:00 release 99 is live\u202e")
    text = (tmp_path / "train.log").read_text()

    assert [line[8:] for line in text.splitlines()] == [
        r" evil\x1b[2J: boom\r",
        r"    02:00:00 release 99 is live\u202e"[8:],
    ]


def test_a_log_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    stagelog.to(tmp_path / "logs/train.log")("never mind")


def test_a_log_takes_any_text_whatever_the_locale(tmp_path: Path) -> None:
    log = tmp_path / "stage.log"
    code = "import pathlib; from ml import stagelog; stagelog.to(pathlib.Path({}))('\\xe9 \\ud800')"
    without_utf8 = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    subprocess.run(
        [sys.executable, "-c", code.format(repr(str(log)))], env=without_utf8, cwd=ROOT, check=True
    )

    assert log.read_text(encoding="utf-8").endswith("é \\ud800\n")
