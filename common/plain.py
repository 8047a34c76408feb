"""Text of others for a terminal or a log: what could move a cursor, hide text or begin a line is shown."""


def plain(text: str, kept: str = "\t") -> str:
    """Return `text` with everything but what can be seen, and `kept`, written out."""
    if (text.replace("\t", "") if "\t" in kept else text).isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)


def lines(text: str) -> str:
    """Return `text` as `plain` does, with the ends of its lines: a progress bar's carriage return is one."""
    return "\n".join(map(plain, text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))


def indented(text: str) -> str:
    """Return `text` as `plain` does, with lines; none but the first begins where a record of a log does."""
    first, *others = text.split("\n")
    return "\n".join([plain(first), *(f"    {plain(line)}" for line in others)])
