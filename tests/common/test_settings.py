"""Where settings come from, and where they must not come from."""

from pathlib import Path

import pytest

from cli.settings import CliSettings
from common.settings import load_settings
from ml.settings import MlSettings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLIPWAY_HOME", "SLIPWAY_REPOSITORY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_users_home_is_not_the_appliances(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "BIND", "DATA", "URL", "REPOSITORY", "LOG"):
        monkeypatch.setenv(name, "/somebody/elses")

    assert CliSettings().home == Path(".slipway")
    assert CliSettings().bind == "127.0.0.1"


def test_a_value_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://in/a-file\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))

    assert MlSettings().database_url == "postgresql://in/a-file"


def test_a_file_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere")

    with pytest.raises(SystemExit, match="DATABASE_URL_FILE names /nowhere, which cannot be read"):
        MlSettings()


def test_empty_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", "")

    assert CliSettings().home == Path(".slipway")


def test_a_dot_env_beside_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://dot/env\nSLIPWAY_REPOSITORY=acme/Web_Traffic\n")

    assert [model.name for model in MlSettings().list_models()] == ["web_traffic"]


def test_what_is_wrong_is_one_line_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/slipway")
    monkeypatch.setenv("SLIPWAY_DATA_LIMIT", "10")
    monkeypatch.setenv("SLIPWAY_DATA_ALLOW", "minio:9000")

    with pytest.raises(SystemExit) as end:
        load_settings(MlSettings)

    assert "SLIPWAY_DATA_LIMIT: has to be a size with its unit" in str(end.value)
    assert "SLIPWAY_DATA_ALLOW: has to be hosts, addresses and networks" in str(end.value)
    assert "\n" not in str(end.value)
