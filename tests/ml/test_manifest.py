"""`slipway.toml` says everything that DESIGN shows, and a mistake in it is named with its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import RejectedError
from db.states import Status
from ml import manifest
from ml.environments import interpreters, requirements
from ml.environments.package_files import find_package_file
from ml.environments.requirements_check import check_inclusions
from ml.manifest import Gate, MetricRule, Resources
from ml.readers import toml_reader
from tests.ml.conftest import Appliance
from tests.models import working

WHOLE = """
[model]
entry_point = "main:entry_point"
type = "time-series"
[data]
train = "data/train.csv"
test = "https://example.com/test.csv"
sha256 = { test = "%s" }
format = "csv"
[gate]
SMAPE = { better = "lower", max = 0.6, may_worsen_by = "5%%" }
"F1 score" = { min = 0.7 }
predictions = { may_differ = "20%%" }
[release]
on = "tag"
promote = "manual"
[retrain]
schedule = "0 3 * * 1"
drift = true
[resources]
train_timeout = "1h"
load_timeout = "5m"
memory = "4GiB"
""" % ("AB" * 32)


def read(folder: Path, text: str) -> manifest.Manifest:
    (folder / "slipway.toml").write_text(text)
    return manifest.read(folder)


def test_everything_that_may_be_said_is_read(tmp_path: Path) -> None:
    said = read(tmp_path, WHOLE)

    assert said.model.type == "time-series"
    assert said.data.test == "https://example.com/test.csv"
    assert (said.data.sha256.train, said.data.sha256.test) == (None, "ab" * 32)
    assert said.gate.metrics == {
        "SMAPE": MetricRule(better="lower", max=0.6, may_worsen_by="5%"),
        "F1 score": MetricRule(min=0.7),
    }
    assert said.gate.metrics["SMAPE"].may_worsen_by == 0.05
    assert said.gate.predictions is not None
    assert said.gate.predictions.may_differ == 0.2
    assert (said.release.on, said.release.promote) == ("tag", "manual")
    assert (said.resources.train_timeout, said.resources.load_timeout) == (3600, 300)
    assert said.resources.memory == 4 << 30
    assert (said.retrain.schedule, said.retrain.drift) == ("0 3 * * 1", "suggest")


def test_without_a_manifest_everything_has_its_default(tmp_path: Path) -> None:
    said = manifest.read(tmp_path)

    assert said == read(tmp_path, "")
    assert dict(said.gate.metrics) == {}
    assert said.gate.predictions is None
    assert (said.release.on, said.release.promote) == ("merge", "automatic")
    assert not said.retrain.is_on


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[gate]\nSMAPE = { max = 'low' }", "gate.SMAPE.max: "),
        ("[gate]\nSMAPE = { maximum = 1 }", "gate.SMAPE.maximum: is not a known key"),
        ("[gate]\nSMAPE = 0.6", "gate.SMAPE: has to be a table of keys"),
        ("[gate]\nSMAPE = { max = nan }", "gate.SMAPE.max: "),
        ("[gate]\nSMAPE = { max = 1, min = 2 }", "gate.SMAPE: min 2 is above max 1: nothing could pass"),
        ("[gate]\nSMAPE = { may_worsen_by = 5 }", "gate.SMAPE.may_worsen_by: has to be a percentage"),
        ("[gate]\npredictions = { max = 1 }", "gate.predictions.may_differ: "),
        ("[release]\non = 'friday'", "release.on: Input should be 'merge', 'push' or 'tag'"),
        ("[retrain]\nschedule = 'weekly'", "retrain.schedule: 'weekly' has not five fields"),
        ("[retrain]\nschedule = '0 0 30 2 *'", "retrain.schedule: '0 0 30 2 *' is not in cron syntax"),
        ("[retrain]\nschedule = '* * */20 * 1L'", "names a date that never comes: write five fields"),
        ("[retrain]\nschedule = '0 0 3 * * 1'", "has not five fields"),
        ("[retrain]\nschedule = '5L/2 0 3 * 1'", "is not in cron syntax (Bad minute)"),
        (f"[retrain]\nschedule = '{'1,' * 5000}1 * * * *'", "is longer than 100 characters"),
        ("[retrain]\ntimezone = 'Europe/Rom'", "retrain.timezone: 'Europe/Rom' is not a time zone"),
        ("[retrain]\ntimezone = '../../etc/passwd'", 'write a name of the IANA database, as "Europe/Berlin"'),
        ("[retrain]\non_data = 'yes'", "retrain.on_data: 'yes' is neither of both: write true or false"),
        ("[retrain]\ndecay = 'later'", "retrain.decay: 'later' is not known: write \"off\""),
        ("[retrain]\ncooldown = 24", "retrain.cooldown: 24 has to be a duration with its unit"),
        ("[retrain]\nbudget = 0", "retrain.budget: 0 is not a number of retrainings a week: write 1 to 1000"),
        ("[retrain]\nbudget = true", "retrain.budget: True is not a number"),
        ("[retrain]\nwarm_start = 1", "retrain.warm_start: 1 is neither of both"),
        ("[resources]\nmemory = '4G'", "resources.memory: has to be a size with its unit"),
        ("[resources]\ntrain_timeout = 3600", "resources.train_timeout: has to be a duration with its unit"),
        ("[data]\ntrain = 'data/../../train.csv'", "data.train: has to be a path in the repository"),
        ("[data]\ntrain = '../..'", "data.train: has to be a path in the repository"),
        ("[data]\ntrain = '/etc/shadow'", "data.train: has to be a path in the repository"),
        ("[data]\ntest = '.'", "data.test: has to be a path in the repository"),
        ("[data]\nsha256 = { test = 'abc' }", "data.sha256.test: has to be a SHA-256"),
        ("[data]\nformat = 'excel'", "data.format: "),
        ("[modle]\ntype = 'generic'", "modle: is not a known key"),
        ("[gate", "slipway.toml is not TOML: "),
        ("a = " + "[" * 60_000, "slipway.toml is not TOML: "),
        ("a = " + "1" * 5_000, "slipway.toml is not TOML: "),
        ("[resources]\ntrain_timeout = '1000000000d'", "has to be shorter than a year"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RejectedError) as fault:
        read(tmp_path, text)

    assert reason in str(fault.value)


def test_a_manifest_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").symlink_to("/dev/zero")

    with pytest.raises(RejectedError, match="a file of its own"):
        manifest.read(tmp_path)


def test_the_operators_gate_wins_key_by_key() -> None:
    repository = Gate.model_validate({"SMAPE": {"better": "lower", "max": 0.9}, "R2": {"min": 0.5}})
    operator = Gate.model_validate({"SMAPE": {"max": 0.6}, "MAE": {"max": 3}})

    both = operator.with_defaults(repository)

    assert both.metrics == {
        "SMAPE": MetricRule(better="lower", max=0.6),
        "R2": MetricRule(min=0.5),
        "MAE": MetricRule(max=3),
    }
    assert Gate().with_defaults(repository) == repository
    assert operator.with_defaults(Gate()) == operator


def test_the_operators_resources_win_key_by_key() -> None:
    repository = Resources(train_timeout="1h", memory="64GiB")

    assert Resources(memory="4GiB").with_defaults(repository) == Resources(train_timeout="1h", memory="4GiB")


def test_the_operators_words_hold_for_a_release(
    make_appliance: Callable[..., Appliance], tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    appliance = make_appliance(SLIPWAY_MODELS=str(models), SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="")
    models.write_text(
        f"""
        [web-traffic]
        repository = "acme/web-traffic"
        clone_url = "{appliance.repository.url}"
        gate.SMAPE = {{ max = 0.2 }}
        """
    )
    lenient = "[gate]\nSMAPE = { max = 0.9 }\n"
    commit = appliance.merge({**working.quick(smape=0.3), "slipway.toml": lenient})
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert "SMAPE" in (release.reason or "")
    assert "0.2" in (release.reason or "")


def test_a_manifest_that_takes_long_to_read_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time grows with the square of a dotted key's length: this one takes minutes."""
    monkeypatch.setattr(toml_reader, "SECONDS", 1)
    with pytest.raises(RejectedError, match=r"slipway\.toml takes more than 1 s to read"):
        read(tmp_path, "a" + ".a" * 30_000 + " = 1")


