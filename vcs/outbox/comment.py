"""The comment of a pull request, from its facts: a table of metrics, changed predictions, times, the log."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vcs.outbox.markdown import NOTHING, format_code, format_code_block, format_table

MAX_CHARS = 65_536  # GitHub's
MAX_METRICS, MAX_CHANGED_ROWS, MAX_STAGES, MAX_RULES = 60, 10, 20, 20
MARKS = {"success": "✅", "failure": "❌", "error": "⚠️", "pending": "⏳"}
MAX_LOG_LINES, MAX_LINE_CHARS = 60, 500
MINUTE_SECONDS = 60

Facts = Mapping[str, Any]
LinkMaker = Callable[[str | None], str | None]


def make_marker(subject: object) -> str:
    """Return the hidden line by which the comment is found again."""
    return f"<!-- slipway:{subject} -->"


def render_comment(subject: object, facts: Facts, make_link: LinkMaker) -> str:
    """Return the comment in Markdown, within GitHub's limit; all texts of `facts` are untrusted."""
    title = f"{MARKS.get(facts['state'], '')} **Slipway**: {format_code(str(facts['model']))}"
    note = facts.get("note")
    begin = [
        make_marker(subject),
        f"### {title}",
        f"⚠️ {format_code(str(note))}" if note else "",
        f"{format_code(str(facts['summary']))}\n\nCommit {format_code(str(facts['head'])[:12])}",
    ]
    return join_within_limit([*begin, render_links(facts, make_link)], render_sections(facts), MAX_CHARS)


def render_report(facts: Facts, make_link: LinkMaker, max_bytes: int) -> str:
    """Return the same for a check run, which has a title of its own, within so many bytes of UTF-8."""
    begin = [format_code(str(facts["summary"])), render_links(facts, make_link)]
    return join_within_limit(begin, render_sections(facts), max_bytes, lambda text: len(text.encode()))


def render_sections(facts: Facts) -> list[str]:
    return [
        render_metrics(facts.get("metrics") or ()),
        render_changes(facts.get("changes")),
        render_rules(facts.get("changed_rules") or ()),
        render_recording(facts.get("changed_recording") or ()),
        render_stages(facts.get("stages") or ()),
        render_log(facts.get("log") or ()),
    ]


def join_within_limit(
    always: Sequence[str], sections: Sequence[str], limit: int, measure: Callable[[str], int] = len
) -> str:
    """Join parts by blank lines; a section that no longer fits is left out."""
    kept = [part for part in always if part]
    for section in filter(None, sections):
        if measure("\n\n".join([*kept, section])) <= limit:
            kept.append(section)
    return "\n\n".join(kept)


def render_metrics(metrics: Sequence[Facts]) -> str:
    rows = [
        [
            format_code(str(metric["name"]), 80),
            format_number(metric.get("candidate")),
            format_number(metric.get("live")),
            format_change(metric.get("candidate"), metric.get("live")),
            format_rule(metric),
        ]
        for metric in metrics[:MAX_METRICS]
    ]
    return format_table(["Metric", "This pull request", "Live", "Change", "Rule"], rows) if rows else ""


def format_rule(metric: Facts) -> str:
    if not metric.get("rule"):
        return NOTHING
    mark = {True: "✅ ", False: "❌ "}.get(metric["is_met"], "") if metric.get("is_met") is not None else ""
    return mark + format_code(str(metric["rule"]), 80)


def render_changes(changes: Facts | None) -> str:
    if not changes:
        return ""
    changed, compared = int(changes["changed"]), int(changes["compared"])
    share = f" ({changed / compared:.1%})" if compared else ""
    source = format_code(str(changes["source"]), 80)
    said = f"**{changed} of {compared}{share}** predictions change, on {source}."
    rows = [
        [format_number(row.get("row")), format_number(row.get("live")), format_number(row.get("candidate"))]
        for row in (changes.get("worst") or ())[:MAX_CHANGED_ROWS]
    ]
    return f"{said}\n\n{format_table(['Row', 'Live', 'This pull request'], rows)}" if rows else said


def render_rules(rules: Sequence[str]) -> str:
    if not rules:
        return ""
    named = ", ".join(format_code(str(rule), 80) for rule in rules[:MAX_RULES])
    return f"This pull request changes rules of the gate itself: {named}."


def render_recording(changes: Sequence[str]) -> str:
    if not changes:
        return ""
    named = ", ".join(format_code(str(change), 80) for change in changes[:MAX_RULES])
    others = f", and {len(changes) - MAX_RULES} more" if len(changes) > MAX_RULES else ""
    return f"This pull request changes what is recorded of requests: {named}{others}."


def render_stages(stages: Sequence[Facts]) -> str:
    times = [
        f"{format_code(str(stage['name']), 40)} {format_seconds(stage.get('seconds'))}"
        + ("" if stage.get("outcome", "done") == "done" else f" ({format_code(str(stage['outcome']), 40)})")
        for stage in stages[:MAX_STAGES]
    ]
    return f"Stages: {', '.join(times)}." if times else ""


def render_log(log: Sequence[str]) -> str:
    lines = [str(line)[:MAX_LINE_CHARS] for line in log[-MAX_LOG_LINES:]]
    return f"The last lines of its log:\n\n{format_code_block(lines)}" if lines else ""


def render_links(facts: Facts, make_link: LinkMaker) -> str:
    found = {
        "Try the new model beside the live one": make_link(facts.get("preview_url")),
        "Details": make_link(facts.get("details_url")),
    }
    return " · ".join(f"[{text}](<{url}>)" for text, url in found.items() if url)


def format_number(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return format_code(str(value), 40)
    return f"{value:.6g}"


def format_change(candidate: Any, live: Any) -> str:
    """Return the relative change, where there is one."""
    numbers = [one for one in (candidate, live) if isinstance(one, (int, float)) and math.isfinite(one)]
    if len(numbers) < 2 or not numbers[1]:
        return NOTHING
    return f"{(numbers[0] - numbers[1]) / abs(numbers[1]):+.1%}"


def format_seconds(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return NOTHING
    if seconds < MINUTE_SECONDS:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE_SECONDS:.1f} min"
