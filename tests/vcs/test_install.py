"""Singer's two environments are made once, anew when their requirements change, and whole or not at all."""

from pathlib import Path

import pytest

from common.environments import NotInstalled
from tests.support.waiting import free_port
from vcs import install


@pytest.fixture
def tap_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of the two is enough to see how they are made."""
    monkeypatch.setattr(install, "PARTS", ("tap",))


@pytest.mark.usefixtures("tap_only")
def test_an_environment_is_made_once_and_anew_when_it_is_out_of_date(tmp_path: Path) -> None:
    install.install(tmp_path)
    made = install.python(tmp_path, "tap").lstat().st_ino
    install.install(tmp_path)
    assert install.python(tmp_path, "tap").lstat().st_ino == made

    (tmp_path / "tap" / "key").write_text("of earlier requirements")
    assert not install.installed(tmp_path)
    install.install(tmp_path)

    assert install.installed(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "tap"]


def test_the_index_of_packages_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "singer"

    with pytest.raises(NotInstalled, match="see that it can be reached from here"):
        install.install(home)

    assert [path.name for path in home.iterdir()] == ["lock"]
