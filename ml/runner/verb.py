"""Asks one question of a model in a process of its own: `train` or `evaluate`, see `ml/model`."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.errors import Rejected
from ml.runner import local

MODEL = Path(__file__).parent.parent / "model"  # runs in the model's environment


@dataclass(frozen=True)
class Room:
    """Where a release's code runs: its environment, its source tree, a scratch folder."""

    environment: Path
    source: Path
    scratch: Path


def command(room: Room, verb: str, folder: Path, *more: str) -> list[str | Path]:
    return [room.environment / "bin/python", "-I", "-u", "-X", "utf8", MODEL, verb, folder, *more]


def ask(
    verb: str, question: dict[str, Any], *, room: Room, folder: Path, log: Path, timeout: float
) -> dict[str, Any]:
    """The result of `verb`, whose files are left in `folder`; `Rejected` with what the model did wrong."""
    folder.mkdir(parents=True)
    (folder / "input.json").write_text(json.dumps({"source": str(room.source), **question}))
    process = local.start(
        command(room, verb, folder),
        cwd=room.source,
        log=log,
        scratch=room.scratch,
        environment=room.environment,
    )
    try:
        code = process.wait(timeout)
    except local.TimedOut as error:
        raise Rejected(
            f"{verb}() was ended at its time limit of {duration(timeout)}: make it faster, or have the "
            f"operator raise SLIPWAY_{verb.upper()}_TIMEOUT"
        ) from error
    finally:
        process.kill()
    return answer(verb, folder / "output.json", code)


def answer(verb: str, output: Path, code: int) -> dict[str, Any]:
    """What the process wrote, read as what a hostile one may have written."""
    if not output.is_file():
        raise Rejected(silence(f"{verb}()", code))
    try:
        document = json.loads(output.read_bytes())
        if "error" in document:
            raise Rejected(str(document["error"]["message"])[:2000])
        result = document["result"]
        assert isinstance(result, dict)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise Rejected(f"{verb}() wrote something of its own over Slipway's output.json") from error
    return result


def silence(what: str, code: int) -> str:
    """Why there is no answer, from the exit code."""
    if code <= 128:
        return f"{what} ended its process with code {code}, without an answer: does it call os._exit?"
    name = signal.Signals(code - 128).name if code - 128 in list(signal.Signals) else f"signal {code - 128}"
    hint = ": has the machine run out of memory?" if name == "SIGKILL" else ": a crash in a compiled library?"
    return f"{what} was ended by {name}{hint}"


def duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
