"""What foreign code has left is taken away, and looked through, also where it has closed its folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.processes import NOBODY

CLOSED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ml.environments import assemble
from common.errors import RejectedError
from ml.sandbox import rmtree

left = Path(sys.argv[2], "left")
(left / "closed/below").mkdir(parents=True)
(left / "closed/link").symlink_to("/etc/passwd")
for folder in (left / "closed/below", left / "closed", left):
    folder.chmod(0)
left.chmod(0o700)
try:
    assemble.secure_tree(left)
    print("passed")
except RejectedError as refused:
    print(refused)
rmtree.remove_tree(left)
print("left" if left.exists() else "gone")
"""


@pytest.fixture
def said(tmp_path: Path) -> str:
    """What a user says to whom closed folders are closed, and not root."""
    plain: list[str] = []
    if os.geteuid() == 0:
        plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
            folder.chmod(0o755)
        os.chown(tmp_path, NOBODY, NOBODY)
    command = [*plain, sys.executable, "-c", CLOSED, str(Path(__file__).parents[3]), str(tmp_path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_closed_folders_are_taken_away(said: str) -> None:
    assert said.endswith("gone\n")


def test_a_link_in_a_closed_folder_is_not_overlooked(said: str) -> None:
    assert " puts 'closed" in said
