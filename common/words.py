"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """`1 pull request`, `1,200 pull requests`."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
