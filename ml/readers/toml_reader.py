"""The reader of small files of a repository, bounded in bytes; TOML in a process, bounded in time too.

Run as a program it is that process: `python toml_reader.py FILE` prints `{"document"}` or `{"error"}`.
"""

import codecs
import json
import subprocess
import sys
import tempfile
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

SECONDS = 10
MAX_MEMORY_BYTES = 1 << 30
MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 100  # of nested tables and lists


def read_text(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of a file of a repository: UTF-8, or UTF-16 with the byte order mark of Windows.

    Raises RejectedError where it is something else, is no file of its own, or has more than `max_bytes`
    bytes.
    """
    from common.errors import RejectedError  # noqa: PLC0415 (not for the program)
    from common.system.plain_file import read_start  # noqa: PLC0415

    found = read_start(path, max_bytes + 1)
    if found is None or len(found) > max_bytes:
        size = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes >> 10} KiB"
        raise RejectedError(f"{path.name} has to be a file of its own, of at most {size}")
    encoding = "utf-16" if found.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = found.decode(encoding)
    except UnicodeDecodeError as error:
        line = found[: error.start].count(b"\n") + 1
        raise RejectedError(f"line {line} of {path.name} is not UTF-8: save the file as UTF-8") from error
    if "\0" in text:
        raise RejectedError(f"{path.name} is not UTF-8: save it as UTF-8")
    return text


def read_toml(path: Path, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the document in a TOML file, dates as text. Callers must not change it: it is cached.

    Raises RejectedError where `read_text` does, and where it is not TOML or takes too long to be read.
    """
    return _parse_once(path, read_text(path, max_bytes))


@lru_cache(maxsize=8)
def _parse_once(path: Path, _: str) -> dict[str, Any]:
    """Return the document in a file of this text, which a build needs more than once."""
    from common.errors import RejectedError  # noqa: PLC0415

    answer = read_in_subprocess(path, __file__) or {"error": "its reader broke"}
    if "error" in answer:
        raise RejectedError(f"{path.name} is not TOML: {answer['error']}")
    document: dict[str, Any] = answer["document"]
    return document


def read_in_subprocess(path: Path, program: str) -> dict[str, Any] | None:
    """Return the output of one of our programs that reads a file of a repository; None where it crashes.

    Raises RejectedError where that takes too much time or memory.
    """
    from common.errors import RejectedError  # noqa: PLC0415
    from common.system.limit_checks import EXIT_OUT_OF_MEMORY  # noqa: PLC0415 (not for the program)
    from common.system.process_guard import GUARD_COMMAND  # noqa: PLC0415 (the same)

    limits = ("--processes", "16", "--memory", str(MAX_MEMORY_BYTES))
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*GUARD_COMMAND, *limits, "0", "SIGKILL", sys.executable, "-I", "-S", program, path],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={},
        )
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RejectedError(
                f"{path.name} takes more than {SECONDS} s to read: make it simpler"
            ) from error
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        if code == EXIT_OUT_OF_MEMORY:
            raise RejectedError(
                f"{path.name} takes more than {MAX_MEMORY_BYTES >> 30} GiB to read: make it simpler"
            )
        output.seek(0)
        found: dict[str, Any] | None = json.load(output) if code == 0 else None
        return found


def check_depth(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document; raise ValueError where it nests deeper than recursive code can go."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        children = [value for each in level for value in (each.values() if isinstance(each, dict) else each)]
        level = [value for value in children if isinstance(value, dict | list)]
        if not level:
            return document
    raise ValueError(f"it has more than {MAX_DEPTH} tables and lists in each other")


def main() -> None:
    try:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (fast to start)
            text = file.read().decode("utf-8-sig")
            answer = json.dumps({"document": check_depth(tomllib.loads(text))}, default=str)
    except UnicodeDecodeError:
        answer = json.dumps({"error": "it is not UTF-8. Save it as UTF-8"})
    except (ValueError, RecursionError) as error:  # not TOML, an unbounded number or nesting
        answer = json.dumps({"error": str(error)[:500]})
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
