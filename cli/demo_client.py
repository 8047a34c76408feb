"""A client of the demo: the appliance's API, and the control calls of its stand-in for GitHub."""

from typing import Any

import httpx
from pydantic import Field

from cli import client
from cli.errors import UserError
from cli.settings import CliSettings as Base

Row = dict[str, Any]


class DemoCliSettings(Base):
    demo_url: str = Field("", validation_alias="SLIPWAY_DEMO_URL")

    @property
    def demo_api_url(self) -> str:
        """Return the address of the demo's GitHub API, which its process writes to a file."""
        if self.demo_url:
            return self.demo_url.rstrip("/")
        try:
            return (self.home / "demo" / "address").read_text().strip()
        except OSError as error:
            raise UserError(
                f"no demo has run in {self.home}: start it by `make up` with no repository named, and call"
                " this from the same folder, or name the appliance's folder in SLIPWAY_HOME"
            ) from error


class DemoClient(client.ApplianceClient):
    """A client of the appliance that runs the demo, and of the demo's GitHub API."""

    def __init__(self, settings: DemoCliSettings) -> None:
        super().__init__(settings)
        self.demo_api_url, self.vcs_url = settings.demo_api_url, settings.vcs_url

    def call_control(self, action: str, **arguments: Any) -> Any:
        """Call a control endpoint of the demo's GitHub API."""
        return self.post_json(
            f"{self.demo_api_url}/_control/{action}", "the demo's stand-in for GitHub", arguments
        )

    def trigger_sync(self) -> Row:
        found: Row = self.post_json(f"{self.vcs_url}/checkout", "vcs")
        return found

    def post_json(self, url: str, who: str, body: Row | None = None) -> Any:
        try:
            answer = self.http.post(url, json=body, timeout=120)
        except httpx.TransportError as error:
            raise UserError(f"{who} does not answer at {url} ({error}): does the appliance run?") from error
        if answer.is_error:
            raise UserError(explain_refusal(answer))
        return answer.json()

    def list_releases(self) -> list[Row]:
        """Return as many releases as a demo will have, newest first."""
        found: list[Row] = self.get("/releases?limit=1000").json()["releases"]
        return found

    def find_release(self, commit: str) -> Row | None:
        """Return the merge's own release, with its stages."""
        same = (r for r in self.list_releases() if r["commit"] == commit and r["trigger"] == "merge")
        found = next(same, None)
        return self.get(f"/releases/{found['id']}").json() if found else None

    def find_live_release(self) -> Row | None:
        return next((release for release in self.list_releases() if release.get("live")), None)


def explain_refusal(answer: httpx.Response) -> str:
    """Return the detail of a problem document, or of GitHub's own form, which the demo's API uses."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return client.error_detail(answer)
