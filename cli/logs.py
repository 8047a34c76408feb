"""`slipway logs`: what building a release said, whole or as it goes on."""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer

from cli import look
from cli.errors import Trouble
from cli.settings import Settings
from common.plain import lines

AGAIN = 1.0  # seconds until a log that broke off is asked for again
TRIES = 60  # in a row, to go on where it broke off
app = typer.Typer()

Event = tuple[str, str, dict[str, Any]]  # its name, its id, what it says


@app.command()
def logs(
    release: Annotated[int | None, typer.Argument(help="A release's number; without it, the newest.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
) -> None:
    """What building a release said, stage by stage.

    The services' own logs are in SLIPWAY_HOME/logs.
    """
    appliance = look.Appliance(Settings())
    if release is None:
        known = appliance.releases()
        if not known:
            raise Trouble("no release yet: merge a pull request, then POST /checkout")
        release = int(known[0]["id"])
    path = f"/releases/{release}/logs"
    for text in followed(appliance, path, release) if follow else whole(appliance, path):
        typer.echo(lines(text), nl=False)


def whole(appliance: look.Appliance, path: str) -> Iterator[str]:
    try:
        with appliance.stream(path) as answer:
            yield from answer.iter_text()
    except httpx.TransportError as error:
        raise appliance.silent(error) from error


def followed(appliance: look.Appliance, path: str, release: int) -> Iterator[str]:
    """All of it, and what is new, until the release has ended; goes on when the connection breaks."""
    headers = {"Accept": "text/event-stream"}
    stage, failures = "", 0
    while True:
        try:
            with appliance.stream(path, headers) as answer:
                for name, position, data in events(answer.iter_lines()):
                    headers["Last-Event-ID"], failures = position, 0
                    if name == "end":
                        yield ended(release, data)
                        return
                    if data["stage"] != stage:
                        stage = data["stage"]
                        yield f"== {stage} ==\n"
                    yield data["text"]
        except httpx.TransportError as error:  # serve may be starting again just now
            failures += 1
            if failures > TRIES or "Last-Event-ID" not in headers:
                raise appliance.silent(error) from error
        time.sleep(AGAIN)


def events(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events, as serve writes them: each field once, the data one line of JSON."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def ended(release: int, data: dict[str, Any]) -> str:
    reason = f": {data['reason']}" if data["reason"] else ""
    return f"release {release} is {data['status']}{reason}\n"
