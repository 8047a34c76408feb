"""Comments and their Markdown, read by GitHub's own parser: what a model says stays text."""

import re
from html.parser import HTMLParser
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st

from vcs.outbox.comment import MAX_CHARS, render_comment
from vcs.outbox.markdown import format_code, format_code_block, format_table

HOSTILE = [
    "@everyone",
    "@acme/reviewers and ada@example.com",
    "#1 GH-1 acme/widgets#1 https://example.com/issues/1 www.example.com",
    "a | b",
    r"a \| b \\| c \\\| d \\",
    "`",
    "``` @ada",
    "`````````` ~~~",
    "x`@ada`x",
    "</code></pre></td></table><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![image](https://example.com/x.png) [link](javascript:alert(1))",
    "<!-- slipway:0 --> --> <!--",
    "line\n\n# heading\n\n| a |\n|---|\n| b |\n",
    "line\r\n```\r\n@ada",
    "\u2028\u2029\u202e\u2066 reversed \u200b@ada",
    "\x1b[31mred\x1b[0m\x00\x07",
    "&#64;ada &commat;ada &lt;b&gt;",
    ":+1: :tada:",
    "$x$ $$@ada$$ ```math",
    "- [ ] task\n1. one\n> quote\n    code",
    "[^1] [^1]: note",
    "\\",
    "x" * 100_000,
    "`" * 100_000,
    "|" * 100_000,
]


TABLE = ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]


class Outline(HTMLParser):
    """The tags of a page with what stands in each kind of them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.loose: list[str] = []  # text that is not in code: GitHub looks for mentions in this
        self.code: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("br", "hr", "img", "input"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.code if "code" in self.open else self.loose).append(data)


def outline(markdown: str) -> Outline:
    found = Outline()
    found.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))
    found.close()
    assert found.open == []
    return found


def facts(text: str) -> dict[str, Any]:
    """A comment in which every text is `text`."""
    return {
        "state": "failure",
        "model": text,
        "summary": text,
        "note": text,
        "head": text,
        "metrics": [{"name": text, "candidate": text, "live": 0.3, "rule": text, "is_met": False}],
        "changes": {
            "changed": 12,
            "compared": 200,
            "source": text,
            "worst": [{"row": 17, "live": text, "candidate": 2.5}],
        },
        "changed_rules": [text],
        "changed_recording": [text],
        "stages": [{"name": text, "seconds": 3.25, "outcome": text}],
        "log": [text, text],
        "details_url": "/releases/41",
        "preview_url": "/releases/41/predict",
    }


def comment(document: dict[str, Any]) -> str:
    return render_comment("0b1c", document, lambda path: f"https://models.example.com{path}")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_hostile_text_makes_a_comment_of_the_same_shape(text: str) -> None:
    shape = outline(comment(facts("harmless")))
    found = outline(comment(facts(text)))

    assert found.tags == shape.tags
    assert found.links == [
        "https://models.example.com/releases/41/predict",
        "https://models.example.com/releases/41",
    ]
    assert [part.strip() for part in found.loose] == [part.strip() for part in shape.loose]


@given(st.text(alphabet=st.sampled_from("`|\\@#<>![]()*_~:&$-\n\r\t ax1"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_leaves_its_code(text: str) -> None:
    table = outline(format_table(["a", "b"], [[format_code(text), "end"]]))
    assert [tag for tag in table.tags if tag != "code"] == TABLE
    assert "".join(table.loose).split() in (["a", "b", "end"], ["a", "b", "–", "end"])

    block = outline(f"before\n\n{format_code_block([text, text])}\n\nafter")
    assert block.tags == ["p", "pre", "code", "p"]
    assert "".join(block.loose).split() == ["before", "after"]


def test_what_a_person_reads_is_in_it() -> None:
    document = facts("text") | {
        "metrics": [
            {"name": "smape", "candidate": 0.135, "live": 0.342, "rule": "smape < 0.4", "is_met": True},
            {"name": "broken", "candidate": "nan", "live": None, "rule": None, "is_met": None},
        ],
        "note": "It was rolled back.",
    }
    text = comment(document)

    assert "| `smape` | 0.135 | 0.342 | -60.5% | ✅ `smape < 0.4` |" in text
    assert "| `broken` | `nan` | – | – | – |" in text
    assert "**12 of 200 (6.0%)** predictions change" in text
    assert "`It was rolled back.`" in text
    assert "[Details](<https://models.example.com/releases/41>)" in text
    assert text.startswith("<!-- slipway:0b1c -->\n")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_text_leaves_a_comment_whole(text: str) -> None:
    found = outline(comment(facts(text)))

    assert found.tags.count("table") == 2
    assert len(found.links) == 2


def test_a_comment_without_addresses_has_no_links() -> None:
    assert outline(render_comment("0", facts("x"), lambda _: None)).links == []


@pytest.mark.parametrize("text", ["x" * 10**6, "`" * 10**6, "€|" * 10**6])
def test_the_longest_facts_fit_in_a_comment(text: str) -> None:
    one = facts(text)
    many = one | {
        "metrics": one["metrics"] * 1000,
        "changes": one["changes"] | {"worst": one["changes"]["worst"] * 1000},
        "changed_rules": one["changed_rules"] * 1000,
        "stages": one["stages"] * 1000,
        "log": [text[:500]] * 1000,
    }
    written = comment(many)

    assert len(written) <= MAX_CHARS
    assert re.search(r"\*\*12 of 200", written)
