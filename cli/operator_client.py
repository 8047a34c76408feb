"""A client with the operator's token, which waits for the outcome of a decision."""

import getpass
import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx

from cli import client, terminal
from cli.errors import UserError
from common.auth import operator_token

POLL_SECONDS = 0.2  # between two polls of a decision
MAX_WAIT_SECONDS = 600.0  # that a decision is watched: an environment may have to be built again
Document = dict[str, Any]


class OperatorClient(client.ApplianceClient):
    """A client for calls that change something; each names the user who makes it."""

    def post_request(self, path: str, **fields: Any) -> Document:
        """Post a request; return the response's document. Raises `UserError` when it is refused."""
        given = {name: value for name, value in fields.items() if value is not None}
        answer = self.post_content(
            path, json.dumps({"who": current_user(), **given}).encode(), "application/json"
        )
        if answer.is_error:
            raise UserError(client.error_detail(answer))
        document: Document = answer.json()
        return document

    def post_content(
        self, path: str, content: bytes, content_type: str, seconds: float = client.TIMEOUT_SECONDS
    ) -> httpx.Response:
        """Post a body with the token; return the response, whatever its status."""
        headers = {"Authorization": f"Bearer {self.find_token()}", "Content-Type": content_type}
        try:
            return self.http.post(
                self.settings.serve_url + path, content=content, headers=headers, timeout=seconds
            )
        except httpx.TransportError as error:
            raise self.unreachable_error(error) from error

    def find_token(self) -> str:
        """Return SLIPWAY_TOKEN, else the token that the appliance stores in its SLIPWAY_HOME."""
        home = self.settings.home
        try:
            token = self.settings.token or operator_token.read_stored(home)
        except OSError as error:
            problem = f"{operator_token.token_path(home)} cannot be read ({error.strerror})"
            raise UserError(f"{problem}: set SLIPWAY_TOKEN, or be who started the appliance") from error
        if not token:
            hint = "call this where the appliance was started, or set SLIPWAY_HOME or SLIPWAY_TOKEN"
            raise UserError(f"this needs the operators' token, and {home} has none: {hint}")
        return token

    def list_live_releases(self) -> dict[str, int | None]:
        """Return each model with its live release."""
        found: dict[str, int | None] = self.get("/health").json()["live"]
        return found

    def choose_model(self, given: str | None) -> str:
        """Return the named model, or the only one when none is named."""
        if given is not None:
            return quote(given, safe="")
        names = list(self.list_live_releases())
        if len(names) != 1:
            raise UserError(
                f"name one of the models: {', '.join(names)}" if names else "no model is followed"
            )
        return names[0]

    def list_decisions(self, model: str) -> list[Document]:
        """Return the newest decisions of a model, the newest first."""
        found: list[Document] = self.get(f"/models/{model}/deployments").json()["deployments"]
        return found

    def reload_decision(self, deployment: Document) -> Document:
        """Return a decision's current state."""
        listed = self.list_decisions(deployment["model"])
        return next((known for known in listed if known["id"] == deployment["id"]), deployment)

    def find_following(self, deployment: Document) -> Document | None:
        """Return the decision with which a rollback continued after a failed one."""
        listed = self.list_decisions(deployment["model"])
        later = (known for known in reversed(listed) if known["id"] > deployment["id"])
        leaves = deployment["leaves"]
        return next((known for known in later if leaves is not None and known["leaves"] == leaves), None)

    def wait_until_live(self, deployment: Document) -> Document:
        """Return the deployment that went live, maybe an older one of a rollback; `UserError` if none did."""
        until = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            deployment = self.wait_until_decided(deployment, until)
            name, reason = f"release {deployment['release']}", deployment["reason"]
            if deployment["state"] == "overruled":
                raise UserError(f"{name} is not live: {reason}")
            if deployment["state"] != "failed":
                return deployment
            if (following := self.find_following(deployment)) is None:
                raise UserError(f"{name} failed to start, the live release stays: {reason}")
            terminal.print_text(f"{name} failed to start: {reason}")
            deployment = following

    def wait_until_decided(self, deployment: Document, until: float) -> Document:
        """Return a deployment once it is decided; raises `UserError` when that takes too long."""
        while deployment["state"] == "wanted":
            if time.monotonic() > until:
                name = f"release {deployment['release']}"
                raise UserError(
                    f"{name} is not live after {MAX_WAIT_SECONDS / 60:g} min: `slipway status` shows why"
                )
            time.sleep(POLL_SECONDS)
            with suppress(UserError):  # serve may be restarting just now
                deployment = self.reload_decision(deployment)
        return deployment


def current_user() -> str:
    """Return the user who types this; a container may have no user name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
