"""Singer's two environments are made once, anew when their requirements change, and whole or not at all."""

from pathlib import Path

import pytest

from common.system.pinned_venv import InstallError
from tests.harness.waiting import free_port
from vcs import install


@pytest.fixture
def tap_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of the two is enough to see how they are made."""
    monkeypatch.setattr(install, "REQUIREMENTS", {"tap": install.REQUIREMENTS["tap"]})


@pytest.mark.usefixtures("tap_only")
def test_an_environment_is_made_once_and_anew_when_outdated(tmp_path: Path) -> None:
    install.install(tmp_path)
    made = install.part_python(tmp_path, "tap").lstat().st_ino
    install.install(tmp_path)
    assert install.part_python(tmp_path, "tap").lstat().st_ino == made

    (tmp_path / "tap" / "key").write_text("of earlier requirements")
    assert not install.is_installed(tmp_path)
    install.install(tmp_path)

    assert install.is_installed(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "tap"]


@pytest.mark.usefixtures("tap_only")
def test_what_is_there_may_be_read_only(tmp_path: Path) -> None:
    install.install(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()  # root may write to whatever is read-only, but not to this
    install.install(tmp_path)


def test_the_index_of_packages_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "singer"

    with pytest.raises(InstallError, match="see that it can be reached from here"):
        install.install(home)

    assert [path.name for path in home.iterdir()] == ["lock"]


def test_a_machine_too_busy_to_compile_is_not_the_indexs_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uv says it; a real one takes as long as the machine is busy."""
    program = tmp_path / "uv"
    program.write_text(
        "#!/bin/sh\n"
        "echo Failed to bytecode-compile installed packages, after $UV_COMPILE_BYTECODE_TIMEOUT s >&2\n"
        "exit 2\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(program))

    for given in ("900", "7"):
        with pytest.raises(InstallError, match=rf"after {given} s\n.* too busy to compile") as failed:
            install.install(tmp_path / "singer")
        assert "index" not in str(failed.value)
        monkeypatch.setenv("UV_COMPILE_BYTECODE_TIMEOUT", "7")


def test_a_full_disk_is_no_fault_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "uv"
    program.write_text(
        "#!/bin/sh\necho 'failed to write to file: No space left on device (os error 28)' >&2; exit 2\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(program))

    with pytest.raises(InstallError, match="The disk is full: make room"):
        install.install(tmp_path / "singer")
