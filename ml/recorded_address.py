"""The address `slipway://recorded?days=30`: a model's own recorded requests, as its data."""

import re
from dataclasses import dataclass

SCHEME = "slipway://"
EXAMPLE = f'"{SCHEME}recorded?days=30"'
DEFAULT_DAYS, MAX_DAYS = 30, 366
ADDRESS = re.compile(r"slipway://recorded(?:\?days=([0-9]{1,3}))?")


@dataclass(frozen=True)
class RecordedAddress:
    """The newest days of the request log that a data set is made of."""

    days: int = DEFAULT_DAYS


def is_recorded(address: str | None) -> bool:
    """Return whether an address in `[data]` names recorded requests, correctly or not."""
    return address is not None and address[: len(SCHEME)].lower() == SCHEME


def parse_recorded(address: str) -> RecordedAddress:
    """Return what an address names; raises ValueError with what to write in its place."""
    found = ADDRESS.fullmatch(address)
    days = int(found[1] or DEFAULT_DAYS) if found else 0
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"is no address of recorded requests: write {EXAMPLE}, with 1 to {MAX_DAYS} days")
    return RecordedAddress(days)
