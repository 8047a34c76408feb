"""Which names a service goes by, and how a `Host` header is read."""

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from common.auth import session_cookie
from common.web.host_names import AllowedHosts, parse_host
from ml.settings import MlSettings

ALLOWED = AllowedHosts(["slipway.example.com", "*.models.example"])


@pytest.mark.parametrize(
    "header",
    [
        *("localhost", "LocalHost:8000", "localhost.", "localhost.:8000", "any.localhost", "serve", "vcs:80"),
        *(
            "127.0.0.1",
            "127.0.0.1:8000",
            "192.168.7.7",
            "203.0.113.9:1",
            "[::1]",
            "[::1]:8000",
            "[2001:DB8::7]",
        ),
        *("slipway.example.com", "SLIPWAY.example.COM.:443", "one.models.example", "a.b.models.example:80"),
    ],
)
def test_its_names_and_every_address_are_allowed(header: str) -> None:
    host = parse_host(header.encode())

    assert host is not None
    assert host in ALLOWED


@pytest.mark.parametrize(
    "header",
    [
        *("evil.example", "slipway.example.com.evil.example", "xslipway.example.com", "example.com"),
        *("models.example", "models.example.evil.example", "xmodels.example", "localhost.evil.example"),
        *("evillocalhost", "127.0.0.1.evil.example", "127.1", "0x7f000001", "2130706433", "127.0.0.1x"),
    ],
)
def test_other_names_are_names_and_not_allowed(header: str) -> None:
    host = parse_host(header.encode())

    assert host is not None
    assert host not in ALLOWED


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", ":8000", ".", "a..b", "-a", "a b", "a,b", "localhost,evil.example", "user@localhost"),
        *(
            "localhost:x",
            "localhost:8000:1",
            "http://localhost",
            "localhost/x",
            "localhost#",
            "local\x00host",
        ),
        *(
            "::1",
            "[::1",
            "[::1]x",
            "[]",
            "[evil.example]",
            "[127.0.0.1]",
            "[::1%25lo]",
            "ü.example",
            "a" * 300,
        ),
    ],
)
def test_what_is_no_name_is_told_apart(header: str) -> None:
    assert parse_host(header.encode("latin-1")) is None


def said(monkeypatch: pytest.MonkeyPatch, **variables: str) -> AllowedHosts:
    for name, value in {"DATABASE_URL": "postgresql://nowhere", **variables}.items():
        monkeypatch.setenv(name, value)
    return MlSettings().allowed_hosts  # type: ignore[call-arg]


def test_where_it_listens_and_what_is_set_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = said(
        monkeypatch,
        SLIPWAY_BIND="Ship.internal",
        SLIPWAY_PUBLISHED="dock.internal",
        SLIPWAY_HOSTS="slipway.example.com., *.Models.example",
    )

    names = ("ship.internal", "dock.internal", "slipway.example.com", "x.models.example")
    assert [name for name in (*names, "evil.example", "internal") if name in allowed] == list(names)


@pytest.mark.parametrize("wrong", ["*", "https://slipway.example.com", "a.example:8000", "*.", "a.*.example"])
def test_a_list_that_holds_no_name_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="is not a name: give names without scheme and port"):
        said(monkeypatch, SLIPWAY_HOSTS=wrong)


@pytest.mark.parametrize("sent", [(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://evil.example")])
def test_a_page_under_an_unknown_name_is_not_ours(sent: tuple[bytes, bytes]) -> None:
    """Whatever it says, and even where no middleware has refused it."""
    scope = {"type": "http", "scheme": "http", "path": "/", "headers": [(b"host", b"evil.example"), sent]}

    assert not session_cookie.is_same_origin(Request(scope))
    assert session_cookie.is_same_origin(Request(scope | {"is_known_host": True}))
