"""What the operator sets in `models.toml` wins over the repository's [retrain], key by key."""

from pathlib import Path

import pytest

from ml.retrain_section import RetrainSection, load_stored
from ml.settings import MlSettings


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> MlSettings:
    models = tmp_path / "models.toml"
    models.write_text(f'[churn]\nrepository = "acme/churn"\n{text}')
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/x")
    monkeypatch.setenv("SLIPWAY_MODELS", str(models))
    return MlSettings()


def test_the_operators_keys_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [model] = settings(
        tmp_path, monkeypatch, 'retrain = { budget = 1, timezone = "Asia/Tokyo" }'
    ).list_models()
    stored = RetrainSection(schedule="0 3 * * 1", budget=9, cooldown="90m").to_document()

    section = model.find_retrain(stored)

    assert (section.schedule, section.timezone, section.budget) == ("0 3 * * 1", "Asia/Tokyo", 1)
    assert section.cooldown == 90 * 60
    assert not model.find_retrain(None).is_on


def test_a_wrong_key_of_the_operator_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(tmp_path, monkeypatch, 'retrain = { schedule = "weekly" }')
    with pytest.raises(SystemExit, match=r"in \[churn\]: retrain.schedule: 'weekly' has not five fields"):
        made.list_models()


def test_what_another_version_has_stored_is_read_as_nothing_set() -> None:
    assert RetrainSection() == RetrainSection.model_validate({})
    assert load_stored({"schedule": "0 3 * * 1", "a key of tomorrow": 1}) == RetrainSection()
