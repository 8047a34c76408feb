"""Asks one question of a model in a process of its own: `train` or `evaluate`, see `ml/model`."""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.leash import FILES, OUT_OF_DISK, OUT_OF_MEMORY
from common.text import make_storable
from ml import disk
from ml.errors import Rejected, Unavailable
from ml.model.jsonable import is_deeper
from ml.runner import local, sandbox, trees
from ml.runner.sandbox import MODEL, Sandbox

LIMITED = ("train", "evaluate")  # whose time limit is a setting
CONNECTED = ("train",)  # what may use the network
ANSWER = 16 << 20  # bytes of output.json
DEEPEST = 150  # lists and objects in each other in it
MAX_MESSAGE = 2000  # characters of an error's text
LEFT = ("input.json", "output.json", "artifact")  # what a process leaves for us


@dataclass(frozen=True)
class Room:
    """Where a release's code runs: its environment, its source tree, a scratch folder, and how it is held."""

    environment: Path
    source: Path
    scratch: Path
    sandbox: Sandbox


def command(room: Room, verb: str, folder: Path, *more: str) -> list[str | Path]:
    return [room.environment.resolve() / "bin/python", "-I", "-u", "-X", "utf8", MODEL, verb, folder, *more]


def ask(
    verb: str,
    question: dict[str, Any],
    *,
    room: Room,
    folder: Path,
    log: Path,
    timeout: float,
    here: Sequence[int] = (),
    extra: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The result of `verb`, whose files are left in `folder`; `Rejected` with what the model did wrong.

    Only training has a network. It may connect to the TCP ports `here` on this machine too, and finds `extra`
    in its environment.
    """
    folder.mkdir(parents=True)
    folder, source = folder.resolve(), room.source.resolve()
    question, given = resolved({"source": str(source), **question})
    (folder / "input.json").write_text(json.dumps(question))
    process = local.start(
        command(room, verb, folder),
        sandbox=room.sandbox,
        cwd=source,
        log=log,
        scratch=room.scratch,
        ports=room.sandbox.ports if verb in CONNECTED else (),
        here=here if verb in CONNECTED else (),
        has_sockets=True,
        extra=extra,
        reads=given,
        writes=[folder],
        environment=room.environment,
    )
    try:
        code = wait(process, verb, timeout)
        sandbox.take_back(folder, LEFT)
        return answer(verb, folder / "output.json", code, room.sandbox)
    except (Rejected, Unavailable):
        if verb == "train":  # nothing else uses what it wrote
            trees.remove(room.scratch)
        raise


def wait(process: local.Process, verb: str, timeout: float) -> int:
    """The exit code, when the whole tree has ended."""
    try:
        return process.wait(timeout)
    except local.TimedOut as error:
        raise Rejected(
            f"{verb}() was ended at its time limit of {duration(timeout)}: make it faster"
            + (f", or have the operator raise SLIPWAY_{verb.upper()}_TIMEOUT" if verb in LIMITED else "")
        ) from error
    finally:
        process.kill()


def resolved(question: dict[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """The question with every file that it names by its real path, and these files."""
    data = question.get("data")
    files = {name: Path(question[name]).resolve() for name in ("artifact", "previous") if question.get(name)}
    told = question | {name: str(path) for name, path in files.items()}
    if not data:
        return told, list(files.values())
    path = Path(data["path"]).resolve()
    return told | {"data": {**data, "path": str(path)}}, [*files.values(), path]


def answer(verb: str, output: Path, code: int, held: Sandbox) -> dict[str, Any]:
    """What the process wrote, read as what a hostile one may have written."""
    if not output.is_file():
        if disk.is_full(output.parent, ANSWER):
            raise Unavailable(f"{verb}() gave no answer, and {disk.FULL}")
        raise unanswered(f"{verb}()", code, held)
    try:
        assert output.stat().st_size <= ANSWER
        document = json.loads(output.read_bytes())
        assert not is_deeper(document, DEEPEST)
        if "error" in document:
            message = told(document["error"], held)
            raise (
                Unavailable(f"{message}: {disk.FULL}")
                if document["error"].get("limit") == "disk"
                else Rejected(message)
            )
        result = document["result"]
        assert isinstance(result, dict)
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise Rejected(f"{verb}() wrote something of its own over Slipway's output.json") from error
    return result


def told(error: dict[str, Any], held: Sandbox) -> str:
    """The model's fault in its own words, and the limit that it ran into."""
    message = make_storable(str(error["message"]), MAX_MESSAGE)
    limit = LIMITS.get(str(error.get("limit")))
    return f"{message}: {limit(held)}" if limit else message


# what `ml/model/fault.py` calls a limit → how a person is told of it
LIMITS: dict[str, Callable[[Sandbox], str]] = {
    "memory": lambda held: (
        f"it ran out of its memory limit of {size(held.memory)} ([resources] memory, SLIPWAY_MEMORY)"
    ),
    "file": lambda held: f"no file may be larger than {size(held.file_size)} (SLIPWAY_FILE_SIZE)",
    "processes": lambda held: f"it ran out of its limit of {held.processes} processes and threads",
    "closed": lambda _: (
        "the sandbox keeps that closed. A model reads its repository and its data, "
        "and writes below its HOME and TMPDIR. train() alone has a network"
    ),
}


def unanswered(what: str, code: int, held: Sandbox) -> Rejected | Unavailable:
    """Whose fault it is that there is no answer, from the exit code."""
    if code == sandbox.NOT_CONFINED:
        return Unavailable(f"{what} could not be confined on this machine: its log says why")
    return Rejected(silence(what, code, held))


def silence(what: str, code: int, held: Sandbox) -> str:
    if code == OUT_OF_MEMORY:
        return f"{what} was ended: {LIMITS['memory'](held)}"
    if code == OUT_OF_DISK:
        most = f"{size(held.disk or 0)} (twice SLIPWAY_FILE_SIZE), are more than {FILES:,}, or lie too deep"
        return f"{what} was ended: its files hold more than {most}"
    if code <= 128:
        return f"{what} ended its process with code {code}, without an answer: does it call os._exit?"
    name = signal.Signals(code - 128).name if code - 128 in list(signal.Signals) else f"signal {code - 128}"
    hint = {
        "SIGKILL": "has the machine run out of memory?",
        "SIGXFSZ": LIMITS["file"](held),
    }.get(name, f"a crash in a compiled library, or out of its memory limit of {size(held.memory)}?")
    return f"{what} was ended by {name}: {hint}"


def size(amount: int) -> str:
    return f"{amount / (1 << 30):.3g} GiB"


def duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
