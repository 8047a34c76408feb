"""The command `slipway logs`: the build log of a release, complete or followed."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import httpx
import typer

from cli import client
from cli.errors import UserError
from cli.settings import CliSettings
from common.plain import escape_lines

RETRY_SECONDS = 1.0  # until a log stream that broke off is requested again
MAX_WAIT_SECONDS = 600.0  # that a deployment is watched
MAX_RETRIES = 60  # in a row, to resume the stream
app = typer.Typer()

Event = tuple[str, str, dict[str, Any]]  # its name, its id, its data


@app.command()
def logs(
    release: Annotated[int | None, typer.Argument(help="A release's number; without it, the newest.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
) -> None:
    """Show a release's build log, stage by stage.

    The services' own logs are in SLIPWAY_HOME/logs.
    """
    appliance = client.ApplianceClient(CliSettings())
    if release is None:
        found = appliance.list_releases()
        if not found:
            raise UserError("no release yet: merge a pull request, then POST /checkout")
        release = int(found[0]["id"])
    path = f"/releases/{release}/logs"
    for text in follow_log(appliance, path, release) if follow else read_whole(appliance, path):
        typer.echo(escape_lines(text), nl=False)


def read_whole(appliance: client.ApplianceClient, path: str) -> Iterator[str]:
    try:
        with appliance.open_stream(path) as answer:
            yield from answer.iter_text()
    except httpx.TransportError as error:
        raise appliance.unreachable_error(error) from error


def follow_log(appliance: client.ApplianceClient, path: str, release: int) -> Iterator[str]:
    """Yield the log, and new output until the release has ended; reconnects after a broken connection."""
    headers = {"Accept": "text/event-stream"}
    stage, failures = "", 0
    while True:
        try:
            with appliance.open_stream(path, headers) as answer:
                for name, position, data in parse_events(answer.iter_lines()):
                    headers["Last-Event-ID"], failures = position, 0
                    if name == "end":
                        yield format_end(release, data)
                        yield from wait_until_live(appliance, release)
                        return
                    if data["stage"] != stage:
                        stage = data["stage"]
                        yield f"== {stage} ==\n"
                    yield data["text"]
        except httpx.TransportError as error:  # serve may be restarting just now
            failures += 1
            if failures > MAX_RETRIES or "Last-Event-ID" not in headers:
                raise appliance.unreachable_error(error) from error
        time.sleep(RETRY_SECONDS)


def wait_until_live(appliance: client.ApplianceClient, release: int) -> Iterator[str]:
    """Yield the outcome of the release's deployment, where one is pending."""
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        with suppress(UserError):  # serve may be restarting just now
            deployment = appliance.get(f"/releases/{release}").json()["deployment"]
            if deployment is None:
                return
            if deployment["state"] != "wanted":
                reason = f": {deployment['reason']}" if deployment["reason"] else ""
                yield f"its deployment is {deployment['state']}{reason}\n"
                return
        time.sleep(RETRY_SECONDS)


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse server-sent events as serve writes them: each field once, the data one line of JSON."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def format_end(release: int, data: dict[str, Any]) -> str:
    reason = f": {data['reason']}" if data["reason"] else ""
    return f"release {release} is {data['status']}{reason}\n"
