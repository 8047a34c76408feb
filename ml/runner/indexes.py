"""The package indexes that the operator names, and their credentials, which foreign code never sees."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from ml.runner.doorway import Doorway

# the variables that name indexes, the default one first: those of uv, else those of pip
DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
MORE = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
NETWORK = re.compile(
    r"^(UV_(SYSTEM_CERTS|NATIVE_TLS|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|INDEX_STRATEGY|PYTHON_DOWNLOADS|"
    r"PYTHON_INSTALL_MIRROR|FIND_LINKS|EXCLUDE_NEWER)|PIP_CERT|GIT_SSL_CAINFO|GIT_SSL_CAPATH)$",
    re.IGNORECASE,
)
# uv's own sources of packages and of interpreters. Their names are trusted, for a company may lead them to a
# mirror in its network.
USUAL = (
    *("pypi.org", "files.pythonhosted.org", "github.com", "objects.githubusercontent.com"),
    "release-assets.githubusercontent.com",
)
PROXY = re.compile(r"(https?|all)_proxy", re.IGNORECASE)
SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # user:password in an address


@dataclass(frozen=True)
class Index:
    address: str  # with a slash at its end, without credentials
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> tuple[str, str]:
        return urlsplit(self.address)[:2]

    @property
    def open(self) -> str:
        """The address with the credentials in it, for uv while it runs no foreign code."""
        if not self.user and not self.password:
            return self.address
        parts = urlsplit(self.address)
        return urlunsplit(parts._replace(netloc=f"{self.user}:{self.password}@{parts.netloc}"))


def named(variables: tuple[str, ...]) -> list[Index]:
    return [index(text) for name in variables for text in os.environ.get(name, "").split()]


def index(text: str) -> Index:
    """Of `[name=]https://[user:password@]host/path`; uv has credentials also as UV_INDEX_<NAME>_PASSWORD."""
    name, _, address = text.rpartition("=") if re.match(r"[\w.-]+=", text) else ("", "", text)
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    if name:
        user = user or os.environ.get(f"UV_INDEX_{variable}_USERNAME", "")
        password = password or os.environ.get(f"UV_INDEX_{variable}_PASSWORD", "")
    return Index(urlunsplit(parts._replace(netloc=host, path=parts.path.rstrip("/") + "/")), user, password)


def trusted_variables() -> dict[str, str]:
    """The environment's part for uv while it runs no foreign code.

    Credentials stand in addresses alone, never under an index's name: a repository could give that name to
    a server of its own.
    """
    return network() | variables([i.open for i in named(DEFAULT)[:1]], [i.open for i in named(MORE)])


def variables(default: list[str], more: list[str]) -> dict[str, str]:
    found = {"UV_DEFAULT_INDEX": default[0]} if default else {}
    return found | ({"UV_INDEX": " ".join(more)} if more else {})


def network() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if NETWORK.match(name)}


def upstream() -> dict[str, str]:
    """The operator's own proxies, by the scheme of what they are for."""
    named = {name.lower(): value for name, value in os.environ.items() if PROXY.fullmatch(name) and value}
    every = named.get("all_proxy", "")
    found = {scheme: named.get(f"{scheme}_proxy", every) for scheme in ("http", "https")}
    return {scheme: address for scheme, address in found.items() if address}


def trusted_origins() -> set[tuple[str, int]]:
    """Hosts and ports that the operator names for packages, wherever they are."""
    mirrors = [
        os.environ.get("UV_PYTHON_INSTALL_MIRROR", ""),
        *os.environ.get("UV_FIND_LINKS", "").split(","),
    ]
    addresses = [index.address for index in (*named(DEFAULT), *named(MORE))]
    found = [urlsplit(address.strip()) for address in (*addresses, *mirrors)]
    plain = {"http": 80, "https": 443}
    origins = {(u.hostname, u.port or plain[u.scheme]) for u in found if u.hostname and u.scheme in plain}
    return origins | {(host, 443) for host in USUAL}


def addresses() -> list[str]:
    """The operator's indexes, without their logins."""
    return [index.address for index in (*named(DEFAULT)[:1], *named(MORE))]


def folders() -> list[Path]:
    """Where wheels lie on this machine."""
    found = [Path(text.removeprefix("file://")) for text in os.environ.get("UV_FIND_LINKS", "").split(",")]
    return [path for path in found if path.is_absolute() and path.exists()]


def mask(text: str) -> str:
    """Without passwords, in addresses or bare."""
    for index in (*named(DEFAULT), *named(MORE)):
        for password in {index.password, unquote(index.password)} - {""}:
            text = text.replace(password, "***")
    return SECRET.sub("***@", text)


@contextmanager
def without_credentials() -> Iterator[tuple[dict[str, str], "Doorway | None"]]:
    """The environment's part for uv while it runs foreign code, and what stands for the indexes meanwhile.

    The indexes are then here, on a loopback address with an unguessable path, and credentials are added on
    the way out. Only pages of the indexes and what these link to can be had.
    """
    default, more = named(DEFAULT)[:1], named(MORE)
    if not default and not more:
        yield network(), None
        return
    from ml.runner.doorway import Doorway  # noqa: PLC0415 (httpx is large, and this is seldom needed)

    with Doorway([*default, *more]) as doorway:
        addresses = [f"{doorway.address}/{number}/" for number in range(len(doorway.indexes))]
        yield network() | variables(addresses[: len(default)], addresses[len(default) :]), doorway
