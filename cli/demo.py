"""`slipway demo`: merges the demo's next pull request and shows what the appliance does about it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import httpx
import typer
from pydantic import Field

from cli import look, screen
from cli.errors import Trouble
from cli.settings import Settings as Base

Row = dict[str, Any]
PAUSE = 0.3  # seconds between two looks at a release
LONGEST = 15 * 60.0  # seconds that a release is followed for

app = typer.Typer(help="The demo's pull requests: merge the next one, see what became of each.")


class Settings(Base):
    demo_url: str = Field("", validation_alias="SLIPWAY_DEMO_URL")

    @property
    def stand_in(self) -> str:
        """Where the stand-in for GitHub listens: it leaves a note."""
        if self.demo_url:
            return self.demo_url.rstrip("/")
        try:
            return (self.home / "demo" / "address").read_text().strip()
        except OSError as error:
            raise Trouble(
                f"no demo has run in {self.home}: start it by `make up` with no repository named, and call"
                " this from the same folder, or name the appliance's folder in SLIPWAY_HOME"
            ) from error


class Appliance(look.Appliance):
    """The appliance that runs the demo, and the stand-in beside it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.stand_in, self.vcs_url = settings.stand_in, settings.vcs_url

    def ask(self, action: str, **arguments: Any) -> Any:
        """A control call of the stand-in."""
        return self.post(f"{self.stand_in}/_control/{action}", "the demo's stand-in for GitHub", arguments)

    def checkout(self) -> Row:
        found: Row = self.post(f"{self.vcs_url}/checkout", "vcs")
        return found

    def post(self, url: str, who: str, body: Row | None = None) -> Any:
        try:
            answer = self.http.post(url, json=body, timeout=120)
        except httpx.TransportError as error:
            raise Trouble(f"{who} does not answer at {url} ({error}): does the appliance run?") from error
        if answer.is_error:
            raise Trouble(refusal(answer))
        return answer.json()

    def releases(self) -> list[Row]:
        """As many as a demo will have, the newest first."""
        found: list[Row] = self.get("/releases?limit=1000").json()["releases"]
        return found

    def release_of(self, commit: str) -> Row | None:
        """The merge's own release, with its stages."""
        same = (r for r in self.releases() if r["commit"] == commit and r["trigger"] == "merge")
        found = next(same, None)
        return self.get(f"/releases/{found['id']}").json() if found else None

    def live_release(self) -> Row | None:
        return next((release for release in self.releases() if release.get("live")), None)


@app.command()
def merge(
    number: Annotated[
        int | None, typer.Option(min=1, help="This pull request; without it, the next.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the release until it has ended.")] = True,
) -> None:
    """Merge a prepared pull request, tell vcs, and follow the release.

    One improves the model, one makes it worse, one does not even train; then it begins anew.
    """
    appliance = Appliance(Settings())
    before = appliance.live_release()
    merged = appliance.ask("merge", **({"number": number} if number else {}))
    already = "was merged already as" if merged["already"] else "merged as"
    screen.show(f"#{merged['number']} {merged['title']}: {already} {look.short(merged['merge_commit_sha'])}")
    screen.show(f"   {merged['body']}")

    found = appliance.checkout()
    screen.show(f"vcs: {found['newly_accepted']} newly accepted, in {found['seconds']:.1f} s")
    if not wait:
        return

    release = follow(appliance, merged["merge_commit_sha"])
    screen.show(verdict(release, before, appliance.live_release()))


@app.command("list")
def pull_requests() -> None:
    """The demo's pull requests and what became of each."""
    appliance = Appliance(Settings())
    releases = {release["commit"]: release for release in appliance.releases()}
    head = ("", "pull request", "is meant to be", "merged as", "release", "status", "metrics", "why")
    rows = [row(pull, releases.get(pull["merge_commit_sha"] or "", {})) for pull in appliance.ask("list")]
    screen.show(look.table([head, *rows]))


def row(pull: Row, release: Row) -> tuple[str, ...]:
    return (
        "live" if release.get("live") else "",
        f"#{pull['number']} {pull['title']}",
        pull["kind"],
        look.short(pull["merge_commit_sha"] or "open"),
        str(release.get("id", "")),
        release.get("status", ""),
        look.numbers(release.get("metrics")),
        " ".join(str(release.get("reason") or "").split()),
    )


def follow(appliance: Appliance, commit: str) -> Row:
    """The release of this merge once it has ended; says what is new about it until then."""
    said: set[str] = set()
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        release = None
        with suppress(Trouble):  # serve may be starting again just now
            release = appliance.release_of(commit)
        for line in news(release) if release else ():
            if line not in said:
                said.add(line)
                screen.show(line)
        if release and settled(release):
            return release
        time.sleep(PAUSE)
    raise Trouble(f"no end of it after {LONGEST / 60:.0f} minutes: `slipway logs` says how far it is")


def news(release: Row) -> Iterator[str]:
    for stage in release.get("stages") or ():
        if stage["outcome"] != "running":
            took = datetime.fromisoformat(stage["ended_at"]) - datetime.fromisoformat(stage["started_at"])
            seconds = took.total_seconds()
            yield f"release {release['id']}: {stage['name']:<11} {stage['outcome']}, {seconds:.1f} s"
    if release["status"] in look.UNDER_WAY and release.get("reason"):
        yield f"release {release['id']}: tried again soon, because {release['reason']}"


def settled(release: Row) -> bool:
    """Ended, and when it was to be deployed, serve has said whether it is live."""
    deployment = release.get("deployment") or {}
    return release["status"] not in look.UNDER_WAY and deployment.get("state") != "wanted"


def verdict(release: Row, before: Row | None, live: Row | None) -> str:
    deployment = release.get("deployment") or {}
    reason = deployment.get("reason") or release.get("reason")
    ended = f"release {release['id']} {release['status']}" + (f": {reason}" if reason else "")
    lines = [ended, *compared(release.get("metrics") or {}, before)]
    if live is None:
        lines.append("nothing is live")
    elif live["id"] == release["id"]:
        lines.append(f"release {live['id']} is live now")
    else:
        lines.append(f"release {live['id']} stays live: {look.what({**live, 'reason': None})}")
    return "\n".join(lines)


def compared(metrics: dict[str, float], before: Row | None) -> Iterator[str]:
    """Each metric beside that of what was live before the merge."""
    old = (before or {}).get("metrics") or {}
    for name, value in metrics.items():
        beside = f"   (live before: {look.number(old[name])})" if name in old else ""
        yield f"   {name} {look.number(value)}{beside}"


def refusal(answer: httpx.Response) -> str:
    """What a problem document says, or GitHub's own form, which the stand-in speaks."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return look.detail(answer)
