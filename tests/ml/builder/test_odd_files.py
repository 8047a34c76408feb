"""Files that a repository may have: they matter where they are used, and nowhere else."""

import pytest

from db.states import Status
from tests.ml.conftest import Appliance
from tests.models import files

COLUMNS = 'return {"Name": "n", "Type": "Regression", "columns": list(self.columns), "first": self.missing}'
EVALUATE = """
    import pandas
    self.columns, self.missing = test_data.columns, pandas.NA
    return {"SMAPE": 0.25}
"""


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_data_in_utf16_without_a_mark_is_described(appliance: Appliance, encoding: str) -> None:
    """Pandas reads it, with NULs in the names of columns."""
    made = files(train="return b'1'", evaluate=EVALUATE, info=COLUMNS, predict="return 1")
    data = {"data/train.csv": b"ab,c\n1,2\n", "data/test.csv": "ab,c\n1,2\n".encode(encoding)}
    commit = appliance.merge(made | data)
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    assert release.info is not None
    assert "\\x00" in str(release.info["columns"])
    assert release.info["first"] == "<NA>"


def test_data_in_utf16_with_a_mark_is_refused_in_a_sentence(appliance: Appliance) -> None:
    commit = appliance.merge(files() | {"data/train.csv": "ab,c\n1,2\n".encode("utf-16")})
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert "train.csv" in str(release.reason)
    assert "'utf-8' codec can't decode byte 0xff" in str(release.reason)


def test_a_link_to_nowhere_does_not_matter(appliance: Appliance) -> None:
    appliance.repository.path.joinpath("old.txt").symlink_to("nowhere/old.txt")
    commit = appliance.merge(files())
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    assert (appliance.settings.home / f"releases/{release.id}/source/old.txt").is_symlink()
