"""Foreign text for a terminal: what could move the cursor or hide text is shown, never sent."""


def plain(text: str, kept: str = "\t") -> str:
    """`text` with everything but what can be seen, and `kept`, written out."""
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)
