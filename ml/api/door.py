"""What comes in beside the hot path: who it is from, may they look, and the way back from a button."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.problems import Problem
from common.reach import bearer
from ml.api.access import CURE, Operators, denied
from ml.api.asked import FORM

PROBES = ("/health", "/ready")
OPEN = (*PROBES, "/sign-in", "/favicon.ico")  # to all; so is what is below these:
PROTOCOLS = ("/v1/", "/v2/")
OPEN_BELOW = ("/static/", *PROTOCOLS)
PREDICTIONS = ("predict", "invocations")  # the last part of an address


class Door:
    """Where the appliance is `private`, all but predictions is for operators."""

    def __init__(self, inside: ASGIApp, operators: Operators, *, private: bool) -> None:
        self.inside, self.operators, self.private = inside, operators, private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inside(scope, receive, send)
            return
        request = Request(scope)
        is_free = is_open(request)
        try:  # a bearer's token on a prediction may be somebody else's, such as a proxy's
            scope["operator"] = (not is_free or bearer(request) is None) and await self.operators.known(
                request
            )
        except Problem as problem:
            await problem.response(request)(scope, receive, send)
            return
        if self.private and not scope["operator"] and not is_free:
            await self.refuse(request)(scope, receive, send)
        elif is_button(request):
            await self.inside(scope, receive, back(send))
        else:
            await self.inside(scope, receive, send)

    @staticmethod
    def refuse(request: Request) -> ASGIApp:
        if request.method == "GET" and wants_page(request):
            return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
        return denied("Bearer", f"This appliance is private (SLIPWAY_PRIVATE). {CURE}").response(request)


def is_open(request: Request) -> bool:
    path = request.url.path
    if path in OPEN or path in ("/v2",) or path.startswith(OPEN_BELOW):
        return True
    return is_prediction(path) and not wants_page(request)


def is_prediction(path: str) -> bool:
    parts = path.strip("/").split("/")
    return parts[-1] in PREDICTIONS and (len(parts) == 1 or (parts[0], len(parts)) == ("models", 3))


def is_for_programs(path: str) -> bool:
    """Return whether programs of others call this by whatever name leads here: predictions, and probes."""
    return path in PROBES or path == "/v2" or path.startswith(PROTOCOLS) or is_prediction(path)


def wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def is_button(request: Request) -> bool:
    """Whether a page's form was sent: a browser is shown a page after it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.method == "POST" and kind == FORM and wants_page(request)


def back(send: Send) -> Send:
    """To where it can be seen what became of what was accepted."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 202:
            message = {**message, "status": 303}
        await send(message)

    return answer
