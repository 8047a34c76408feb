"""What an operator does: deploy, roll back, train, evaluate, cancel. The token is found by itself."""

import getpass
import time
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from cli import look, screen
from cli.errors import Trouble
from cli.settings import Settings
from common import token

PAUSE = 0.2  # seconds between two looks at what became of a decision
LONGEST = 600.0  # seconds that a decision is watched for: an environment may have to be made again
Document = dict[str, Any]

Number = Annotated[int, typer.Argument(metavar="RELEASE", help="The release's number.")]
Model = Annotated[str | None, typer.Argument(help="Needed only when there are several models.")]
Why = Annotated[str | None, typer.Option("--why", "-m", help="Kept with the decision, for others to read.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is live or has failed.")]
Scored = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the score.")]

app = typer.Typer()


class Operator(look.Appliance):
    """Calls that change something; each says who makes it."""

    def tell(self, path: str, **asked: Any) -> Document:
        """Post what was asked; the answer's document. `Trouble` when it is refused."""
        known = {name: value for name, value in asked.items() if value is not None}
        headers = {"Authorization": f"Bearer {self.token()}"}
        try:
            answer = self.http.post(
                self.settings.serve_url + path, json={"who": user(), **known}, headers=headers
            )
        except httpx.TransportError as error:
            raise self.silent(error) from error
        if answer.is_error:
            raise Trouble(look.detail(answer))
        document: Document = answer.json()
        return document

    def token(self) -> str:
        """SLIPWAY_TOKEN, else what the appliance keeps in its SLIPWAY_HOME."""
        home = self.settings.home
        try:
            known = self.settings.token or token.kept(home)
        except OSError as error:
            kept = f"{token.path(home)} cannot be read ({error.strerror})"
            raise Trouble(f"{kept}: set SLIPWAY_TOKEN, or be who started the appliance") from error
        if not known:
            cure = "call this where the appliance was started, or set SLIPWAY_HOME or SLIPWAY_TOKEN"
            raise Trouble(f"this needs the operators' token, and {home} has none: {cure}")
        return known

    def live_releases(self) -> dict[str, int | None]:
        """Each model, and its release that users get."""
        found: dict[str, int | None] = self.get("/health").json()["live"]
        return found

    def model(self, given: str | None) -> str:
        """The model that is meant: the only one when none is named."""
        if given is not None:
            return quote(given, safe="")
        names = list(self.live_releases())
        if len(names) != 1:
            raise Trouble(f"name one of the models: {', '.join(names)}" if names else "no model is followed")
        return names[0]

    def decision(self, deployment: Document) -> Document:
        """What became of it by now."""
        listed = self.get(f"/models/{deployment['model']}/deployments").json()["deployments"]
        return next((known for known in listed if known["id"] == deployment["id"]), deployment)

    def watch(self, deployment: Document) -> Document:
        """Once it is live; `Trouble` with the reason when it could not take the place."""
        name, until = f"release {deployment['release']}", time.monotonic() + LONGEST
        while deployment["state"] == "wanted":
            if time.monotonic() > until:
                raise Trouble(f"{name} is not live after {LONGEST / 60:g} min: `slipway status` says why")
            time.sleep(PAUSE)
            with suppress(Trouble):  # serve may be starting again just now
                deployment = self.decision(deployment)
        if deployment["state"] == "failed":
            raise Trouble(f"{name} cannot take the place, what was live stays: {deployment['reason']}")
        if deployment["state"] == "overruled":
            raise Trouble(f"{name} is not live: {deployment['reason']}")
        return deployment


@app.command()
def deploy(release: Number, why: Why = None, wait: Wait = True) -> None:
    """Make a release live that was built before.

    One that stopped at `passed`, or one from before, also when it was rolled back. No request is
    dropped; when it cannot start, what is live stays live.
    """
    operator = Operator(Settings())
    tell_of(operator, operator.tell(f"/releases/{release}/deploy", why=why), wait=wait)


@app.command()
def rollback(model: Model = None, why: Why = None, wait: Wait = True) -> None:
    """Go back to the release that was live before.

    The commit that is left goes into quarantine: no rollback goes to it. What is on its way to
    production stops at `passed`, until the next merge.
    """
    operator = Operator(Settings())
    name = operator.model(model)
    seen = operator.live_releases().get(name)
    tell_of(operator, operator.tell(f"/models/{name}/rollback", why=why, release=seen), wait=wait)


@app.command()
def train(
    model: Model = None,
    commit: Annotated[str | None, typer.Option(help="Without it, the newest that was merged.")] = None,
    warm_start: Annotated[bool, typer.Option("--warm-start", help="Begin with the live model.")] = False,
    begin_with: Annotated[
        int | None, typer.Option("--from", metavar="RELEASE", help="Begin with this release's model.")
    ] = None,
    why: Why = None,
) -> None:
    """Build a commit once more, on today's data.

    It takes every stage, the gate included, as if it had just been merged.
    """
    operator = Operator(Settings())
    begin = begin_with if begin_with is not None else warm_start or None
    name = operator.model(model)
    queued = operator.tell(f"/models/{name}/train", commit=commit, warm_start=begin, why=why)
    number = queued["id"]
    screen.show(f"release {number} of {name} is queued, commit {look.short(queued['commit'])}")
    screen.show(f"   follow it: slipway logs {number} --follow")


@app.command()
def evaluate(model: Model = None, wait: Scored = True) -> None:
    """Score what is live on today's test data; nothing is trained, and nothing else goes live."""
    operator = Operator(Settings())
    name = operator.model(model)
    score = operator.tell(f"/models/{name}/evaluate")
    screen.show(f"release {score['release']} of {name} is going to be scored")
    while wait and score["status"] in look.UNDER_WAY:
        time.sleep(PAUSE)
        score = operator.get(f"/models/{name}/scores/{score['id']}").json()
    if score["metrics"]:
        screen.show(f"   {look.numbers(score['metrics'])}")
    elif score["status"] not in look.UNDER_WAY:
        raise Trouble(f"release {score['release']} could not be scored: {score['reason']}")


@app.command()
def cancel(release: Number, why: Why = None) -> None:
    """End a release that is queued or being built."""
    ended = Operator(Settings()).tell(f"/releases/{release}/cancel", why=why)
    screen.show(f"release {release} of {ended['model']} is cancelled")


def tell_of(operator: Operator, deployment: Document, *, wait: bool) -> None:
    name = f"release {deployment['release']} of {deployment['model']}"
    if wait:
        operator.watch(deployment)
    screen.show(f"{name} is live" if wait else f"{name} is going to be live")


def user() -> str:
    """Who types this, as the machine knows them; a container may know nobody."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