SMALL_FILES = ("slipway.toml", "pyproject.toml", ".python-version", "requirements.txt", "uv.lock")
PROJECT = '[project]\nname = "model"\nversion = "1"\n'


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_file_of_any_size_is_not_read(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("w") as file:
        file.truncate(8 << 30)  # a hole: nothing that is read whole could hold it
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write(PROJECT if name == "uv.lock" else "")
    with pytest.raises(RejectedError, match=f"{name} has to be a file of its own, of at most"):
        if name == "slipway.toml":
            manifest.read(tmp_path)
        else:
            interpreters.read_requested_python(tmp_path)
            requirements.read_requirements(find_package_file(tmp_path), tmp_path)


def test_a_lock_of_a_large_project_is_read(tmp_path: Path) -> None:
    """As large as Airflow's, which names some 1,000 packages with all their files."""
    files = [
        f'    {{ url = "https://files.pythonhosted.org/packages/{number:064}/p-1.0-py3-none-any.whl", '
        f'hash = "sha256:{number:064}", size = 1000 }},\n'
        for number in range(16)
    ]
    packages = "".join(
        f'[[package]]\nname = "p{number}"\nversion = "1.0"\n'
        'source = { registry = "https://pypi.org/simple" }\n'
        f"wheels = [\n{''.join(files)}]\n\n"
        for number in range(1000)
    )
    lock = tmp_path / "uv.lock"
    lock.write_text(f'version = 1\nrequires-python = ">=3.11"\n\n{packages}')
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert 3_300_000 < lock.stat().st_size < 8 << 20

    assert lock in check_inclusions(lock, tmp_path).files


@pytest.mark.parametrize("depth", [200, 980])
def test_tables_within_tables_without_end_are_the_commits_fault(depth: int, tmp_path: Path) -> None:
    (tmp_path / "slipway.toml").write_text("[" + ".".join("a" * depth) + "]\nb = 1\n")
    with pytest.raises(RejectedError, match=r"slipway\.toml"):
        manifest.read(tmp_path)
