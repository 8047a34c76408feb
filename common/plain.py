"""Untrusted text for a terminal or a log: what moves a cursor, hides text or begins a line is escaped."""


def escape_unprintable(text: str, allowed: str = "\t") -> str:
    """Return `text` with every character escaped that is neither printable nor in `allowed`."""
    if (text.replace("\t", "") if "\t" in allowed else text).isprintable():
        return text
    return "".join(c if c.isprintable() or c in allowed else repr(c)[1:-1] for c in text)


def escape_lines(text: str) -> str:
    """Return `text` escaped as by `escape_unprintable`, line ends preserved: a progress bar's carriage
    return is one.
    """
    return "\n".join(map(escape_unprintable, text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))


def escape_and_indent(text: str) -> str:
    """Return `text` escaped as by `escape_unprintable`, every line but the first indented, so that none
    begins where a log record does.
    """
    first, *others = text.split("\n")
    return "\n".join([escape_unprintable(first), *(f"    {escape_unprintable(line)}" for line in others)])
