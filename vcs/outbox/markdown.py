"""Untrusted text in Markdown: it is shown, and cannot be anything else.

GitHub makes no mentions, references, links, images or HTML of what stands in code:
https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting/creating-and-highlighting-code-blocks
Entities and backslashes would not do: mentions are searched in the text after those are resolved.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

MAX_CODE_CHARS = 300
NOTHING = "–"
FENCE = "````"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LONG_FENCES = re.compile(f"{FENCE}+")


def format_code(text: str, limit: int = MAX_CODE_CHARS) -> str:
    """Return `text` as a code span that no text can end: in a sentence, and in a cell of a table.

    A backtick becomes an apostrophe and a pipe a broken bar: a code span in a table has no escapes that
    every version of GitHub's parser reads alike.
    """
    line = " ".join(make_printable(text[: limit * 4]).split())
    if len(line) > limit:
        line = f"{line[:limit]}…"
    line = line.replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else NOTHING


def format_code_block(lines: Iterable[str]) -> str:
    """Return lines as a fenced code block; backticks that could end it become apostrophes.

    A fence longer than any in the text would not do: GitHub's parser counts no further than 255.
    """
    text = "\n".join(make_printable(line).replace("\n", " ") for line in lines)
    text = _LONG_FENCES.sub(lambda found: "'" * len(found.group()), text)
    return f"{FENCE}text\n{text}\n{FENCE}"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def make_printable(text: str) -> str:
    """Return `text` without colours, control characters and characters that reverse or hide text."""
    return "".join(map(_replace_unprintable, _ANSI.sub("", text)))


def _replace_unprintable(char: str) -> str:
    if char in "\n\t" or not unicodedata.category(char).startswith("C"):
        return " " if char in "\t\u2028\u2029" else char
    return " " if char == "\r" else "\ufffd"
