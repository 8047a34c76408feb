"""The working directory of a model in a folder: that folder in a copy of all that was exported."""

from pathlib import Path

import pytest

from ml.model_host import workdir


@pytest.mark.parametrize("most", [5000, 1])
def test_code_writes_beside_itself_and_reads_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of a large repository only the folders on the way are made, and what is in them linked."""
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    source = repository / "models/churn"
    files = ("models/churn/main.py", "models/churn/data/train.csv", "models/churn2/main.py", "libs/rate.txt")
    for name in files:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIPWAY_WORKPLACE", str(copy))
    monkeypatch.setattr(workdir, "MAX_LINKED_FILES", most)
    workdir.enter_workdir(str(source), str(repository))

    assert Path.cwd() == copy / "models/churn"
    assert Path("../../libs/rate.txt").read_text() == "libs/rate.txt"
    assert Path("data/train.csv").read_text() == "models/churn/data/train.csv"
    Path("model.pkl").write_text("written")
    assert sorted(path.name for path in source.iterdir()) == ["data", "main.py"]
    workdir.enter_workdir(str(source), str(repository))
    assert Path("model.pkl").read_text() == "written"
