"""What is cheap to check is checked first, and all that is wrong is named at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import RejectedError
from db import releases
from db.states import Status
from ml.builder import preflight
from ml.manifest import Manifest
from ml.settings import MlSettings
from ml.sources import datasets
from tests.harness.repositories import Files, ModelRepository
from tests.ml.conftest import Appliance
from tests.models import files, working

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Files], None]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@127.0.0.1/b")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    supply = datasets.data_sources(MlSettings(), "web-traffic")

    def check(changes: Files) -> None:
        repository = ModelRepository(tmp_path / "repository").write({**files(), **changes})
        preflight.check_repository(repository.path, Manifest(), supply, [])

    return check


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"main.py": None}, r"no main\.py"),
        ({"main.py": "x = 1\n"}, r"main\.py has no `entry_point`"),
        ({"main.py": "def train(:\n"}, r"main\.py is no Python: SyntaxError in line 1"),
        ({"main.py": "entry_point = 1\0\n"}, r"main\.py is no Python"),
        ({"main.py": POINTER}, r"main\.py is a pointer of Git LFS"),
        ({"data/train.csv": POINTER}, r"data/train\.csv is a pointer of Git LFS"),
        ({"data/test.csv": None}, "there is no test data"),
        ({"requirements.txt": "-r missing/../../x.txt\n"}, "outside of the repository"),
        ({".python-version": "../python\n"}, "name a version there"),
        ({"pyproject.toml": "[project\n"}, r"pyproject\.toml is not TOML"),
    ],
)
def test_what_is_wrong_is_named(changes: Files, words: str, check: Callable[[Files], None]) -> None:
    with pytest.raises(RejectedError, match=words):
        check(changes)


@pytest.mark.parametrize(
    "text",
    [
        "from model import entry_point\n",
        "from model import *\n",
        "import model as entry_point\n",
        "try:\n    entry_point: object = 1\nexcept ImportError:\n    raise\n",
        "class entry_point:\n    pass\n",
        "globals()['entry_' + 'point'] = 1\n",
        "def __getattr__(name):\n    return 1\n",
        "# -*- coding: latin-1 -*-\nentry_point = 'caf\xe9'\n".encode("latin-1"),
        "x = " + "(" * 50_000 + ")" * 50_000 + "\n",
    ],
)
def test_what_may_be_right_is_left_to_python(text: str | bytes, check: Callable[[Files], None]) -> None:
    if isinstance(text, str) and text.startswith("x = "):
        with pytest.raises(RejectedError, match="is no Python"):
            check({"main.py": text})
    else:
        check({"main.py": text})


def test_newer_syntax_is_left_to_a_newer_python(check: Callable[[Files], None]) -> None:
    check({"main.py": "type entry_point[T] = later syntax\n", ".python-version": "3.99\n"})


def test_all_that_is_wrong_is_named_at_once(appliance: Appliance) -> None:
    commit = appliance.merge(
        {
            **dict.fromkeys(files()),
            "main.py": "x = 1\n",
            "slipway.toml": "[modell]\n",
            "requirements.txt": "-r /etc/hostname\n",
        }
    )
    appliance.settle()
    release = appliance.release(commit)

    assert release.status is Status.REJECTED
    for words in (
        "5 things",
        "slipway.toml",
        "`entry_point`",
        "/etc/hostname",
        "no train data",
        "no test data",
    ):
        assert words in str(release.reason)
    with appliance.sessions.begin() as session:
        found = releases.find(session, release.id)
        assert found is not None
        assert [stage.name for stage in found.stages] == ["checkout"]


def test_a_missing_module_names_what_was_not_read(appliance: Appliance) -> None:
    commit = appliance.merge(
        {
            **files(head="import lightgbm"),
            "pyproject.toml": '[tool.poetry]\nname = "web"\n[tool.poetry.dependencies]\nlightgbm = "^4"\n',
        }
    )
    appliance.settle()
    release = appliance.release(commit)

    assert "No module named 'lightgbm'. Pyproject.toml has [tool.poetry], which Slipway does" in str(
        release.reason
    )
    assert "[tool.poetry], which Slipway does not read" in appliance.log(release, "environment")


def test_a_pointer_that_the_code_reads_is_named(appliance: Appliance) -> None:
    train = "return pickle.dumps(pickle.load(open('weights.pkl', 'rb')))"
    commit = appliance.merge({**files(train=train), "weights.pkl": POINTER})
    appliance.settle()
    release = appliance.release(commit)

    assert "Of weights.pkl the repository has a pointer of Git LFS alone" in str(release.reason)
    assert "weights.pkl" in appliance.log(release, "checkout")


def test_a_package_in_src_is_imported(appliance: Appliance) -> None:
    commit = appliance.merge(
        {**working.quick(), **files(head="from ourlib import ANSWER"), "src/ourlib.py": "ANSWER = 42\n"}
    )
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED
