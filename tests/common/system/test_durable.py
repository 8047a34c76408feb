"""What is on the disk before a name is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.system.durable import move_into_place

PUBLISHING = """
import sys
from pathlib import Path
from common.system.durable import move_into_place
move_into_place(Path(sys.argv[1]), Path(sys.argv[2]))
"""
ROOT = Path(__file__).parents[3]


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("new", "place"):
        (tmp_path / name).write_text(name)

    move_into_place(tmp_path / "new", tmp_path / "place")

    assert (tmp_path / "place").read_text() == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "place"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows what is asked of the kernel")
@pytest.mark.parametrize(("kind", "sync"), [("file", "fsync"), ("folder", "syncfs")])
def test_all_is_on_the_disk_before_it_has_its_name(kind: str, sync: str, tmp_path: Path) -> None:
    new, trace = tmp_path / "new", tmp_path / "trace"
    new.touch() if kind == "file" else new.mkdir()
    command = [sys.executable, "-c", PUBLISHING, new, tmp_path / "place"]
    tracing = ["strace", "-o", trace, "-e", "trace=fsync,syncfs,rename,renameat,renameat2"]

    subprocess.run([*tracing, *command], cwd=ROOT, check=True)

    assert re.findall(r"^\w+", trace.read_text(), re.MULTILINE)[:3] == [sync, "rename", "fsync"]
