"""The command `slipway demo`: merges the demo's next pull request and shows its release."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from cli import client, terminal
from cli.demo_client import DemoClient, DemoCliSettings, Row
from cli.errors import UserError
from common.figures import format_short

POLL_SECONDS = 0.3  # between two polls of a release
MAX_WAIT_SECONDS = 15 * 60.0  # that a release is followed

app = typer.Typer(help="The demo's pull requests: merge the next one, list their releases.")


@app.command()
def merge(
    number: Annotated[
        int | None, typer.Option(min=1, help="This pull request; without it, the next.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the release until it has ended.")] = True,
) -> None:
    """Merge a prepared pull request, trigger a sync, and follow the release.

    One improves the model, one makes it worse, one does not even train; then they start over.
    """
    appliance = DemoClient(DemoCliSettings())
    before = appliance.find_live_release()
    merged = appliance.call_control("merge", **({"number": number} if number else {}))
    already = "was merged already as" if merged["already"] else "merged as"
    terminal.print_text(
        f"#{merged['number']} {merged['title']}: {already} "
        f"{client.shorten_commit(merged['merge_commit_sha'])}"
    )
    terminal.print_text(f"   {merged['body']}")
    terminal.print_text(f"   what GitHub would show: {appliance.demo_api_url}/pulls/{merged['number']}")

    found = appliance.trigger_sync()
    terminal.print_text(f"vcs: {found['newly_accepted']} newly accepted, in {found['seconds']:.1f} s")
    if not wait:
        return

    release = follow_release(appliance, merged["merge_commit_sha"])
    terminal.print_text(describe_outcome(release, before, appliance.find_live_release()))


@app.command()
def queue(
    number: Annotated[
        int | None, typer.Option(min=1, help="This pull request; without it, the next.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow it until its release has ended.")] = True,
) -> None:
    """Put a prepared pull request into the merge queue: it is merged once its check has passed."""
    appliance = DemoClient(DemoCliSettings())
    before = appliance.find_live_release()
    queued = appliance.call_control("queue", **({"number": number} if number else {}))
    terminal.print_text(
        f"#{queued['number']} {queued['title']}: queued as {client.shorten_commit(queued['group'])}"
    )
    terminal.print_text(f"   {queued['branch']}")
    if not wait:
        return
    merged = wait_for_merge(appliance, queued["number"])
    terminal.print_text(f"#{merged['number']}: merged as {client.shorten_commit(merged['merge_commit_sha'])}")
    appliance.trigger_sync()
    release = follow_release(appliance, merged["merge_commit_sha"])
    terminal.print_text(describe_outcome(release, before, appliance.find_live_release()))


@app.command("list")
def pull_requests() -> None:
    """List the demo's pull requests and their releases; of open ones the check."""
    appliance = DemoClient(DemoCliSettings())
    releases = index_releases(appliance.list_releases())
    head = ("", "pull request", "is meant to be", "merged as", "release", "status", "metrics", "why")
    rows = [
        to_row(pull, releases.get(pull["merge_commit_sha"] or f"#{pull['number']}", {}))
        for pull in appliance.call_control("list")
    ]
    terminal.print_text(client.format_table([head, *rows]))


def index_releases(releases: list[Row]) -> dict[str, Row]:
    """Return releases by their commit, and the newest check of each pull request by `#NUMBER`."""
    found: dict[str, Row] = {}
    for release in reversed(releases):
        is_check = release["trigger"] == "check"
        found[f"#{release['pull_request']}" if is_check else release["commit"]] = release
    return found


def to_row(pull: Row, release: Row) -> tuple[str, ...]:
    return (
        "live" if release.get("live") else "",
        f"#{pull['number']} {pull['title']}",
        pull["kind"],
        client.shorten_commit(pull["merge_commit_sha"] or "open"),
        str(release.get("id", "")),
        release.get("status", ""),
        client.format_metrics(release.get("metrics")),
        " ".join(str(release.get("reason") or "").split()),
    )


def wait_for_merge(appliance: DemoClient, number: int) -> Row:
    """Return a queued pull request once it was merged; raises `UserError` when it has left the queue."""
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        pull: Row = next(pull for pull in appliance.call_control("list") if pull["number"] == number)
        if pull["merged_at"]:
            return pull
        if pull["group"] is None:
            raise UserError(f"#{number} has left the queue, because its check did not pass: see its release")
        time.sleep(POLL_SECONDS)
    raise UserError(f"#{number} was not merged within {MAX_WAIT_SECONDS / 60:.0f} minutes: see its check")


def follow_release(appliance: DemoClient, commit: str) -> Row:
    """Print a merge's release as it progresses; return it once it has ended."""
    printed: set[str] = set()
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        release = None
        with suppress(UserError):  # serve may be restarting just now
            release = appliance.find_release(commit)
        for line in describe_progress(release) if release else ():
            if line not in printed:
                printed.add(line)
                terminal.print_text(line)
        if release and is_settled(release):
            return release
        time.sleep(POLL_SECONDS)
    raise UserError(
        f"it has not ended within {MAX_WAIT_SECONDS / 60:.0f} minutes: `slipway logs` shows its progress"
    )


def describe_progress(release: Row) -> Iterator[str]:
    for stage in release.get("stages") or ():
        if stage["outcome"] != "running":
            took = datetime.fromisoformat(stage["ended_at"]) - datetime.fromisoformat(stage["started_at"])
            seconds = took.total_seconds()
            by = f", model trained in check {release['trained_by']}" if is_reused(stage) else ""
            yield f"release {release['id']}: {stage['name']:<11} {stage['outcome']}, {seconds:.1f} s{by}"
    if release["status"] in client.UNFINISHED and release.get("reason"):
        yield f"release {release['id']}: tried again soon, because {release['reason']}"


def is_reused(stage: Row) -> bool:
    """Return whether this stage is the training that a check has done before."""
    return (stage["name"], stage["outcome"]) == ("train", "reused")


def is_settled(release: Row) -> bool:
    """Return whether a release has ended, and its deployment, if any, is decided."""
    deployment = release.get("deployment") or {}
    return release["status"] not in client.UNFINISHED and deployment.get("state") != "wanted"


def describe_outcome(release: Row, previous: Row | None, live: Row | None) -> str:
    deployment = release.get("deployment") or {}
    reason = deployment.get("reason") or release.get("reason")
    ended = f"release {release['id']} {release['status']}" + (f": {reason}" if reason else "")
    lines = [ended, *compare_metrics(release.get("metrics") or {}, previous)]
    if live is None:
        lines.append("nothing is live")
    elif live["id"] == release["id"]:
        lines.append(f"release {live['id']} is live now")
    else:
        lines.append(f"release {live['id']} stays live: {client.describe_change({**live, 'reason': None})}")
    return "\n".join(lines)


def compare_metrics(metrics: dict[str, float], previous: Row | None) -> Iterator[str]:
    """Yield each metric compared with that of the release live before the merge."""
    old = (previous or {}).get("metrics") or {}
    for name, value in metrics.items():
        previously = f"   (live before: {format_short(old[name])})" if name in old else ""
        yield f"   {name} {format_short(value)}{previously}"
