"""Checks of pull requests that mean harm: what their code reaches, and what their texts do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from db.outbox import SubjectKind
from db.states import Status
from db.vcs_models import OutboxSubject
from ml.sandbox import uids
from tests.ml.builder.test_prediction_diff import asked
from tests.ml.checks.support import approve, propose, show
from tests.ml.conftest import Appliance
from tests.models import files, working
from vcs.outbox.comment import MAX_CHARS, render_comment
from vcs.outbox.subjects import shorten

SECRET = "ghp_of-the-operator"
OF_PEOPLE = ("/root", str(Path.home()))
# prints what it can open, change, signal and look into, but for what every model may
SPY = """
import os
import re
import socket
import sys

PLACES = {places!r}
ADDRESSES = {addresses!r}
SECRETS = {secrets!r}


def spy():
    found = []
    own = re.match(".*/releases/[0-9]+/", os.path.realpath(__file__)).group()
    may_use = (own, *map(os.path.realpath, (sys.prefix, os.environ["HOME"], os.environ["TMPDIR"])))
    for place in PLACES:
        for folder, _, names in os.walk(place):
            if os.access(folder, os.W_OK) and not (os.path.realpath(folder) + "/").startswith(may_use):
                found.append("may write in " + folder)
            for name in names:
                path = os.path.join(folder, name)
                try:
                    with open(path, "rb") as file:
                        file.read(1)
                except OSError:
                    continue
                if not os.path.realpath(path).startswith(may_use):
                    found.append("reads " + path)
    for path in (os.path.join(sys.prefix, "pyvenv.cfg"), os.__file__):  # the next merge has the same
        try:
            open(path, "r+b").close()
            found.append("may change " + path)
        except OSError:
            continue
    for name, value in os.environ.items():
        if "postgres" in value or "token" in name.lower() or "password" in name.lower():
            found.append("has " + name)
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat("/proc/" + pid).st_uid != os.getuid():
                os.kill(int(pid), 0)
                found.append("may signal " + pid)
        except OSError:
            continue
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        for name in ("environ", "maps", "cmdline", "root", "cwd", "fd"):
            path = os.path.join("/proc", pid, name)
            try:
                if os.stat("/proc/" + pid).st_uid == os.getuid():
                    continue
                if os.path.isdir(path):
                    content = os.listdir(path)
                else:
                    with open(path, "rb") as file:
                        content = file.read(1 << 20)
            except OSError:
                continue
            if name == "cmdline":  # open to everybody
                content = [secret for secret in SECRETS if secret.encode() in content]
            if content:
                found.append("looks into " + path)
    for address in ADDRESSES:
        try:
            socket.create_connection(address, 5).close()
            found.append("connects to " + repr(address))
        except OSError:
            continue
    return found
"""


def write_spy(appliance: Appliance, *other_places: str) -> dict[str, str]:
    """Return a repository whose every part looks around, also in other places, and says what it has found."""
    home, database = appliance.settings.home, make_url(appliance.settings.database_url)
    places = [str(home / name) for name in ("artifacts", "releases", "repositories", "cache", "locks")]
    places += [str(home), str(appliance.repository.path), *other_places]
    addresses = [(database.host, database.port)]  # recorded requests, the outbox, tokens for clones
    spying = SPY.format(places=places, addresses=addresses, secrets=[SECRET])
    model = files(
        head="from spy import spy\n",
        train="print('train found', spy())\nreturn pickle.dumps(20.0)",
        evaluate="print('evaluate found', spy())\nreturn {'SMAPE': 0.1}",
        predict="return spy() or [pickle.loads(model)]",
    )
    runs = "from spy import spy\nprint('test found', spy())\n"
    manifest = "[test]\ncommand = 'python look.py'\n"
    return {**model, "spy.py": spying, "look.py": runs, "slipway.toml": manifest}


def spy_without_sandbox(appliance: Appliance, *other_places: str) -> str:
    """Return what the same code finds as a process of ours."""
    folder = appliance.settings.home / "releases/999/source"
    folder.mkdir(parents=True)
    (folder / "spy.py").write_text(write_spy(appliance, *other_places)["spy.py"])
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "DATABASE_TOKEN": "secret"}
    command = [sys.executable, "-c", "import spy; print(spy.spy())"]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_code_of_a_check_reaches_nothing_of_others(live: Appliance) -> None:
    propose(live, 8, working.quick(smape=0.15))
    asked(live, 3, 2)
    check = propose(live, 7, write_spy(live, *OF_PEOPLE))
    assert check.status is Status.CHECKED, check.reason
    for stage in ("test", "train", "evaluate"):
        assert f"{stage} found []" in live.log(check, stage)
    assert check.differences is not None
    assert check.differences["inputs"] == "recorded requests"
    assert [row["this"] for row in check.differences["worst"]] == ["[20.0]"] * 2
    found = spy_without_sandbox(live)
    for path in ("artifacts/web-traffic/1", "artifacts/web-traffic@8/2", "web-traffic@checks.git/HEAD"):
        assert f"{path}'" in found
    assert "has DATABASE_TOKEN" in found
    for what in ("may change", "connects to"):
        assert what in found


@pytest.fixture
def worker_of_live(live: Appliance) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the model's user, with a secret in its environment, as a worker of the live release."""
    home = live.lookout.home.root
    user = uids.uid_for(home, live.model) if uids.can_switch(home) else None
    environment = {"PATH": os.environ["PATH"], "PASSWORD": SECRET}
    with subprocess.Popen(["sleep", "600"], user=user, env=environment) as process:
        yield process
        process.kill()


