"""The overview and the pages of releases: every word true, every value readable, who decided and why."""

import re

from tests.ml.pages.test_pages import EVIL, HTML, text
from tests.ml.serving.support import Shop, main_py


def test_a_schema_stays_off_the_page_and_other_nested_values_are_cut(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"secret_field": {"type": "integer"}}}
    info = {"features": schema, "Authors": ["Ann", "Bo"], "Deep": {"a": [{"b": EVIL}] * 50}}
    shop.publish(main_py(), info=info)

    page = shop.get("/", HTML).text

    assert "secret_field" not in page
    assert "Authors Ann, Bo" in text(page)
    assert '{"a": [{"b": "<script>' in text(page)
    assert "<script>alert" not in page
    cut = re.findall(r"<dd><details><summary><code>(.*?)</code>", page)[0]
    assert cut.endswith("…")
    assert text(page).count("alert(") > 50  # the whole is in the details
