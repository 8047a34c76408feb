"""The GitHub App's side of the fake: its installation, tokens that expire, and what each may do.

https://docs.github.com/rest/apps/apps
https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
"""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from resources.demo.github.documents import WEB_URL, repository_document, user_document
from resources.demo.github.pulls import format_epoch
from resources.demo.github.responses import (
    GitHubResponse,
    error_response,
    json_response,
    not_found,
    validation_response,
)

Document = dict[str, Any]

MAX_JWT_SECONDS = 600  # from now to `exp`
TOKEN_SECONDS = 3600
ALL_PERMISSIONS = {
    "checks": "write",
    "contents": "read",
    "deployments": "write",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "write",
}
LEVELS = ("read", "write", "admin")
# the beginning of a path below a repository → the permission that it needs
NEEDED = {
    "check-runs": "checks",
    "deployments": "deployments",
    "issues": "pull_requests",
    "pulls": "pull_requests",
    "statuses": "statuses",
}


@dataclass(frozen=True)
class FakeToken:
    token: str
    expires_at: int
    permissions: dict[str, str]
    repositories: frozenset[str]


@dataclass
class FakeApp:
    """A GitHub App with one installation; a test takes permissions and repositories away as people do."""

    id: int
    public_key: str  # PEM
    repositories: set[str]
    slug: str = "slipway-of-acme"
    installation: int = 4711
    permissions: dict[str, str] = field(default_factory=lambda: dict(ALL_PERMISSIONS))
    is_suspended: bool = False
    token_seconds: int = TOKEN_SECONDS
    tokens: dict[str, FakeToken] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return f"{self.slug}[bot]"

    def find_token(self, token: str, now: int) -> FakeToken | None:
        found = self.tokens.get(token)
        return found if found and found.expires_at > now and not self.is_suspended else None

    def answer(
        self, method: str, path: list[str], body: bytes, token: str, *, now: int, api: str
    ) -> GitHubResponse | None:
        """Answer a call that needs the App's own JSON web token; None where this is no such call."""
        found: Document | None
        match [method, *path]:
            case ["GET", "app"]:
                found = self.app_document(api)
            case ["GET", "repos", owner, name, "installation"]:
                is_here = f"{owner}/{name}" in self.repositories
                found = self.installation_document(f"{owner}/{name}", api) if is_here else None
            case ["POST", "app", "installations", number, "access_tokens"]:
                found = {} if number == str(self.installation) else None
            case _:
                return None
        if (refused := self.refuse_jwt(token, now)) is not None:
            return refused
        if found is None:
            return not_found()
        return self.create_token(body, now, api) if method == "POST" else json_response(found)

    def refuse_jwt(self, token: str, now: int) -> GitHubResponse | None:
        """Return GitHub's refusal of a JSON web token; None for a good one."""
        import jwt  # noqa: PLC0415 (a large library, which the demo has no use for)

        try:
            claims = jwt.decode(
                token, self.public_key, ["RS256"], options={"verify_exp": False, "verify_iat": False}
            )
        except jwt.InvalidTokenError:
            return error_response(401, "A JSON web token could not be decoded", quota=False)
        if claims.get("iss") != str(self.id):
            return error_response(404, "Integration not found")
        if not isinstance(claims.get("iat"), int) or claims["iat"] > now:
            message = (
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion "
                "was issued"
            )
            return error_response(401, message, quota=False)
        if claims["exp"] <= now:
            message = (
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
                "which the assertion expires"
            )
            return error_response(401, message, quota=False)
        if claims["exp"] > now + MAX_JWT_SECONDS:
            message = "'Expiration time' claim ('exp') is too far in the future"
            return error_response(401, message, quota=False)
        return None

    def create_token(self, body: bytes, now: int, api: str) -> GitHubResponse:
        """Make an installation token, narrowed to the permissions and repositories that are named."""
        if self.is_suspended:
            return error_response(403, "This installation has been suspended")
        asked: Document = json.loads(body or b"{}")
        wanted = asked.get("permissions", self.permissions)
        if any(not is_allowed(self.permissions, name, level) for name, level in wanted.items()):
            message = "The permissions requested are not granted to this installation."
            return error_response(422, message)
        names = asked.get("repositories")
        chosen = {name for name in self.repositories if names is None or name.split("/")[1] in names}
        if names is not None and len(chosen) != len(set(names)):
            message = "There is at least one repository that does not exist or is not accessible"
            return validation_response("Installation", "repositories", message)
        made = FakeToken(
            f"ghs_{secrets.token_hex(18)}", now + self.token_seconds, dict(wanted), frozenset(chosen)
        )
        self.tokens[made.token] = made
        document: Document = {
            "token": made.token,
            "expires_at": format_epoch(made.expires_at),
            "permissions": made.permissions,
            "repository_selection": "all" if names is None else "selected",
        }
        if names is not None:
            document["repositories"] = [repository_document(name, api) for name in sorted(chosen)]
        return json_response(document, 201)

    def app_document(self, api: str) -> Document:
        return {
            "id": self.id,
            "slug": self.slug,
            "client_id": "Iv1.8a61f9b3a7aba766",
            "node_id": f"A_{self.id}",
            "owner": user_document("acme", api),
            "name": "Slipway of acme",
            "description": "Checks pull requests of models",
            "external_url": "https://slipway.example.com",
            "html_url": f"{WEB_URL}/apps/{self.slug}",
            "created_at": "2024-01-01T00:00:00Z",
            "updated_at": "2024-01-01T00:00:00Z",
            "permissions": self.permissions,
            "events": ["check_run", "pull_request", "push"],
        }

    def installation_document(self, repository: str, api: str) -> Document:
        owner = repository.split("/", maxsplit=1)[0]
        return {
            "id": self.installation,
            "account": user_document(owner, api),
            "repository_selection": "selected",
            "access_tokens_url": f"{api}/app/installations/{self.installation}/access_tokens",
            "repositories_url": f"{api}/installation/repositories",
            "html_url": f"{WEB_URL}/organizations/{owner}/settings/installations/{self.installation}",
            "app_id": self.id,
            "app_slug": self.slug,
            "target_id": 1,
            "target_type": "Organization",
            "permissions": self.permissions,
            "events": ["check_run", "pull_request", "push"],
            "created_at": "2024-01-01T00:00:00Z",
            "updated_at": "2024-01-01T00:00:00Z",
            "single_file_name": None,
            "suspended_by": user_document(owner, api) if self.is_suspended else None,
            "suspended_at": "2024-02-01T00:00:00Z" if self.is_suspended else None,
        }


def refuse_token(token: FakeToken, method: str, repository: str, rest: list[str]) -> GitHubResponse | None:
    """Return GitHub's refusal of a call with an installation token; None where the token may do it."""
    if repository and repository not in token.repositories:
        return not_found()
    name = "checks" if "check-runs" in rest else NEEDED.get(rest[0] if rest else "", "metadata")
    if rest == ["user"] or not is_allowed(token.permissions, name, "read" if method == "GET" else "write"):
        return error_response(403, "Resource not accessible by integration")
    return None


def is_allowed(permissions: Document, name: str, level: str) -> bool:
    granted = permissions.get(name, "read" if name == "metadata" else None)
    return granted in LEVELS and level in LEVELS and LEVELS.index(granted) >= LEVELS.index(level)
