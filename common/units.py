"""Durations, sizes and shares as people write them: "1h30m", "4GiB", "5%"."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES_PER_UNIT = {"B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
MAX_SECONDS = 366 * 86400  # seconds
NUMBER_PATTERN = r"(\d{1,15}(?:\.\d{1,9})?)"
ONE_DURATION_PATTERN = re.compile(rf"{NUMBER_PATTERN} ?([smhd])")
DURATION_PATTERN = re.compile(rf"\s*(?:{ONE_DURATION_PATTERN.pattern} ?)+\s*")
SIZE_PATTERN = re.compile(rf"\s*{NUMBER_PATTERN} ?({'|'.join(BYTES_PER_UNIT)})\s*")
SHARE_PATTERN = re.compile(rf"\s*{NUMBER_PATTERN} ?%\s*")


def parse_duration(text: object) -> float:
    """Return the seconds of "90s", "45m", "1h30m" or "2d"; raises ValueError for other text."""
    if not isinstance(text, str) or not DURATION_PATTERN.fullmatch(text):
        raise ValueError('has to be a duration with its unit, as "90s", "45m", "1h30m" or "2d"')
    seconds = math.fsum(
        float(number) * SECONDS_PER_UNIT[unit] for number, unit in ONE_DURATION_PATTERN.findall(text)
    )
    if seconds == 0:
        raise ValueError("has to be above zero")
    if seconds > MAX_SECONDS:
        raise ValueError("has to be shorter than a year")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, to the millisecond: "1d", "1h30m"."""
    rest, parts = round(seconds, 3), []
    for unit, size in sorted(SECONDS_PER_UNIT.items(), key=lambda item: -item[1]):
        count = int(rest // size) if unit != "s" else rest
        rest -= count * size
        parts += [f"{count:.12g}{unit}"] if count else []
    return "".join(parts)


def parse_size(text: object) -> int:
    """Return the bytes of "512MiB", "4GiB" (of 1024) or "10GB" (of 1000); raises ValueError otherwise."""
    found = SIZE_PATTERN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('has to be a size with its unit, as "512MiB", "4GiB" or "10GB"')
    number: int = round(float(found[1]) * BYTES_PER_UNIT[found[2]])
    if number == 0:
        raise ValueError("has to be above zero")
    return number


def parse_share(text: object) -> float:
    """Return 0.05 for "5%"; raises ValueError for other text."""
    found = SHARE_PATTERN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('has to be a percentage, as "5%" or "0.5%"')
    return float(found[1]) / 100


def format_bytes(number: float) -> str:
    """Format bytes as a person reads them: "1.2 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def format_gib(number: float) -> str:
    """Format bytes in the unit of limits: "0.5 GiB"."""
    return f"{number / (1 << 30):.3g} GiB"


Duration = Annotated[float, BeforeValidator(parse_duration)]  # seconds
Size = Annotated[int, BeforeValidator(parse_size)]  # bytes
Share = Annotated[float, BeforeValidator(parse_share)]  # 0.05 is 5 %
