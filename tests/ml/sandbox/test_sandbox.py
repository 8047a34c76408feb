"""The parts of the sandbox that a test can hold in its hand."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import RejectedError, UnavailableError
from ml.environments import indexes, requirements_check
from ml.environments.index_proxy import IndexProxy
from ml.readers import syntax_reader, toml_reader
from ml.runtime import invoke
from ml.sandbox import file_access, report, sandbox, uids
from ml.settings import MlSettings
from tests.harness import plain_http
from tests.harness.packages import build_sdist, put_package
from tests.harness.shelf import Shelf, serving


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MlSettings]:
    def make(**variables: str) -> MlSettings:
        told = {"DATABASE_URL": "postgresql://a@127.0.0.1/b", "SLIPWAY_HOME": str(tmp_path), **variables}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        return MlSettings()  # type: ignore[call-arg]

    return make


def test_a_model_keeps_its_user_and_shares_it_with_no_other(tmp_path: Path) -> None:
    first, second = uids.uid_for(tmp_path, "one"), uids.uid_for(tmp_path, "other")

    assert first != second
    assert uids.uid_for(tmp_path, "one") == first
    assert all(uids.FIRST_UID <= user < uids.FIRST_UID + uids.UID_COUNT for user in (first, second))


def test_no_two_names_have_one_user_when_all_are_taken(tmp_path: Path) -> None:
    numbers = range(uids.FIRST_UID, uids.FIRST_UID + uids.UID_COUNT)
    uids.write_registry(tmp_path / "users.json", {f"model@{number}": number for number in numbers})
    with pytest.raises(UnavailableError, match="close pull requests"):
        uids.uid_for(tmp_path, "one")


def test_what_holds_is_said_with_its_numbers(settings: Callable[..., MlSettings]) -> None:
    made = settings(SLIPWAY_MEMORY="4GiB", SLIPWAY_FILE_SIZE="2GiB")
    holds, lacks = report.list_measures(made)

    assert any("4 GiB of memory" in words and "files of 2 GiB" in words for words in holds)
    assert any("this machine" in words or "metadata" in words for words in (*holds, *lacks))
    holds, lacks = report.list_measures(settings(SLIPWAY_TRAIN_PORTS="none"))
    assert not any("train" in words for words in (*holds, *lacks))


def test_a_plain_users_files_are_not_called_held(settings: Callable[..., MlSettings]) -> None:
    made = settings()
    _, lacks = report.list_measures(made)

    changed = any("modes, times and attributes of this user's files" in words for words in lacks)
    assert changed is not uids.can_switch(made.home.resolve())


def test_a_folder_of_one_model_is_closed_to_other_models(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a model a user of its own")
    file = tmp_path / "artifacts/one/1"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    held = sandbox.Sandbox(tmp_path, "one", 59_123, 1 << 30, 1 << 30, 100, ())
    file_access.grant_read(file, held)
    found = file.parent.stat()

    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (59_123, 0o710)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "pandas\n-r more/../../outside.txt\n"),
        ("requirements.txt", "-r more.txt\n"),
        ("requirements.txt", "--constraint \\\n  /etc/passwd\n"),
        ("requirements.txt", "-e ../neighbour\n"),
        ("requirements.txt", "../neighbour\n"),
        ("requirements.txt", "x @ file:///etc/x.whl ; python_version > '3'\n"),
        ("requirements.txt", "--find-links=/srv/wheels\n"),
        ("requirements.txt", "-r https://example.com/requirements.txt\n"),
        ("pyproject.toml", '[project]\ndependencies = ["x @ file:///etc/x.whl"]\n'),
        ("pyproject.toml", '[tool.uv.sources]\nx = { path = "../x" }\n'),
        ("uv.lock", '[[package]]\nsource = { editable = "../x" }\n'),
    ],
)
def test_requirements_stay_in_their_repository(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "more.txt").write_text("-c /etc/passwd\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(
        RejectedError, match=r"outside of the repository|in the repository|write the option in one"
    ):
        requirements_check.check_inclusions(tmp_path / name, tmp_path)


def test_requirements_of_the_repository_itself_are_fine(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("numpy\n-r ../requirements.txt\n")
    (tmp_path / "requirements.txt").write_text(
        "# -r /etc/passwd\npandas>=2 # see ../README\n-r more/base.txt\n-e .\n./vendored\n"
        "x @ https://example.com/x.whl\ny @ git+https://example.com/y.git@v1\n--index-url https://example.com/s\n"
    )
    requirements_check.check_inclusions(tmp_path / "requirements.txt", tmp_path)


def test_logins_of_indexes_go_to_their_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "corp=https://packages.example.com/simple")
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "reader")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", "p%40ss")
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example.com/simple/")
    (index,) = indexes.indexes_from_env(indexes.EXTRA_VARIABLES)

    assert index.address == "https://packages.example.com/simple/"
    with_login = index.address.replace("//", "//reader:p%40ss@")
    assert indexes.mask_passwords(f"GET {with_login} with p@ss or p%40ss") == (
        "GET https://***@packages.example.com/simple/ with *** or ***"
    )
    doorway = IndexProxy([index])
    try:
        assert doorway.auth_headers("https://packages.example.com/files/x.whl")
        assert not doorway.auth_headers("https://elsewhere.example.com/files/x.whl")
        assert doorway.resolve_target(f"/{doorway.secret}/0/x/") == "https://packages.example.com/simple/x/"
        for closed in ("/guess/0/x/", f"/{doorway.secret}/1/x/", f"/{doorway.secret}/0/../../private"):
            assert doorway.resolve_target(closed) is None
        assert doorway.resolve_target(f"/{doorway.secret}/file/{'0' * 32}/x.whl") is None
    finally:
        doorway.server_close()


def test_a_full_disk_is_the_machines_fault(tmp_path: Path) -> None:
    held = sandbox.Sandbox(tmp_path, "one", None, 1 << 30, 1 << 30, 100, ())
    output = tmp_path / "output.json"
    output.write_text(json.dumps({"error": {"message": "train() raised OSError", "limit": "disk"}}))
    with pytest.raises(UnavailableError, match="disk is full"):
        invoke.read_reply("train", output, 0, held)


@pytest.mark.parametrize("text", ["", "[]", '{"error": 1}', '{"result": 1}', "[" * 100_000, '{"error": {}}'])
def test_an_answer_of_the_models_own_making_is_the_models_fault(text: str, tmp_path: Path) -> None:
    held = sandbox.Sandbox(tmp_path, "one", None, 1 << 30, 1 << 30, 100, ())
    (tmp_path / "output.json").write_text(text)
    with pytest.raises(RejectedError, match="wrote something of its own"):
        invoke.read_reply("train", tmp_path / "output.json", 0, held)


def test_logins_of_indexes_open_listed_files_alone(shelf: Shelf) -> None:
    """A lock names addresses, and a repository may write locks."""
    put_package(shelf, "more-six", build_sdist("more_six"), "tar.gz")
    shelf.put(b"keys", "/private/more_six-2.0.tar.gz")
    file, private = shelf.url("/files/more_six-1.0.tar.gz"), shelf.url("/private/more_six-2.0.tar.gz")
    with IndexProxy([indexes.parse_index(shelf.url("/simple/", user="reader:p4711@"))]) as doorway:
        here, closed = doorway.to_proxied_lock(f'"{file}" "{private}"').replace('"', "").split()
        answers = [plain_http.get(address, trust_env=False).status_code for address in (here, closed)]

    assert answers == [200, 404]
    assert doorway.to_public_lock(f"{here} {closed}") == f"{file} {private}"
    assert "/private/more_six-2.0.tar.gz" not in [asked.path for asked in shelf.asked]


def test_a_file_of_python_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    """Its names cannot be told then; parsing takes a hundred times the file's size."""
    file = tmp_path / "main.py"
    file.write_text("entry_point = 1\n")
    assert syntax_reader.read_names(file) == {"entry_point"}
    file.write_text("x = 1\n" * (toml_reader.MAX_FILE_BYTES // 6 + 1))
    assert syntax_reader.read_names(file) == {syntax_reader.ANY_NAME}
