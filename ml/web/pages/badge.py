"""The badge of a model for a README: the live release and its first metric, as an SVG."""

from html import escape

from fastapi import APIRouter
from fastapi.responses import Response

from common.figures import format_short
from ml.serving.registry import ModelRegistry, ServedModel
from ml.web.metric_order import order_metrics
from ml.web.operator_request import to_one_line

MAX_NAME_CHARS, MAX_METRIC_CHARS = 24, 16
# a page may show it, and nothing in it may load or run anything
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}
LIVE_COLOR, NOTHING_COLOR = "#17785a", "#52607a"
# nested svg elements clip what is too wide: a badge has one size, whatever stands in it
TEMPLATE = """<svg xmlns="http://www.w3.org/2000/svg" width="300" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="300" height="20" rx="3" fill="{color}"/>
<path d="M3 0h127v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#3b4252"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<svg width="130" height="20"><text x="65" y="14">{name}</text></svg>
<svg x="130" width="170" height="20"><text x="85" y="14">{state}</text></svg>
</g>
</svg>
"""


def create_router(registry: ModelRegistry) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get(
        "/models/{name}/badge.svg",
        summary="A badge for a README: the live release and its first metric",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}}},
    )
    def badge(name: str) -> Response:
        return Response(render_badge(registry.find(name)), headers=HEADERS, media_type="image/svg+xml")

    return router


def render_badge(served: ServedModel) -> str:
    name = clean_text(served.model.name, MAX_NAME_CHARS)
    state = describe_state(served)
    color = LIVE_COLOR if served.live else NOTHING_COLOR
    return TEMPLATE.format(title=f"{name}: {state}", name=name, state=state, color=color)


def describe_state(served: ServedModel) -> str:
    """Return `release 7 · SMAPE 0.135`, escaped."""
    if served.live is None:
        return "nothing is live"
    release = served.live.release
    metrics = order_metrics(release) or {}
    first = [
        f" · {clean_text(name, MAX_METRIC_CHARS)} {clean_text(format_short(value), MAX_METRIC_CHARS)}"
        for name, value in list(metrics.items())[:1]
    ]
    return f"release {release.id}{''.join(first)}"


def clean_text(text: str, limit: int) -> str:
    """Return text escaped for XML, as one line without characters that XML does not allow."""
    line = to_one_line(text[: 4 * limit])
    return escape(line if len(line) <= limit else f"{line[:limit]}…")
