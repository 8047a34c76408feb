"""The addresses of the running appliance in a folder, for commands that are given none."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ADDRESSES_FILE = "addresses.json"


def write_addresses(home: Path, addresses: Mapping[str, str]) -> None:
    """Write to `home` the addresses of this process's services."""
    written = home / f"{ADDRESSES_FILE}.{os.getpid()}"
    written.write_text(json.dumps({**addresses, "process": os.getpid()}))
    written.replace(home / ADDRESSES_FILE)


def remove_addresses(home: Path) -> None:
    """Delete the addresses that this process wrote; another appliance's stay."""
    if read(home).get("process") == os.getpid():
        with suppress(OSError):
            (home / ADDRESSES_FILE).unlink()


def find(home: Path) -> dict[str, str]:
    """Return the addresses of the appliance that runs in `home`; empty when none does."""
    addresses = read(home)
    if not Path(f"/proc/{addresses.get('process')}").exists():
        return {}
    return {name: value for name, value in addresses.items() if isinstance(value, str)}


def read(home: Path) -> dict[str, object]:
    try:
        addresses = json.loads((home / ADDRESSES_FILE).read_text())
    except (OSError, ValueError):  # missing, or no file of ours
        return {}
    return addresses if isinstance(addresses, dict) else {}
