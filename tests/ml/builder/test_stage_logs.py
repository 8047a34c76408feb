"""Every stage of a release has a log that says what was done, and why it ended where it did."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from db.models import OPTIONAL_STAGES
from db.states import Status
from ml import stage_log
from ml.paths import HomeLayout
from ml.web.log_chunks import LOG_ORDER, find_logs
from tests.ml.builder.test_release import GATE, go_live
from tests.ml.conftest import Appliance
from tests.models import working

ROOT = Path(__file__).parents[3]
STAGES = [name for name in LOG_ORDER[:-1] if name not in OPTIONAL_STAGES]  # all but serve's are of a build


def last_line(text: str) -> str:
    return text.splitlines()[-1].partition(" ")[2]  # without its time


def test_each_stage_says_what_it_did(appliance: Appliance) -> None:
    commit = appliance.merge(working.quick())
    appliance.settle()
    release = appliance.release(commit)
    home = HomeLayout(appliance.settings.home)

    assert list(find_logs(home.logs_path(release.id))) == STAGES
    assert f"fetching commit {commit[:8]} from {appliance.repository.url}" in appliance.log(
        release, "checkout"
    )
    assert f"commit {commit}: 3 files, " in appliance.log(release, "checkout")
    assert f"environment {release.environment} " in appliance.log(release, "environment")
    assert f"sha256 {release.artifact}" in appliance.log(release, "train")
    assert "SMAPE 0.250" in appliance.log(release, "evaluate")
    assert "nothing was live to compare with" in appliance.log(release, "gate")
    assert "passed the gate, to be deployed" in appliance.log(release, "deploy")
    for stage in STAGES:
        assert last_line(appliance.log(release, stage)).startswith("done in ")


def test_the_gate_shows_each_rule_and_every_metric_beside_live(appliance: Appliance) -> None:
    appliance.merge({**working.quick(smape=0.20), "slipway.toml": GATE})
    appliance.settle()
    go_live(appliance)
    worse = appliance.merge(working.quick(smape=0.30))
    appliance.settle()

    release = appliance.release(worse)
    assert release.status is Status.REJECTED
    said = appliance.log(release, "gate")
    assert "compared with release 1\n" in said
    assert "SMAPE 0.300, release 1 has 0.200 (+50.0%)" in said
    assert "rule: SMAPE may worsen by 5%: not passed" in said
    assert last_line(said) == f"rejected: {release.reason}"


def test_an_unfetchable_repository_is_told_without_its_password(
    make_appliance: Callable[..., Appliance],
) -> None:
    appliance = make_appliance(SLIPWAY_CLONE_URL="http://ada:s3cret@127.0.0.1:9/acme/web-traffic.git")
    appliance.merge(working.quick())
    appliance.wait_for_stage("checkout")
    appliance.lookout.builders.wait_for_all()

    release = appliance.releases()[0]
    said = appliance.log(release, "checkout")
    assert "from http://***@127.0.0.1:9/acme/web-traffic.git" in said
    assert last_line(said) == f"unavailable: {release.reason}"
    assert "s3cret" not in said


def test_a_reason_of_several_lines_forges_none(tmp_path: Path) -> None:
    stage_log.stage_logger(tmp_path / "train.log", "evil\x1b[2J")("boom\r\n02:00:00 release 99 is live\u202e")
    text = (tmp_path / "train.log").read_text()

    assert [line[8:] for line in text.splitlines()] == [
        r" evil\x1b[2J: boom\r",
        r"    02:00:00 release 99 is live\u202e"[8:],
    ]


def test_a_log_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    stage_log.stage_logger(tmp_path / "logs/train.log")("never mind")


def test_a_log_takes_any_text_whatever_the_locale(tmp_path: Path) -> None:
    log = tmp_path / "stage.log"
    code = (
        "import pathlib; from ml import stage_log; stage_log.stage_logger(pathlib.Path({}))('\\xe9 \\ud800')"
    )
    without_utf8 = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    subprocess.run(
        [sys.executable, "-c", code.format(repr(str(log)))], env=without_utf8, cwd=ROOT, check=True
    )

    assert log.read_text(encoding="utf-8").endswith("é \\ud800\n")
