"""What the documents say is so: each setting has its row, each link its file, each decision its line."""

import re
import tomllib
from pathlib import Path

import pytest

from cli.settings import CliSettings
from common.models_file import MODEL_ENTRIES, ModelEntry
from common.settings import Settings
from ml.serving.preview.settings import PreviewSettings
from ml.settings import MlSettings
from mlflow_server.settings import MlflowServerSettings
from vcs.notifications.settings import NotificationSettings
from vcs.settings import VcsSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

# for containers, the demo and the tests; a person who runs an appliance has no use for them
INTERNAL = {
    "MLFLOW_PASSWORD_PATH",
    "SLIPWAY_DEMO",
    "SLIPWAY_SINGER",
    "SLIPWAY_APPRISE",
    "SLIPWAY_MLFLOW",
    "SLIPWAY_MONITOR_ENVIRONMENT",
    "SLIPWAY_DEMO_URL",
    "SLIPWAY_VCS_URL",
}


def names(settings: type[Settings]) -> set[str]:
    fields = settings.model_fields.items()
    return {str(field.validation_alias or name).upper() for name, field in fields} - INTERNAL


@pytest.mark.parametrize(
    "settings",
    [CliSettings, MlSettings, MlflowServerSettings, NotificationSettings, PreviewSettings, VcsSettings],
)
def test_every_setting_has_its_row(settings: type[Settings]) -> None:
    table = (ROOT / "docs/configuration.md").read_text()
    assert {name for name in names(settings) if f"`{name}`" not in table} == set()


def test_every_key_of_models_toml_has_its_row() -> None:
    table = (ROOT / "docs/configuration.md").read_text().partition("## Several models")[2]
    rows = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert {key for key in ModelEntry.model_fields if f"`{key}`" not in rows} == set()
    [example] = re.findall(r"```toml\n(.*?)```", table, re.DOTALL)
    entries = MODEL_ENTRIES.validate_python(tomllib.loads(example))
    assert entries["churn"].clone_url.startswith("ssh://")


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_decision_is_left_out_of_the_list() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()
    records = [path.name for path in (ROOT / "docs/decisions").glob("0*.md")]
    assert [name for name in records if name not in listed] == []
    numbers = [name[:4] for name in records]
    assert len(set(numbers)) == len(numbers)
