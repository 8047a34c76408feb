"""The stand-in over HTTP: GitHub's API, control calls, and one repository that can be cloned."""

import json
import os
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from resources.demo.demo_github import DemoPullRequests
from resources.demo.server import DemoServer, create_demo_server


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    with create_demo_server(DemoPullRequests(tmp_path_factory.mktemp("demo"))) as demo:
        yield demo


def call(demo: DemoServer, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(demo.url + path, data)) as answer:
        return json.load(answer)


def git(*arguments: str | Path) -> str:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *arguments], check=True, env=environment, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_merge_shows_up_as_github_would_show_it(demo: DemoServer) -> None:
    merged = call(demo, "/_control/merge", {"number": 2})

    pulls = call(demo, "/repos/demo/encyclopedia-visits/pulls?state=all&sort=updated&direction=desc")
    assert pulls[0]["number"] == 2
    assert pulls[0]["state"] == "closed"
    assert pulls[0]["merged_at"]
    assert pulls[0]["merge_commit_sha"] == merged["merge_commit_sha"]
    assert pulls[0]["title"] == merged["title"]
    assert pulls[0]["base"]["ref"] == "main"
    assert pulls[0]["user"]["login"] in {"ada", "ben", "chi"}


def test_what_was_merged_can_be_cloned_and_fetched_by_its_commit(demo: DemoServer, tmp_path: Path) -> None:
    merged = call(demo, "/_control/merge", {})["merge_commit_sha"]

    git("clone", "--quiet", "--bare", demo.clone_url, tmp_path / "whole")
    git("init", "--quiet", tmp_path / "shallow")
    git("-C", tmp_path / "shallow", "fetch", "--quiet", "--depth=1", demo.clone_url, merged)

    assert git("-C", tmp_path / "whole", "rev-parse", "main") == merged
    assert git("-C", tmp_path / "shallow", "rev-parse", "FETCH_HEAD") == merged
    files = git("-C", tmp_path / "shallow", "ls-tree", "-r", "--name-only", merged).splitlines()
    assert files == ["README.md", "data/test.csv", "data/train.csv", "main.py", "requirements.txt"]


def test_an_older_git_protocol_will_do(demo: DemoServer, tmp_path: Path) -> None:
    git("-c", "protocol.version=0", "clone", "--quiet", demo.clone_url, tmp_path / "old")

    assert (tmp_path / "old" / "main.py").exists()


def test_nobody_can_push(demo: DemoServer, tmp_path: Path) -> None:
    git("clone", "--quiet", demo.clone_url, tmp_path / "clone")

    with pytest.raises(subprocess.CalledProcessError) as error:
        git("-C", tmp_path / "clone", "push", "origin", "HEAD:refs/heads/mine")

    assert "403" in error.value.stderr


@pytest.mark.parametrize(
    "path",
    [
        "/encyclopedia-visits.git/config",
        "/encyclopedia-visits.git/../../../etc/passwd",
        "/encyclopedia-visits.git/info/refs/../../config?service=git-upload-pack",
        "/..%2f..%2fetc/passwd",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_served(demo: DemoServer, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", demo.server_port)
    connection.request("GET", path)

    assert connection.getresponse().status == 404


def test_a_pull_request_that_nobody_opened_is_a_conflict(demo: DemoServer) -> None:
    with pytest.raises(HTTPError) as error:
        call(demo, "/_control/merge", {"number": 99})

    assert error.value.code == 409
    assert "has no pull request 99" in error.value.read().decode()


def test_a_request_for_too_much_is_refused(demo: DemoServer) -> None:
    connection = HTTPConnection("127.0.0.1", demo.server_port)
    connection.putrequest("POST", "/encyclopedia-visits.git/git-upload-pack")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()

    assert connection.getresponse().status == 413
