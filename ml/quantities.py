"""Durations, sizes and shares as people write them: "1h30m", "4GiB", "5%"."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
LONGEST = 366 * 86400  # seconds
NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"
ONE_DURATION = re.compile(rf"{NUMBER} ?([smhd])")
DURATION = re.compile(rf"\s*(?:{ONE_DURATION.pattern} ?)+\s*")
SIZE = re.compile(rf"\s*{NUMBER} ?({'|'.join(BYTES)})\s*")
SHARE = re.compile(rf"\s*{NUMBER} ?%\s*")


def duration(text: object) -> float:
    """Seconds of "90s", "45m", "1h30m" or "2d"."""
    if not isinstance(text, str) or not DURATION.fullmatch(text):
        raise ValueError('has to be a duration with its unit, as "90s", "45m", "1h30m" or "2d"')
    seconds = math.fsum(float(number) * SECONDS[unit] for number, unit in ONE_DURATION.findall(text))
    if seconds == 0:
        raise ValueError("has to be longer than nothing")
    if seconds > LONGEST:
        raise ValueError("has to be shorter than a year")
    return seconds


def size(text: object) -> int:
    """Bytes of "512MiB", "4GiB" (of 1024) or "10GB" (of 1000)."""
    found = SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('has to be a size with its unit, as "512MiB", "4GiB" or "10GB"')
    number: int = round(float(found[1]) * BYTES[found[2]])
    if number == 0:
        raise ValueError("has to be more than nothing")
    return number


def share(text: object) -> float:
    """0.05 of "5%"."""
    found = SHARE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('has to be a percentage, as "5%" or "0.5%"')
    return float(found[1]) / 100


def written(number: float) -> str:
    """Bytes as a person reads them: "1.2 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


Duration = Annotated[float, BeforeValidator(duration)]  # seconds
Size = Annotated[int, BeforeValidator(size)]  # bytes
Share = Annotated[float, BeforeValidator(share)]  # 0.05 is 5 %
