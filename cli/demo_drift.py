"""The command `slipway demo drift`: requests and ground truth of a changed world, and the retraining."""

import json
from typing import Annotated

import httpx
import typer

from cli import client, terminal
from cli.demo_client import DemoClient, DemoCliSettings, Row
from cli.demo_tomorrow import MODEL, describe_end, find_settled, list_retrainings, wait_for
from cli.errors import UserError
from cli.operator_client import OperatorClient
from common.words import format_count
from resources.demo.world import draw_pages

USUAL_PAGES, CHANGED_PAGES = 600, 200  # that are asked for before the world changes, and at a time after it
MAX_PORTIONS = 15  # of the changed world, until it is noticed
ALARMS = ("drift", "decay")

Click = Annotated[
    bool, typer.Option("--click", help="Start the retraining here, in place of the button on the overview.")
]


def drift(click: Click = False) -> None:
    """Let the world change: requests drift, a retraining is suggested, and a click starts it.

    The first call replaces the demo's model by one of single pages, which is trained on what was
    recorded of its predictions and on what then came true.
    """
    settings = DemoCliSettings()
    demo = DriftDemo(DemoClient(settings), OperatorClient(settings))
    demo.prepare()
    before = demo.appliance.find_live_release()
    suggested = demo.change_world()
    terminal.print_text(f"{suggested['trigger']}: {suggested['reason']}")
    if click:
        demo.operator.post_request(f"/models/{MODEL}/retraining/{suggested['id']}/start")
    else:
        terminal.print_text(f"a retraining is suggested: start it by the button at {settings.serve_url}")
    release = demo.follow_retraining(suggested["id"])
    terminal.print_text(describe_end(release, before, demo.appliance.find_live_release()))


class DriftDemo:
    """The steps of the demo; each finds out what an earlier call has done."""

    def __init__(self, appliance: DemoClient, operator: OperatorClient) -> None:
        self.appliance, self.operator, self.portions = appliance, operator, 0

    def prepare(self) -> None:
        """Have the model of single pages live, trained on what was recorded."""
        commits = self.appliance.call_control("page-model")
        live = (self.appliance.find_live_release() or {}).get("commit")
        if live is not None and live == commits["recorded"]:
            return
        if live != commits["commit"]:
            self.release(commits["commit"], "a model of single pages, trained on a file")
        self.send(USUAL_PAGES, has_changed=False)
        commits = self.appliance.call_control("page-model", is_recorded=True)
        self.release(commits["recorded"], "the same, trained on what was recorded")

    def release(self, commit: str, what: str) -> None:
        """Have a commit live; where the gate has nothing to compare, by an operator's decision."""
        queued = self.operator.post_request(f"/models/{MODEL}/train", commit=commit)
        terminal.print_text(f"release {queued['id']}: {what}")
        done = wait_for(lambda: find_settled(self.appliance, queued["id"]), "it has not ended")
        if done["status"] == "passed":
            self.operator.wait_until_live(
                self.operator.post_request(f"/releases/{queued['id']}/deploy", why="for the demo")
            )
        elif done["status"] != "deployed":
            raise UserError(f"release {queued['id']} {done['status']}: {done['reason']}")

    def change_world(self) -> Row:
        """Send pages of another world until a retraining is suggested; return that.

        After a retraining for it, the next world is the usual one again.
        """
        made = [
            one for one in list_retrainings(self.appliance) if one["trigger"] in ALARMS and one["release"]
        ]
        for _ in range(MAX_PORTIONS):
            self.send(CHANGED_PAGES, has_changed=len(made) % 2 == 0)
            if found := self.find_suggested():
                return found
        return wait_for(self.find_suggested, "no retraining is suggested")

    def find_suggested(self) -> Row | None:
        """Return a suggestion of the live release; one of an earlier release stays, and starts nothing."""
        listed = self.appliance.get(f"/models/{MODEL}/retraining").json()["suggested"]
        return next((one for one in listed if one["trigger"] in ALARMS), None)

    def send(self, count: int, *, has_changed: bool) -> None:
        """Ask for pages, and send the visits that they turned out to have."""
        self.portions += 1
        newest = self.appliance.list_releases()[0]["id"]
        pages = draw_pages(count, newest * 1000 + self.portions, has_changed=has_changed)
        truth = [{"prediction": self.predict(page), "value": visits} for page, visits in pages]
        answer = self.operator.post_content(
            f"/models/{MODEL}/ground-truth", json.dumps(truth).encode(), "application/json"
        )
        if answer.is_error:
            raise UserError(f"the visits were refused: {client.error_detail(answer)}")
        stored = answer.json()["stored"] + answer.json()["early"]
        world = "changed" if has_changed else "usual"
        terminal.print_text(
            f"{format_count(count, 'page')} of the {world} world, {stored} of them with visits"
        )

    def predict(self, page: Row) -> str:
        """Return the id of a page's prediction."""
        url = f"{self.appliance.settings.serve_url}/predict"
        try:
            answer = self.appliance.http.post(url, json=page)
        except httpx.TransportError as error:
            raise self.appliance.unreachable_error(error) from error
        if answer.is_error:
            raise UserError(f"no prediction: {client.error_detail(answer)}")
        return str(answer.headers["X-Slipway-Prediction"])

    def follow_retraining(self, number: int) -> Row:
        """Return the release of a retraining once it has ended."""

        def find_begun() -> Row | None:
            found = next(one for one in list_retrainings(self.appliance) if one["id"] == number)
            return None if found["state"] in ("suggested", "waiting") else found

        begun = wait_for(find_begun, "the retraining has not begun")
        if begun["release"] is None:
            raise UserError(f"no release was made: {begun['outcome']}")
        return wait_for(lambda: find_settled(self.appliance, begun["release"]), "it has not ended")
