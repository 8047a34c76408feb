"""The command `slipway demo tomorrow`: new data for the demo's model, and the retraining that it leads to."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from cli import client, terminal
from cli.demo import MAX_WAIT_SECONDS, POLL_SECONDS, compare_metrics, is_settled
from cli.demo_client import DemoClient, DemoCliSettings, Row
from cli.errors import UserError
from cli.operator_client import OperatorClient

MODEL = "encyclopedia-visits"

Found = TypeVar("Found")


def tomorrow() -> None:
    """Let three months pass: the data changes, and the model is trained again without a merge.

    The first call also has the model read its data from the appliance, with [retrain] on_data = true.
    """
    settings = DemoCliSettings()
    appliance = DemoClient(settings)
    data = appliance.call_control("tomorrow")
    if data["later"] == 0:
        queued = OperatorClient(settings).post_request(f"/models/{MODEL}/train", commit=data["commit"])
        terminal.print_text(
            f"release {queued['id']}: the model reads its data from the appliance from now on, "
            "and [retrain] on_data = true"
        )
        wait_for(lambda: find_settled(appliance, queued["id"]), "it has not ended")
        data = appliance.call_control("tomorrow")
    before = appliance.find_live_release()
    known = {one["id"] for one in list_retrainings(appliance)}
    terminal.print_text(f"the data goes on for {3 * data['later']} months: is it noticed?")

    def begun() -> Row | None:
        new = [one for one in list_retrainings(appliance) if one["id"] not in known]
        return next((one for one in new if one["state"] not in ("waiting", "suggested")), None)

    made = wait_for(begun, "no retraining has begun")
    terminal.print_text(f"{made['trigger']}: {made['reason']}")
    if made["release"] is None:
        raise UserError(f"no release was made: {made['outcome']}")
    release = wait_for(lambda: find_settled(appliance, made["release"]), "it has not ended")
    terminal.print_text(describe_end(release, before, appliance.find_live_release()))


def list_retrainings(appliance: DemoClient) -> list[Row]:
    found: list[Row] = appliance.get(f"/models/{MODEL}/retraining").json()["retrainings"]
    return found


def find_settled(appliance: DemoClient, number: int) -> Row | None:
    release: Row = appliance.get(f"/releases/{number}").json()
    return release if is_settled(release) else None


def wait_for(find: Callable[[], Found | None], problem: str) -> Found:
    """Return what is found; raises `UserError` when that takes too long."""
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        with suppress(UserError):  # serve may be restarting just now
            if (found := find()) is not None:
                return found
        time.sleep(POLL_SECONDS)
    raise UserError(f"{problem} within {MAX_WAIT_SECONDS / 60:.0f} minutes: see /models/{MODEL}/retraining")


def describe_end(release: Row, before: Row | None, live: Row | None) -> str:
    """Return how a retraining ended, with its metrics and the live release's on the new data."""
    reason = f": {release['reason']}" if release.get("reason") else ""
    rules = (release.get("verdict") or {}).get("rules") or ()
    on_new_data = {rule["metric"]: rule["live"] for rule in rules if rule["live"] is not None}
    lines = [f"release {release['id']} {release['status']}{reason}"]
    lines += compare_metrics(release.get("metrics") or {}, {"metrics": on_new_data})
    if live is not None and live["id"] == release["id"]:
        lines.append(f"release {live['id']} is live now")
    elif before is not None:
        lines.append(
            f"release {before['id']} stays live: {client.describe_change({**before, 'reason': None})}"
        )
    return "\n".join(lines)
