"""The badge of a model: one size, well-formed whatever a model calls its metric, and never stored."""

from xml.etree import ElementTree

import httpx
import pytest

from tests.ml.serving.support import Shop, main_py
from tests.ml.web.pages.test_pages import EVIL

BADGE = "/models/web-traffic/badge.svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
NAMES = (
    EVIL,
    "</text></svg><script>1</script>",
    '" onload="alert(1)',
    "a\x01b\ufffe\u202ec]]>&amp;",
    "\ud83d\u200d x\ny",
    "W" * 5000,
    "{title}",
)


def read(answer: httpx.Response) -> tuple[str, list[str]]:
    """The badge's text for screen readers, and its visible texts."""
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    image = ElementTree.fromstring(answer.content)
    assert (image.get("width"), image.get("height")) == ("300", "20")
    tags = {element.tag.rpartition("}")[2] for element in image.iter()}
    assert tags == {"svg", "title", "rect", "path", "g", "text"}
    names = {name for element in image.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or name in ("href", "style", XLINK)}
    texts = [str(element.text) for element in image.iter() if element.tag.endswith("text")]
    return str(image.get("aria-label")), texts


def test_the_badge_has_the_live_release_and_its_first_metric(shop: Shop) -> None:
    assert read(shop.get(BADGE))[1] == ["web-traffic", "nothing is live"]
    release = shop.publish(
        main_py(), metrics={"rows": 20000, "SMAPE": 0.13519}, info={"Evaluation metric": "SMAPE"}
    )
    label, texts = read(shop.get(BADGE))
    assert texts == ["web-traffic", f"release {release} · SMAPE 0.1352"]
    assert label == f"web-traffic: release {release} · SMAPE 0.1352"
    assert shop.client.head(shop.url + BADGE).headers["Cache-Control"] == "no-cache"
    for accept in ("text/html", "application/json"):
        assert shop.get("/models/nobody/badge.svg", accept).status_code == 404


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_metric_of_any_name_leaves_the_badge_whole(shop: Shop, name: str) -> None:
    shop.publish(main_py(), metrics={name: 1e300})
    label, texts = read(shop.get(BADGE))
    assert len(texts) == 2 and len(texts[1]) < 80 and texts[1] in label
    assert "\u202e" not in label


def test_a_live_release_without_metrics_has_a_badge(shop: Shop) -> None:
    release = shop.publish(main_py(), metrics=None)
    assert read(shop.get(BADGE))[1][1] == f"release {release}"
