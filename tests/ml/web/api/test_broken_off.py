"""Whoever leaves in the middle of a request is no bug of ours."""

import pytest

from tests.harness.raw import connect
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n{more}\r\n"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["/sign-in", "/models/web-traffic/rollback"])
def test_a_call_that_is_broken_off_leaves_no_traceback(shop: Shop, lines: list[str], path: str) -> None:
    bearer = f"Authorization: Bearer {(shop.settings.home / 'token').read_text().strip()}\r\n"
    more = "" if path == "/sign-in" else bearer
    kind = FORM if path == "/sign-in" else "application/json"
    for _ in range(3):
        with connect(shop.url) as connection:
            connection.sendall(HEAD.format(path=path, kind=kind, more=more).encode() + b"token=")
            assert shop.get("/health").status_code == 200  # it has been begun to read
    wait_until(lambda: shop.get("/health").status_code == 200, 10, "serve goes on")

    assert [line for line in lines if "broke" in line or "Disconnect" in line] == []
