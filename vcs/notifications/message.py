"""The text of a notification and its JSON, from facts that may come from models: harmless, and bounded."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from common.text import make_storable
from common.units import format_bytes
from db.notification_models import Notification
from db.notifications import Event

MAX_TITLE_CHARS, MAX_BODY_CHARS, MAX_QUOTED_CHARS = 120, 900, 500
# what mentions somebody, makes a link or a format in one of the services: replaced by what looks the same
HARMLESS = str.maketrans(
    {
        **{"@": "＠", "<": "‹", ">": "›", "&": "＆", "`": "'", "*": "∗", "~": "∼", "|": "¦"},
        **{"[": "⟦", "]": "⟧", "#": "＃", "\\": "∖", "$": "＄", "{": "❴", "}": "❵"},
    }
)

LONE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word it formats nothing
DOTTED = re.compile(r"[\w-]+(?:\.[\w-]+)+")
ADDRESS = re.compile(r"\d+(?:\.\d+){3}")
ONE_DOT_LEADER = "\u2024"  # it looks like a full stop, and stands in no name of a host
# what these end is a file: none is a top-level domain
FILE_SUFFIXES = frozenset(("toml", "csv", "json", "jsonl", "txt", "yaml", "yml", "lock", "parquet", "pkl"))


@dataclass(frozen=True)
class Message:
    """One message: the same id over all tries."""

    id: str
    event: str
    occurred_at: datetime
    title: str
    body: str
    facts: dict[str, Any] = field(default_factory=dict)
    url: str | None = None
    ended_at: datetime | None = None

    @property
    def text(self) -> str:
        return f"{self.body}\n{self.url}" if self.url else self.body

    def to_json(self) -> bytes:
        """Return the payload of a webhook."""
        data = {"title": self.title, "text": self.body, "url": self.url, **self.facts}
        data["ended_at"] = format_time(self.ended_at) if self.ended_at else None
        document = {"type": self.event, "timestamp": format_time(self.occurred_at), "data": data}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def make_message(notification: Notification, base_url: str) -> Message:
    facts, event = notification.facts, Event(notification.event)
    title, sentence = describe(event, facts)
    if notification.ended_at is not None:
        sentence = f"{sentence} This is over since {format_time(notification.ended_at)}."
    return Message(
        id=f"msg_{notification.message.hex}",
        event=event.value,
        occurred_at=notification.occurred_at,
        title=shorten(title, MAX_TITLE_CHARS),
        body=shorten(sentence, MAX_BODY_CHARS),
        facts=facts,
        url=make_link(event, facts, base_url),
        ended_at=notification.ended_at,
    )


def make_test_message(message_id: str, now: datetime) -> Message:
    text = "This is the test of a receiver: it gets the notifications of this appliance."
    return Message(message_id, Event.TEST.value, now, "Slipway: a test", text)


def describe(event: Event, facts: dict[str, Any]) -> tuple[str, str]:
    """Return a title and a sentence."""
    if event is Event.DISK_NEARLY_FULL:
        free, total = format_bytes(facts["free_bytes"]), format_bytes(facts["total_bytes"])
        return "The disk is nearly full", f"{free} of {total} are free: make room in SLIPWAY_HOME."
    reason = end_sentence(clean(facts.get("reason") or facts.get("problem") or "no reason was given"))
    if event in UNREACHABLE:
        title, sentence = UNREACHABLE[event]
        return title, f"{sentence}: {reason}"
    return describe_of_model(event, facts, reason)


def describe_of_model(event: Event, facts: dict[str, Any], reason: str) -> tuple[str, str]:
    model, release, number = clean(facts["model"]), describe_release(facts), facts.get("release")
    match event:
        case Event.LIVE:
            replaced = f"; it took the place of release {facts['replaced']}" if facts.get("replaced") else ""
            return f"{model}: release {number} is live", f"{release} is live{replaced}."
        case Event.ROLLED_BACK:
            how = f"{release} was rolled back to release {facts['back_to']} by {clean(facts['who'])}"
            return f"{model}: release {number} was rolled back", f"{how}: {reason}"
        case Event.RETRAINED:
            is_live = facts.get("outcome") == "live"
            how = "is live" if is_live else "passed the gate, and waits for a person"
            title = f"{model}: release {number} was retrained and {'is live' if is_live else 'waits'}"
            return title, f"{release} was trained again and {how}. The cause: {reason}"
        case Event.NOTHING_LIVE:
            return f"{model}: nothing is live", f"{model} answers no predictions. {release}: {reason}"
    title = f"{model}: release {number} {VERBS[event]}" if number else f"{model} {VERBS[event]}"
    return title, f"{release} {VERBS[event]}: {reason}"


UNREACHABLE = {
    Event.GITHUB_UNREACHABLE: ("GitHub cannot be reached", "For an hour merges have not been seen"),
    Event.MLFLOW_UNREACHABLE: ("MLflow cannot be reached", "For an hour nothing has been exported to MLflow"),
}
VERBS = {
    Event.REJECTED: "was rejected",
    Event.FAILED: "failed",
    Event.DRIFT: "gets other requests than before",
    Event.DECAY: "predicts worse than before",
}


def describe_release(facts: dict[str, Any]) -> str:
    if facts.get("release") is None:
        return clean(facts["model"])
    pull_request = f", pull request {facts['pull_request']}" if facts.get("pull_request") else ""
    commit = clean(str(facts.get("commit", ""))[:8])
    return f"Release {facts['release']} of {clean(facts['model'])} (commit {commit}{pull_request})"


def clean(text: Any) -> str:
    """Return text that mentions nobody, and is no link and no format, in one bounded line."""
    line = " ".join(make_storable(str(text), MAX_QUOTED_CHARS).translate(HARMLESS).split())
    line = LONE_UNDERSCORE.sub("ˍ", line)
    return DOTTED.sub(break_host, line.replace("://", ": //").replace("www.", "www ."))


def break_host(found: re.Match[str]) -> str:
    """Return a name with dots so that no chat makes a link of it, where it may be that of a host."""
    name = found[0]
    last = name.rpartition(".")[2].lower()
    may_end_host = (last.isalpha() and len(last) > 1) or last.startswith("xn--")
    if (may_end_host and last not in FILE_SUFFIXES) or ADDRESS.fullmatch(name):
        return name.replace(".", ONE_DOT_LEADER)
    return name


def end_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def make_link(event: Event, facts: dict[str, Any], base_url: str) -> str | None:
    """Return the page of what a message is about; None where the appliance has no address for people."""
    if not base_url:
        return None
    if facts.get("release") is not None and event is not Event.NOTHING_LIVE:
        return f"{base_url}/releases/{int(facts['release'])}"
    model = facts.get("model")
    return f"{base_url}/models/{quote(str(model), safe='')}" if model else f"{base_url}/"


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
