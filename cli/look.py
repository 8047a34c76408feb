"""Asks a running appliance how it stands, and puts the answers into plain lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import httpx

from cli.errors import Trouble
from cli.settings import Settings
from common.plain import plain

UNDER_WAY = ("queued", "building")


class Appliance:
    """The services over HTTP; `Trouble` in one line when they do not answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # No proxy of the environment: the appliance is on this machine, or named on purpose.
        self.http = httpx.Client(timeout=30, trust_env=False, headers={"Accept": "application/json"})

    def fetch(self, path: str) -> httpx.Response:
        """serve's answer, whatever it is."""
        try:
            return self.http.get(self.settings.serve_url + path)
        except httpx.TransportError as error:
            raise self.silent(error) from error

    def get(self, path: str) -> httpx.Response:
        """serve's answer, which must be a good one."""
        answer = self.fetch(path)
        if answer.is_error:
            raise Trouble(detail(answer))
        return answer

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """serve's good answer, to be read bit by bit; raises `httpx.TransportError`."""
        request = self.http.build_request("GET", self.settings.serve_url + path, headers=headers)
        with closing(self.http.send(request, stream=True)) as answer:
            if answer.is_error:
                answer.read()
                raise Trouble(detail(answer))
            yield answer

    def silent(self, error: httpx.TransportError) -> Trouble:
        cure = "start it by `make up`, or name another address in SLIPWAY_URL"
        return Trouble(f"nothing answers at {self.settings.serve_url} ({error}): {cure}")

    def live(self) -> list[str]:
        """A line for each model: what of it is live, or why nothing is."""
        answer = self.fetch("/")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return [f"nothing yet. {detail(answer)}"]
        found = self.get("/").json()
        return [live_line(model) for model in found.get("models", [found])]

    def releases(self) -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = self.get("/releases").json()["releases"]
        return sorted(found, key=lambda release: int(release["id"]), reverse=True)

    def vcs(self) -> str:
        url = self.settings.vcs_url
        try:
            answer = self.http.get(f"{url}/health")
        except httpx.TransportError as error:
            return f"{url} does not answer ({error})"
        if not answer.is_success:
            return f"{url} is not well: {detail(answer)}"
        last = answer.json().get("last_sync", "ok")
        return f"{url} works" if last in ("ok", "none yet") else f"{url} does not hear GitHub: {last}"


def detail(answer: httpx.Response) -> str:
    """What a problem document says, or what there is in its place."""
    try:
        document = answer.json()
        return str(document.get("detail") or document["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.url} answered {answer.status_code} {answer.reason_phrase}"


def status(appliance: Appliance) -> str:
    """What is live, what is under way, and how vcs is: a line each."""
    live = [("live", line) for line in appliance.live()]
    building = [("building", release_line(r)) for r in appliance.releases() if r["status"] in UNDER_WAY]
    return table([*live, *building, ("vcs", appliance.vcs())])


def live_line(model: dict[str, Any]) -> str:
    if not model.get("release"):
        return f"{model['model']}  nothing yet"
    parts = [model["model"], f"release {model['release']}", short(model["commit"])]
    return "  ".join([*parts, f"since {moment(model['since'])}", numbers(model.get("metrics"))]).rstrip()


def release_line(release: dict[str, Any]) -> str:
    parts = (release["model"], f"release {release['id']}", short(release["commit"]), release["status"])
    return "  ".join([*parts, release.get("title") or ""]).rstrip()


def history(releases: Iterable[dict[str, Any]]) -> str:
    """One line a release: what it was, how it ended, and why."""
    head = ("", "release", "model", "commit", "trigger", "status", "created", "metrics", "what")
    rows = [
        (
            "live" if release.get("live") else "",
            str(release["id"]),
            release["model"],
            short(release["commit"]),
            release["trigger"],
            release["status"],
            moment(release["created_at"]),
            numbers(release.get("metrics")),
            what(release),
        )
        for release in releases
    ]
    return table([head, *rows]) if rows else "no release yet: merge a pull request, then POST /checkout"


def what(release: dict[str, Any]) -> str:
    number, title = release.get("pull_request"), release.get("title") or ""
    named = f"#{number} {title}" if number else title
    reason = " ".join(str(release.get("reason") or "").split())
    return ": ".join(part for part in (named.strip(), reason) if part)


def short(commit: str) -> str:
    return commit[:8]


def moment(text: str | None) -> str:
    """A time of the API, as this machine's clock shows it."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}" if text else ""


def numbers(metrics: dict[str, float] | None) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in (metrics or {}).items())


def number(value: float) -> str:
    """As the pages write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them; the last one as long as it likes."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
