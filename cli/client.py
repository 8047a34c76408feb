"""A client of a running appliance, and plain lines for its responses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import httpx

from cli.errors import UserError
from cli.settings import CliSettings
from common.figures import format_short
from common.plain import escape_unprintable

TIMEOUT_SECONDS = 30.0
UNFINISHED = ("queued", "building")


class ApplianceClient:
    """A client of the services over HTTP; raises `UserError` with one line when they do not respond."""

    def __init__(self, settings: CliSettings) -> None:
        self.settings = settings
        # No proxy of the environment: the appliance is on this machine, or named on purpose.
        self.http = httpx.Client(
            timeout=TIMEOUT_SECONDS, trust_env=False, headers={"Accept": "application/json"}
        )

    def fetch_response(self, path: str) -> httpx.Response:
        """Return serve's response, whatever its status."""
        try:
            return self.http.get(self.settings.serve_url + path)
        except httpx.TransportError as error:
            raise self.unreachable_error(error) from error

    def get(self, path: str) -> httpx.Response:
        """Return serve's response; raises `UserError` when it is an error."""
        answer = self.fetch_response(path)
        if answer.is_error:
            raise UserError(error_detail(answer))
        return answer

    @contextmanager
    def open_stream(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Open serve's response for streaming; raises `httpx.TransportError`, or `UserError`."""
        request = self.http.build_request("GET", self.settings.serve_url + path, headers=headers)
        with closing(self.http.send(request, stream=True)) as answer:
            if answer.is_error:
                answer.read()
                raise UserError(error_detail(answer))
            yield answer

    def unreachable_error(self, error: httpx.TransportError) -> UserError:
        hint = "start it by `make up`; SLIPWAY_HOME names another home, SLIPWAY_URL another address"
        return UserError(f"nothing answers at {self.settings.serve_url} ({error}): {hint}")

    def describe_live(self) -> list[str]:
        """Return a line for each model: its live release, or why there is none."""
        answer = self.fetch_response("/")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return [f"nothing yet. {error_detail(answer)}"]
        found = self.get("/").json()
        return [format_live(model) for model in found.get("models", [found])]

    def list_releases(self) -> list[dict[str, Any]]:
        """Return releases, newest first."""
        found: list[dict[str, Any]] = self.get("/releases").json()["releases"]
        return sorted(found, key=lambda release: int(release["id"]), reverse=True)

    def describe_vcs(self) -> str:
        url = self.settings.vcs_url
        try:
            answer = self.http.get(f"{url}/health")
        except httpx.TransportError as error:
            return f"{url} does not answer ({error})"
        if not answer.is_success:
            return f"{url} is unhealthy: {error_detail(answer)}"
        last = answer.json().get("last_sync", "ok")
        return f"{url} works" if last in ("ok", "none yet") else f"{url} does not sync: {last}"


def error_detail(answer: httpx.Response) -> str:
    """Return the detail of a problem document, or the status where there is none."""
    try:
        document = answer.json()
        return str(document.get("detail") or document["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.url} answered {answer.status_code} {answer.reason_phrase}"


def format_status(appliance: ApplianceClient) -> str:
    """Format the live releases, the builds in progress and the state of vcs: a line each."""
    live = [("live", line) for line in appliance.describe_live()]
    building = [
        ("building", format_release(r)) for r in appliance.list_releases() if r["status"] in UNFINISHED
    ]
    return format_table([*live, *building, ("vcs", appliance.describe_vcs())])


def format_live(model: dict[str, Any]) -> str:
    if not model.get("release"):
        return f"{model['model']}  nothing yet"
    parts = [model["model"], f"release {model['release']}", shorten_commit(model["commit"])]
    return "  ".join(
        [*parts, f"since {format_time(model['since'])}", format_metrics(model.get("metrics"))]
    ).rstrip()


def format_release(release: dict[str, Any]) -> str:
    parts = (
        release["model"],
        f"release {release['id']}",
        shorten_commit(release["commit"]),
        release["status"],
    )
    return "  ".join([*parts, release.get("title") or ""]).rstrip()


def format_history(releases: Iterable[dict[str, Any]]) -> str:
    """Format one line a release: its change, how it ended, and why."""
    head = ("", "release", "model", "commit", "trigger", "status", "created", "metrics", "what")
    rows = [
        (
            "live" if release.get("live") else "",
            str(release["id"]),
            release["model"],
            shorten_commit(release["commit"]),
            release["trigger"],
            release["status"] if release.get("failed_to_start") is None else "failed to start",
            format_time(release["created_at"]),
            format_metrics(release.get("metrics")),
            describe_change(release),
        )
        for release in releases
    ]
    return (
        format_table([head, *rows]) if rows else "no release yet: merge a pull request, then POST /checkout"
    )


def describe_change(release: dict[str, Any]) -> str:
    number, title = release.get("pull_request"), release.get("title") or ""
    named = f"#{number} {title}" if number else title
    reason = " ".join(str(release.get("failed_to_start") or release.get("reason") or "").split())
    return ": ".join(part for part in (named.strip(), reason) if part)


def shorten_commit(commit: str) -> str:
    return commit[:8]


def format_time(text: str | None) -> str:
    """Format a time of the API in this machine's time zone."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}" if text else ""


def format_metrics(metrics: dict[str, float] | None) -> str:
    return "  ".join(f"{name} {format_short(value)}" for name, value in (metrics or {}).items())


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Format columns as wide as their cells; the last one is not limited."""
    rows = [[escape_unprintable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
