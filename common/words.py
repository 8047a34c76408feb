"""Numbers and lists in sentences."""

from collections.abc import Sequence


def format_count(count: int, noun: str) -> str:
    """Format a count with its noun: `1 pull request`, `1,200 pull requests`."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def join_words(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
