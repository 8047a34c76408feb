"""Where packages come from: the internet, and what the operator names; nothing of this machine besides."""

import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.environments.egress_connection import AddressError
from ml.environments.egress_proxy import MAX_CONNECTIONS, EgressProxy
from tests.harness.packages import build_sdist, build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.harness.waiting import wait_until
from tests.ml.environments.conftest import Installer

MakeInstaller = Callable[..., Installer]


@pytest.mark.parametrize(
    "line",
    [
        "six @ {other}/files/six-1.0-py3-none-any.whl",
        "--index-url {other}/latest/meta-data/\nsix",
        "--extra-index-url {other}/simple/\nother",
        "--find-links {other}/files/\nother",
        "six @ git+{other}/six.git",
    ],
)
def test_a_requirement_reaches_no_service_of_this_machine(
    line: str, make_installer: MakeInstaller, shelf: Shelf, other_shelf: Shelf
) -> None:
    operators = {} if "--index-url" in line else {"UV_DEFAULT_INDEX": shelf.url("/simple/")}
    installer = make_installer(**operators)
    put_package(other_shelf, "other", build_wheel("other"))
    with pytest.raises(RejectedError, match=r"its packages may not come from 127\.0\.0\.1") as fault:
        installer.resolve({"requirements.txt": line.format(other=f"http://127.0.0.1:{other_shelf.port}")})

    assert "UV_INDEX" in str(fault.value)
    assert other_shelf.asked == []


REACHING = """
import socket, urllib.request
for reach in (
    lambda: socket.create_connection(("127.0.0.1", {port}), 5).close(),
    lambda: urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=5),
):
    try:
        reach()
    except Exception:
        pass
"""


def test_a_build_reaches_no_service_of_this_machine(
    make_installer: MakeInstaller, shelf: Shelf, other_shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    put_package(shelf, "built", build_sdist("built", REACHING.format(port=other_shelf.port)), "tar.gz")
    installer.build(installer.resolve({"requirements.txt": "built\n"}))

    assert other_shelf.asked == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("six @ git+ssh://git@example.com/six.git", "packages come by https alone"),
        ("six @ git+file:///srv/six", "outside of the repository"),
        ("six @ hg+https://example.com/six", "only git\\+https:// can be used"),
        ("six --pre --find-links /etc", "outside of the repository"),
        ("--pre --find-links=/etc", "outside of the repository"),
        ("--pre -f/etc", "outside of the repository"),
        ('six "', "cannot be read"),
    ],
)
def test_an_address_that_cannot_work_is_refused_in_words(
    line: str, words: str, make_installer: MakeInstaller
) -> None:
    with pytest.raises(RejectedError, match=words):
        make_installer().resolve({"requirements.txt": line + "\n"})


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 80),
        ("localhost", 443),
        ("::1", 443),
        ("169.254.169.254", 80),
        ("10.0.0.1", 443),
        ("192.168.1.1", 80),
        ("100.100.100.200", 80),
        ("0.0.0.0", 80),
        ("::ffff:127.0.0.1", 80),
        ("2130706433", 80),
        ("0x7f.1", 80),
        ("fd00:ec2::254", 80),
        ("8.8.8.8", 22),
        ("8.8.8.8", 0),
    ],
)
def test_an_address_that_is_not_on_the_internet_is_refused(host: str, port: int) -> None:
    with EgressProxy([]) as proxy, pytest.raises(AddressError):
        proxy.open_connection(host, port, "https")


def test_nobody_uses_the_proxy_without_its_password(shelf: Shelf) -> None:
    with (
        EgressProxy([("127.0.0.1", shelf.port)]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        client.sendall(f"CONNECT 127.0.0.1:{shelf.port} HTTP/1.1\r\n\r\n".encode())
        assert b" 407 " in client.recv(1000)
    assert shelf.asked == []


def test_connections_to_the_proxy_are_few_at_a_time(shelf: Shelf) -> None:
    with EgressProxy([("127.0.0.1", shelf.port)]) as proxy, ExitStack() as clients:

        def connect() -> socket.socket:
            return clients.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 10))

        held = [connect() for _ in range(MAX_CONNECTIONS)]
        assert connect().recv(1) == b""  # it is closed at once

        for client in held:
            client.close()

        def is_answered() -> bool:
            try:
                client = connect()
                client.sendall(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n")
                return b" 407 " in client.recv(1000)
            except ConnectionError:
                return False

        wait_until(is_answered, 20, "the proxy takes connections again")


def test_an_operators_own_proxy_is_used(shelf: Shelf) -> None:
    with (
        EgressProxy([("127.0.0.1", shelf.port)]) as theirs,  # it stands for the operator's
        EgressProxy([("127.0.0.1", shelf.port)], {"https": theirs.address}) as ours,
        ours.open_connection("127.0.0.1", shelf.port, "https") as through,
    ):
        through.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
        assert b" 404 " in through.recv(1000)
        assert through.getpeername()[1] == theirs.port


@pytest.fixture
def git_server(tmp_path: Path, shelf: Shelf) -> str:
    """A repository of a package, as files behind plain HTTP; its address."""
    work, bare = tmp_path / "work", tmp_path / "package.git"
    (work / "inhouse").mkdir(parents=True)
    (work / "inhouse/__init__.py").write_text("from git")
    (work / "backend.py").write_text(
        "import zipfile, os\n"
        "def build_wheel(folder, *_):\n"
        "    name = 'inhouse-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(os.path.join(folder, name), 'w') as wheel:\n"
        "        wheel.write('inhouse/__init__.py')\n"
        "        about = 'Metadata-Version: 2.1\\nName: inhouse\\nVersion: 1.0\\n'\n"
        "        wheel.writestr('inhouse-1.0.dist-info/METADATA', about)\n"
        "        wheel.writestr('inhouse-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n')\n"
        "        wheel.writestr('inhouse-1.0.dist-info/RECORD', '')\n"
        "    return name\n"
    )
    (work / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "inhouse"\nversion = "1.0"\n'
    )
    me = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    for words in (
        ("init", "--quiet", "--initial-branch=main", work),
        ("-C", work, "add", "."),
        ("-C", work, "commit", "--quiet", "--message=first"),
        ("clone", "--quiet", "--bare", work, bare),
        ("-C", bare, "update-server-info"),
    ):
        subprocess.run(["git", *words], check=True, env=os.environ | me)
    for path in bare.rglob("*"):
        if path.is_file():
            shelf.put(path.read_bytes(), f"/package.git/{path.relative_to(bare)}")
            shelf.put(path.read_bytes(), f"/package.git/{path.relative_to(bare)}?service=git-upload-pack")
    return f"git+http://127.0.0.1:{shelf.port}/package.git"


def test_a_package_comes_from_a_git_repository(
    git_server: str, make_installer: MakeInstaller, shelf: Shelf
) -> None:
    """From a host that the operator names; by http, as a test has no certificate that git would trust."""
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    resolved = installer.resolve({"requirements.txt": f"inhouse @ {git_server}@main\n"})

    assert installer.module(installer.build(resolved), "inhouse") == "from git"
