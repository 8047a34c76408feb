"""Reads small files of a repository, bounded in bytes; TOML in a process of its own, bounded in time too.

Run as a program it is that process: `python toml_reader.py FILE` prints `{"document"}` or `{"error"}`.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

SECONDS = 10
MEMORY_BYTES = 1 << 30
MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 100  # of tables and lists in each other
PROGRAM = (sys.executable, "-I", "-S", __file__)


def read_text(path: Path, most: int = MAX_FILE_BYTES) -> str:
    """Return the text of a file of a repository; what is not UTF-8 in it is replaced.

    Raises RejectedError where it is no file of its own, or has more than `most` bytes.
    """
    from ml.errors import Rejected  # noqa: PLC0415 (not for the program)
    from ml.plain_file import read_start  # noqa: PLC0415

    found = read_start(path, most + 1)
    if found is None or len(found) > most:
        size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
        raise Rejected(f"{path.name} has to be a file of its own, of at most {size}")
    return found.decode(errors="replace")


def read_toml(path: Path, most: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the document in a TOML file, dates as text. Callers leave it as it is: it is read once.

    Raises RejectedError where `read_text` does, and where it is not TOML or takes too long to be read.
    """
    return _parse(path, read_text(path, most))


@lru_cache(maxsize=8)
def _parse(path: Path, _: str) -> dict[str, Any]:
    """Return the document in a file of this text, which a build asks for more than once."""
    from common.leash import LEASH, OUT_OF_MEMORY  # noqa: PLC0415 (not for the program)
    from ml.errors import Rejected  # noqa: PLC0415

    limits = ("--processes", "16", "--memory", str(MEMORY_BYTES))
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*LEASH, *limits, "0", "SIGKILL", *PROGRAM, path],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={},
        )
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Rejected(f"{path.name} takes more than {SECONDS} s to read: make it simpler") from error
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        if code == OUT_OF_MEMORY:
            raise Rejected(f"{path.name} takes more than {MEMORY_BYTES >> 30} GiB to read: make it simpler")
        output.seek(0)
        answer: dict[str, Any] = (
            json.load(output) if code == 0 else {"error": f"its reader ended with {code}"}
        )
    if "error" in answer:
        raise Rejected(f"{path.name} is not TOML: {answer['error']}")
    document: dict[str, Any] = answer["document"]
    return document


def check_depth(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document; raise ValueError where it nests deeper than those who walk through it can go."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        within = [value for each in level for value in (each.values() if isinstance(each, dict) else each)]
        level = [value for value in within if isinstance(value, dict | list)]
        if not level:
            return document
    raise ValueError(f"it has more than {MAX_DEPTH} tables and lists in each other")


def main() -> None:
    try:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (fast to start)
            answer = json.dumps({"document": check_depth(tomllib.load(file))}, default=str)
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number or a nesting without end
        answer = json.dumps({"error": str(error)[:500]})
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
