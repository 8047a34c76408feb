"""The Python that a repository requires, found or downloaded."""

import platform
import re
import sys
from functools import partial
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from ml.environments import uv
from ml.environments.package_files import get_table, read_project
from ml.paths import HomeLayout
from ml.readers.toml_reader import read_text
from ml.sandbox.interpreter_record import Interpreter
from ml.sandbox.sandbox import Sandbox

MAX_PIN_BYTES = 4 << 10  # bytes of .python-version
PIN_PATTERN = re.compile(r"(?!-)[\w@.+<>=!~^*, -]+")  # no path, no option


def requested_interpreter(source: Path, home: HomeLayout, log: Path, sandbox: Sandbox) -> Interpreter:
    """Return the Python that the repository requires, else the appliance's own.

    Raises RejectedError where it requires one that is not available.
    """
    pin = read_requested_python(source)
    check_pin(pin)
    return own_interpreter() if pin is None else find_interpreter(pin, home, log, sandbox)


def check_pin(pin: str | None) -> None:
    """Raise RejectedError where the required Python is given by something else than a version."""
    if pin is not None and not PIN_PATTERN.fullmatch(pin):
        raise RejectedError(f"it asks for Python {pin[:100]!r}: name a version there, as 3.11 or >=3.10")


def own_interpreter() -> Interpreter:
    return Interpreter(Path(sys.executable).resolve(), platform.python_version())


def find_interpreter(pin: str, home: HomeLayout, log: Path, sandbox: Sandbox) -> Interpreter:
    """Return a Python of that version, downloaded where this machine has none.

    The search runs outside of the repository: a Python in there is untrusted code.
    """
    home.pythons.mkdir(parents=True, exist_ok=True)
    run_uv = partial(
        uv.run, cwd=home.pythons, cache=home.package_cache, pythons=home.pythons, log=log, sandbox=sandbox
    )
    find = ["python", "find", "--no-project", "--system"]
    try:
        found = run_uv([*find, pin]).strip()
    except RejectedError:
        try:
            run_uv(["python", "install", "--no-bin", pin])
            found = run_uv([*find, pin]).strip()
        except (RejectedError, UnavailableError) as error:
            raise RejectedError(
                f"it asks for Python {pin}, and this appliance has {platform.python_version()} and cannot "
                f"get another: widen .python-version or requires-python ({error})"
            ) from error
    return Interpreter(Path(found).resolve(), run_uv([*find, "--show-version", found]).strip())


def read_requested_python(source: Path) -> str | None:
    """Return the version in `.python-version`, else `requires-python`; None where there is neither."""
    if (source / ".python-version").exists():
        lines = read_text(source / ".python-version", MAX_PIN_BYTES).splitlines()
        pins = filter(None, (line.partition("#")[0].strip() for line in lines))
        return next(pins, None)
    wanted = get_table(read_project(source), "project").get("requires-python")
    return str(wanted) if wanted else None