def test_code_of_an_approved_fork_reaches_even_less(
    live: Appliance,
    worker_of_live: subprocess.Popen[bytes],
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)  # of the builder
    others = live.settings.data_folder / "other/rows.csv"
    others.parent.mkdir(parents=True)
    others.write_text("what another model learns from\n")
    asked(live, 3, 2)
    head = live.repository.propose(7, write_spy(live, *OF_PEOPLE, str(credentials)))
    show(live, 7, head, head_repository_id=2)
    approve(live, 7, head)
    live.settle()

    check = live.release(head)
    assert (check.status, check.is_fork) == (Status.CHECKED, True), check.reason
    for stage in ("test", "train", "evaluate"):
        assert f"{stage} found []" in live.log(check, stage)
    assert check.differences is not None
    assert check.differences["inputs"] == "rows of the test data"
    assert {row["this"] for row in check.differences["worst"]} == {"[20.0]"}
    found = spy_without_sandbox(live, str(credentials))
    for what in ("other/rows.csv", "watch/database-url", "has DATABASE_TOKEN"):
        assert what in found
    if uids.can_switch(live.lookout.home.root):
        assert f"looks into /proc/{worker_of_live.pid}/environ" in found


HOSTILE_NAMES = [
    ("@everyone | `x` [a](http://example.com) <b>", "checked"),
    ("\x1b[31mred\u202e", "cannot be printed"),
    ("a" * 1000, "longer than 100 characters"),
]


@pytest.mark.parametrize(("name", "outcome"), HOSTILE_NAMES)
def test_names_of_metrics_stay_text_at_github(appliance: Appliance, name: str, outcome: str) -> None:
    check = propose(appliance, 7, files(evaluate=f"return {{{name!r}: 0.5}}"))
    assert outcome in (check.reason or check.status)
    comment, status = read_github(appliance)
    assert len(comment) < MAX_CHARS
    assert comment.replace("\n", "").isprintable()
    assert status.isprintable()
    assert "| `x`" not in comment  # a pipe would begin a cell, a backtick end the code


def read_github(appliance: Appliance) -> tuple[str, str]:
    """Return the comment and the status that GitHub would show."""
    with appliance.sessions.begin() as session:
        found = {each.kind: each for each in session.scalars(select(OutboxSubject))}
        comment, status = found[SubjectKind.COMMENT.value], found[SubjectKind.STATUS.value]
        rendered = render_comment(comment.id, comment.facts, lambda url: f"https://slipway.example{url}")
        return rendered, shorten(status.facts["description"])


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ("{str(n): n for n in range(10_000)}", "10,000 metrics, and at most 200 are taken"),
        ("{'SMAPE': float('nan')}", "SMAPE"),
        ("{'SMAPE': 10**400}", "SMAPE"),
    ],
)
def test_metrics_without_end_or_number_are_the_commits_fault(
    appliance: Appliance, metrics: str, reason: str
) -> None:
    rule = "[gate]\nSMAPE = { max = 1 }\n"
    check = propose(appliance, 7, {**files(evaluate=f"return {metrics}"), "slipway.toml": rule})
    assert check.status is Status.REJECTED
    assert reason in (check.reason or "")
    comment, status = read_github(appliance)
    assert len(comment) < MAX_CHARS
    assert reason in status
