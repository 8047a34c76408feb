"""The appliance's own Postgres: it starts after whatever happened, and ends with whoever started it."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from cli.errors import UserError
from cli.up.postgres import WHEEL_PACKAGE, Postgres
from tests.harness.processes import NOBODY, alive, mentioning, normal_user, tree
from tests.harness.waiting import wait_until

START = """
import sys
from pathlib import Path
from cli.up.postgres import Postgres
server = Postgres(Path(sys.argv[1])).start()
print(server.database_url(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


@pytest.fixture
def server(home: Path) -> Iterator[Postgres]:
    started = Postgres(home).start()
    yield started
    started.stop()


def query(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        connection.commit()
        return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def postmaster(server: Postgres) -> psutil.Process:
    return psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))


def test_its_log_has_no_statement_that_failed(server: Postgres) -> None:
    """A token that is stored, and what users ask of a model, stands in statements."""
    with pytest.raises(psycopg2.errors.UndefinedTable):
        query(server.database_url(), "INSERT INTO nowhere VALUES ('ghs_secret')")
    log = (server.home / "log").read_text()
    assert 'relation "nowhere" does not exist' in log
    assert "ghs_secret" not in log


def test_it_keeps_its_data_and_its_password(home: Path) -> None:
    first = Postgres(home).start()
    query(first.database_url(), "CREATE TABLE kept AS SELECT 'Ä' AS word")
    first.stop()
    assert mentioning(home) == []

    second = Postgres(home).start()
    assert query(second.database_url(), "SELECT lower(word), current_setting('TimeZone') FROM kept") == (
        "ä",
        "UTC",
    )
    second.stop()


def test_nobody_gets_in_without_the_password(server: Postgres) -> None:
    password = server.password_file.read_text()
    assert server.password_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.database_url().replace(password, "guess"))
    addresses = {c.laddr.ip for c in postmaster(server).net_connections() if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_it_starts_again_after_it_was_killed(home: Path, number: signal.Signals) -> None:
    server = Postgres(home).start()
    query(server.database_url(), "CREATE TABLE kept AS SELECT 1 AS one")
    idle = psycopg2.connect(server.database_url())  # its backend outlives the postmaster for a moment
    postmaster(server).send_signal(number)

    again = Postgres(home).start()
    assert query(again.database_url(), "SELECT one FROM kept") == (1,)
    idle.close()
    again.stop()


def test_it_starts_when_its_old_pid_is_somebody_else_by_now(home: Path) -> None:
    server = Postgres(home).start()
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    server.stop()
    (server.data / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]))

    server.start()
    assert query(server.database_url(), "SELECT 1") == (1,)
    server.stop()


def test_half_a_cluster_is_made_anew(home: Path) -> None:
    half = home / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    server = Postgres(home).start()
    assert query(server.database_url(), "SELECT 1") == (1,)
    assert not half.exists()
    server.stop()


def test_a_second_one_waits_for_the_first_to_end(home: Path) -> None:
    first = Postgres(home).start()
    second = Postgres(home)
    waiting = subprocess.Popen(second.command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: mentioning(str(second.port)), 20, "the second server's process")
    assert not second.is_ready()
    first.stop()
    wait_until(second.is_ready, 30, "the second server is ready")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == 0


def test_it_ends_with_the_process_that_started_it(home: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout
    assert parent.stdout.readline().startswith(b"postgresql://")
    started = tree(parent.pid)
    assert len(started) > 5  # the parent, the leash, the postmaster and its own
    parent.kill()
    wait_until(lambda: not alive(started), 20, "Postgres is gone")
    assert (home / "log").read_text().rstrip().endswith("database system is shut down")


def test_it_runs_as_a_normal_user(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
    answers(folder / "postgres", normal_user(Path(sys.executable)))


def test_root_runs_it_where_user_namespaces_are_forbidden(home: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("setpriv", "true"):  # as in a container: `unshare` is of no use there
        (programs / name).symlink_to(str(shutil.which(name)))
    home.mkdir()
    closed = tmp_path / "closed"  # as a project under /root
    closed.mkdir(0o700)
    wheel = importlib.util.find_spec(WHEEL_PACKAGE)
    assert wheel
    assert wheel.submodule_search_locations
    (closed / WHEEL_PACKAGE).symlink_to(wheel.submodule_search_locations[0])
    answers(home, ["env", f"PATH={programs}", f"PYTHONPATH={closed}"])
    answers(home, [])  # and back, with the files that the other user owned


def test_why_it_does_not_start_is_said(home: Path) -> None:
    with pytest.raises(UserError, match="no_such_setting"):
        Postgres(home, settings={"no_such_setting": "1"}).start()


def answers(home: Path, prefix: list[str]) -> None:
    command = [*prefix, sys.executable, "-c", START, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert query(process.stdout.readline().strip(), "SELECT 1") == (1,)
        process.communicate("")
    assert mentioning(home) == []
