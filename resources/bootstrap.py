"""The bootstrap of .venv from uv.lock with nothing but Python: `python3 resources/bootstrap.py`.

With `--to-run` it installs what running needs, and keeps other installed packages.
uv does the work: the one on PATH, else the one that uv.lock pins, fetched once and checked by its hash.
Standard library only. It parses on Pythons that are too old, to report that.
"""

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FETCHED = ROOT / ".slipway" / "bin" / "uv"
OLDEST = (3, 11)
TO_RUN = ["--no-default-groups", "--group", "local", "--inexact"]
CURE = (
    "Where the network needs a proxy, name it in HTTPS_PROXY; an index of your own, in UV_DEFAULT_INDEX; the "
    "file of a certificate authority of your own, in SSL_CERT_FILE."
)


def locked(lock: str) -> Any:
    """Return the [[package]] entry of uv in the text of uv.lock."""
    import tomllib  # noqa: PLC0415 (not there on the Pythons that are rejected)

    return next(package for package in tomllib.loads(lock)["package"] if package["name"] == "uv")


def wheel_for(package: Any, system: str, machine: str, libc: str) -> "tuple[str, str]":
    """Return the url and sha256 of the wheel for this machine."""
    flavour = {"Darwin": "macosx", "Linux": "manylinux" if libc == "glibc" else "musllinux"}.get(system)
    for wheel in package["wheels"] if flavour else ():
        tags = wheel["url"].rpartition("-")[2].removesuffix(".whl").split(".")
        if any(tag.startswith(flavour) and tag.endswith("_" + machine) for tag in tags):
            return wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise SystemExit(f"uv has no wheel for {system} on {machine}: install uv by hand, then call this again")


def download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (the address is the lock's)
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        cause = getattr(error, "reason", error)
        raise SystemExit(f"cannot fetch {url}: {cause}. {CURE}") from error


def unpack(wheel: bytes, sha256: str, target: Path) -> None:
    """Write the wheel's `uv` to `target`, whole or not at all."""
    found = hashlib.sha256(wheel).hexdigest()
    if found != sha256:
        raise SystemExit(
            f"what was fetched is not the uv that uv.lock pins (sha256 {found}, not {sha256}): not used"
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        binary = archive.read(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"uv.{os.getpid()}")
    temporary.write_bytes(binary)
    temporary.chmod(0o755)
    temporary.rename(target)


def minor(version: str) -> "tuple[int, ...]":
    """Return (0, 13) of "uv 0.13.8 (…)"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def uv() -> Path:
    """Return the path of a uv whose minor version is no older than the locked one's."""
    package = locked((ROOT / "uv.lock").read_text())
    for candidate in (FETCHED, shutil.which("uv")):
        if candidate and Path(candidate).exists():
            output = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, check=False
            ).stdout
            if minor(output) >= minor(package["version"]):
                return Path(candidate)
    print("Fetching uv, which installs the rest", file=sys.stderr, flush=True)  # noqa: T201
    url, sha256 = wheel_for(package, platform.system(), platform.machine(), platform.libc_ver()[0])
    wheel = download(url)
    unpack(wheel, sha256, FETCHED)
    install_itself(FETCHED, url.rpartition("/")[2], wheel)
    return FETCHED


def install_itself(program: Path, name: str, wheel: bytes) -> None:
    """Install uv's own package into a new .venv, which would fetch it again otherwise."""
    if (ROOT / ".venv").exists():
        return
    (program.parent / name).write_bytes(wheel)
    where = ["--no-index", "--find-links", program.parent, "--python", ROOT / ".venv"]
    for command in (["venv", "--python", python(), ROOT / ".venv"], ["pip", "install", *where, "uv"]):
        if subprocess.run([program, *command, "--quiet"], env=environment(), check=False).returncode:
            break  # `sync` reports why, or succeeds
    (program.parent / name).unlink()


def sync(program: Path, groups: "list[str]") -> None:
    """Sync .venv with uv.lock for `groups`, options of uv; silent when there is nothing to do.

    It keeps its Python, or takes the one that runs this: none is fetched.
    """
    command = [program, "sync", "--locked", "--project", ROOT, "--python", python(), *groups]
    if subprocess.run(
        [*command, "--check", "--quiet"], env=environment(), capture_output=True, check=False
    ).returncode:
        print(  # noqa: T201
            "Installing what uv.lock names into .venv: 70 MB the first time, 140 MB with what tests need",
            file=sys.stderr,
            flush=True,
        )
        if subprocess.run([*command, "--compile-bytecode"], env=environment(), check=False).returncode:
            raise SystemExit(f"uv could not make .venv: see above. {CURE}")


def python() -> "str | Path":
    """Return the Python of .venv, else the one that runs this."""
    own = ROOT / ".venv" / "bin" / "python"
    return own if runs(own) else getattr(sys, "_base_executable", sys.executable)


def environment() -> "dict[str, str]":
    ours = {"UV_PYTHON_DOWNLOADS": "never", "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv")}
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | ours


def runs(python: "str | Path") -> bool:
    return Path(python).exists() and not subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL)


def newer() -> "str | None":
    """Return another Python of this machine that is new enough, and works; None without one."""
    names = (shutil.which(f"python3.{number}") for number in range(OLDEST[1], 20))
    return next((name for name in names if name and runs(name)), None)


def main() -> None:
    if sys.version_info < OLDEST:
        other = newer()
        if other:
            os.execv(other, [other, *sys.argv])  # noqa: S606
        raise SystemExit(f"Slipway needs Python 3.11 or newer, and this is {platform.python_version()}")
    sync(uv(), TO_RUN if sys.argv[1:] == ["--to-run"] else [])


if __name__ == "__main__":
    main()
