"""10,000 pull requests from a GitHub stand-in into Postgres: a sync compared with plain requests + COPY.

The plain way is the minimum: one page after the other over one connection, the same columns, a COPY into a
temporary table and one upsert. Both call the same stand-in, in a process of its own, and fill the same table
in the same Postgres, in turn; the quicker of two rounds counts.
"""

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from psycopg2 import extensions
from sqlalchemy import text

from cli.up.postgres import Postgres
from db import migrate
from db.session import create_sessionmaker
from vcs.install import install
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync

PULLS = 10_000
REPOSITORY = "acme/widgets"
ROUNDS = 2
BAR = 6.0  # times the plain way

COLUMNS = (
    *(
        "id",
        "_sdc_repository",
        "node_id",
        "number",
        "state",
        "title",
        "body",
        "draft",
        "html_url",
        "user_login",
    ),
    *("user_id", "author_association", "base_ref", "base_sha", "head_ref", "head_sha", "merge_commit_sha"),
    *("created_at", "updated_at", "closed_at", "merged_at"),
)
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\x00": None})


def main() -> bool:
    """Run the benchmark; return True when the bar was met."""
    with tempfile.TemporaryDirectory() as home, github() as url:
        install(Path(".slipway/singer"))
        server = Postgres(Path(home)).start()
        try:
            ways = {"plain requests + COPY": plain, "sync (tap | target)": sync}
            migrate.upgrade_schema(server.database_url())
            took = {
                name: min(clocked(way, server.database_url(), url) for _ in range(ROUNDS))
                for name, way in ways.items()
            }
        finally:
            server.stop()
    for name, seconds in took.items():
        print(f"  {name:24} {seconds:6.2f} s   {PULLS / seconds:7.0f} pull requests/s")
    ratio = took["sync (tap | target)"] / took["plain requests + COPY"]
    print(f"  {'ratio':24} {ratio:6.2f}     (bar: at most {BAR:g})")
    return ratio <= BAR


@contextmanager
def github() -> Iterator[str]:
    command = [sys.executable, "-m", "resources.demo.github", "--prs", str(PULLS), "--repository", REPOSITORY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def clocked(way: Callable[[str, str], None], database_url: str, github_url: str) -> float:
    with create_sessionmaker(database_url).begin() as session:
        session.execute(text("TRUNCATE vcs.pull_requests, vcs.sync_states"))
    began = time.perf_counter()
    way(database_url, github_url)
    took = time.perf_counter() - began
    with create_sessionmaker(database_url)() as session:
        brought = session.execute(text("SELECT count(*) FROM vcs.pull_requests")).scalar_one()
    assert brought == PULLS, f"{brought} of {PULLS} came"
    return took


def sync(database_url: str, github_url: str) -> None:
    settings = VcsSettings(
        SLIPWAY_REPOSITORY=REPOSITORY, github_api_url=github_url, database_url=database_url
    )
    PullRequestSync(settings, create_sessionmaker(database_url), Singer(settings)).run()


def plain(database_url: str, github_url: str) -> None:
    names = ", ".join(COLUMNS)
    extensions.set_wait_callback(None)  # COPY does not support one
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor, httpx.Client(timeout=30) as client:
        cursor.execute("CREATE TEMPORARY TABLE fetched (LIKE vcs.pull_requests)")
        url: str | None = (
            f"{github_url}/repos/{REPOSITORY}/pulls?state=all&sort=updated&direction=desc&per_page=100"
        )
        while url:
            answer = client.get(url)
            rows = "".join(map(row, answer.json()))
            cursor.copy_expert(f"COPY fetched ({names}) FROM STDIN", io.StringIO(rows))
            url = answer.links.get("next", {}).get("url")
        replaced = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        cursor.execute(
            f"INSERT INTO vcs.pull_requests ({names}) SELECT {names} FROM fetched"
            f" ON CONFLICT (id) DO UPDATE SET {replaced}"
        )
    connection.close()


def row(pull: dict[str, Any]) -> str:
    user, head, base = pull["user"], pull["head"], pull["base"]
    found = {
        **pull,
        "_sdc_repository": REPOSITORY,
        **{"user_login": user["login"], "user_id": user["id"]},
        **{
            "head_ref": head["ref"],
            "head_sha": head["sha"],
            "base_ref": base["ref"],
            "base_sha": base["sha"],
        },
    }
    return "\t".join(cell(found[name]) for name in COLUMNS) + "\n"


def cell(value: Any) -> str:
    return "\\N" if value is None else str(value).translate(ESCAPES)
