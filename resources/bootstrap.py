"""Makes .venv from uv.lock on a machine that has nothing but Python: `python3 resources/bootstrap.py`.

uv does the work: the one on PATH, else the one that uv.lock pins, fetched once and checked by its hash.
Standard library only. It parses on Pythons that are too old, to tell them so.
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


def locked(lock: str) -> Any:
    """The [[package]] entry of uv in the text of uv.lock."""
    import tomllib  # noqa: PLC0415 (not there on the Pythons that are told to go)

    return next(package for package in tomllib.loads(lock)["package"] if package["name"] == "uv")


def wheel_for(package: Any, system: str, machine: str, libc: str) -> "tuple[str, str]":
    """The url and sha256 of the wheel that runs here."""
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
        cure = "is there a network, a proxy to name in HTTPS_PROXY?"
        if "CERTIFICATE" in str(cause):
            cure = "install ca-certificates, or name your own authority's file in SSL_CERT_FILE"
        raise SystemExit(f"cannot fetch {url}: {cause}; {cure}") from error


def unpack(wheel: bytes, sha256: str, target: Path) -> None:
    """Put the wheel's `uv` at `target`, whole or not at all."""
    found = hashlib.sha256(wheel).hexdigest()
    if found != sha256:
        raise SystemExit(
            f"what was fetched is not the uv that uv.lock pins (sha256 {found}, not {sha256}): not used"
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        binary = archive.read(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"uv.{os.getpid()}")
    aside.write_bytes(binary)
    aside.chmod(0o755)
    aside.rename(target)


def minor(version: str) -> "tuple[int, ...]":
    """(0, 13) of "uv 0.13.8 (…)"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def uv() -> Path:
    """The path of a uv that is no older than the locked one, but for its last digit."""
    package = locked((ROOT / "uv.lock").read_text())
    for candidate in (FETCHED, shutil.which("uv")):
        if candidate and Path(candidate).exists():
            said = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, check=False
            ).stdout
            if minor(said) >= minor(package["version"]):
                return Path(candidate)
    print("Fetching uv, which installs the rest", file=sys.stderr, flush=True)  # noqa: T201
    url, sha256 = wheel_for(package, platform.system(), platform.machine(), platform.libc_ver()[0])
    unpack(download(url), sha256, FETCHED)
    return FETCHED


def sync(program: Path) -> None:
    """Bring .venv to what uv.lock says; silent when there is nothing to do.

    It keeps the Python it has, or takes the one that runs this: none is fetched.
    """
    own = ROOT / ".venv" / "bin" / "python"
    python = own if runs(own) else getattr(sys, "_base_executable", sys.executable)
    command = [program, "sync", "--locked", "--project", ROOT, "--python", python]
    ours = {"UV_PYTHON_DOWNLOADS": "never", "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv")}
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | ours
    if subprocess.run(
        [*command, "--check", "--quiet"], env=environment, capture_output=True, check=False
    ).returncode:
        print("Installing what uv.lock names into .venv, once", file=sys.stderr, flush=True)  # noqa: T201
        if subprocess.run([*command, "--compile-bytecode"], env=environment, check=False).returncode:
            raise SystemExit("uv could not make .venv: see above")


def runs(python: "str | Path") -> bool:
    return Path(python).exists() and not subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL)


def newer() -> "str | None":
    """Another Python of this machine that is new enough, and works."""
    names = (shutil.which(f"python3.{number}") for number in range(OLDEST[1], 20))
    return next((name for name in names if name and runs(name)), None)


def main() -> None:
    if sys.version_info < OLDEST:
        other = newer()
        if other:
            os.execv(other, [other, *sys.argv])  # noqa: S606
        raise SystemExit(f"Slipway needs Python 3.11 or newer, and this is {platform.python_version()}")
    sync(uv())


if __name__ == "__main__":
    main()
