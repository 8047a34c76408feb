"""Who may try releases: operators, and on loopback whoever is at this machine."""

from dataclasses import dataclass

from fastapi import Request

from common.auth import session_cookie
from common.problems import ProblemError
from common.web.loopback import is_loopback
from ml.settings import MlSettings
from ml.web.auth import HOW_TO_AUTHENTICATE, OperatorAuth, unauthorized_problem

PROXY_HEADERS = ("x-forwarded-for", "forwarded", "via")  # of a request that began somewhere else


@dataclass(frozen=True)
class PreviewAccess:
    """The dependency of every route of previews."""

    operator_auth: OperatorAuth
    is_on_loopback: bool  # True when only this machine reaches the service, unless a proxy is in front

    @classmethod
    def from_settings(cls, settings: MlSettings, operator_auth: OperatorAuth) -> "PreviewAccess":
        return cls(operator_auth, is_loopback(settings.published or settings.bind))

    def is_granted(self, request: Request) -> bool:
        """Return whether the request is an operator's, or from this machine."""
        return bool(request.scope.get("operator")) or self.is_local(request)

    def is_local(self, request: Request) -> bool:
        return self.is_on_loopback and not any(name in request.headers for name in PROXY_HEADERS)

    def __call__(self, request: Request) -> None:
        """Pass, or raise a `ProblemError`: a 401, or a 403 for what another site's page sends."""
        if request.method == "POST" and not self.is_local(request):
            self.operator_auth(request)
            return
        if not self.is_granted(request):
            raise unauthorized_problem("Bearer", f"Trying a release is for operators. {HOW_TO_AUTHENTICATE}")
        if is_of_browser(request) and not (
            session_cookie.is_same_origin(request) or (request.method == "GET" and is_visit(request))
        ):
            detail = "Another site has sent this: what a browser sends has to come from a page of ours."
            raise ProblemError(403, "Not from here", detail)


def is_of_browser(request: Request) -> bool:
    return "sec-fetch-site" in request.headers or "origin" in request.headers


def is_visit(request: Request) -> bool:
    """Return whether a person opened this in a tab: by a link, also of another site, or by its address."""
    names = ("sec-fetch-mode", "sec-fetch-dest")
    return [request.headers.get(name) for name in names] == ["navigate", "document"]
