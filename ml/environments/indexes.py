"""The package indexes that the operator names, and their credentials, which untrusted code never sees."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from common.git_login import LOGIN_IN_URL

# the variables that name indexes, the default one first: those of uv, else those of pip
DEFAULT_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
EXTRA_VARIABLES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
LINKS_VARIABLE, MIRROR_VARIABLE = "UV_FIND_LINKS", "UV_PYTHON_INSTALL_MIRROR"
NETWORK_PATTERN = re.compile(
    r"^(UV_(SYSTEM_CERTS|NATIVE_TLS|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|INDEX_STRATEGY|PYTHON_DOWNLOADS|"
    r"PYTHON_INSTALL_MIRROR|FIND_LINKS|EXCLUDE_NEWER)|PIP_CERT|GIT_SSL_CAINFO|GIT_SSL_CAPATH)$",
    re.IGNORECASE,
)
# uv's own sources of packages and of interpreters. Their names are trusted, since a company may point them at
# a mirror in its network.
USUAL_HOSTS = (
    *("pypi.org", "files.pythonhosted.org", "github.com", "objects.githubusercontent.com"),
    "release-assets.githubusercontent.com",
)
PROXY_PATTERN = re.compile(r"(https?|all)_proxy", re.IGNORECASE)


@dataclass(frozen=True)
class Index:
    address: str  # with a slash at its end, without credentials
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> tuple[str, str]:
        return urlsplit(self.address)[:2]


def indexes_from_env(variables: tuple[str, ...]) -> list[Index]:
    return [parse_index(text) for name in variables for text in os.environ.get(name, "").split()]


def parse_index(text: str) -> Index:
    """Return the index at `[name=]https://[user:password@]host/path`.

    Like uv, it takes logins from UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD too.
    """
    name, _, address = text.rpartition("=") if re.match(r"[\w.-]+=", text) else ("", "", text)
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    if name:
        user = user or os.environ.get(f"UV_INDEX_{variable}_USERNAME", "")
        password = password or os.environ.get(f"UV_INDEX_{variable}_PASSWORD", "")
    return Index(urlunsplit(parts._replace(netloc=host, path=parts.path.rstrip("/") + "/")), user, password)


def trusted_env(with_default: bool = True) -> dict[str, str]:
    """Return the environment variables for uv while it runs no untrusted code.

    They hold no credentials, which are in `format_credentials`: uv expands variables in addresses of
    requirements, also of those that packages name.
    """
    default = indexes_from_env(DEFAULT_VARIABLES)[: int(with_default)]
    return network_variables() | index_variables(
        [i.address for i in default], [i.address for i in indexes_from_env(EXTRA_VARIABLES)]
    )


def format_credentials() -> str:
    """Return the text of uv's `credentials.toml`, with the logins of the operator's indexes.

    Each is for all of its server, as files may lie next to the index, unless another index has its own.
    """
    with_login = [
        index
        for index in (*indexes_from_env(DEFAULT_VARIABLES), *indexes_from_env(EXTRA_VARIABLES))
        if index.user or index.password
    ]
    services = {index.address: index for index in with_login}
    for index in (*with_login, *(place for place in read_link_pages() if place.user or place.password)):
        services.setdefault("{}://{}/".format(*index.origin), index)
    return "".join(
        f'[[credential]]\nservice = {json.dumps(service)}\nscheme = "basic"\n'
        f"username = {json.dumps(unquote(index.user))}\npassword = {json.dumps(unquote(index.password))}\n"
        for service, index in services.items()
    )


def index_variables(default: list[str], more: list[str]) -> dict[str, str]:
    found = {"UV_DEFAULT_INDEX": default[0]} if default else {}
    return found | ({"UV_INDEX": " ".join(more)} if more else {})


def network_variables() -> dict[str, str]:
    """Return the operator's settings of the network for uv, their addresses without logins."""
    return {
        name: LOGIN_IN_URL.sub("", value) for name, value in os.environ.items() if NETWORK_PATTERN.match(name)
    }


def mirror_variables() -> dict[str, str]:
    """Return the operator's mirror of interpreters with its login, for commands that read no requirement."""
    return {name: os.environ[name] for name in (MIRROR_VARIABLE,) if name in os.environ}


def read_link_pages() -> list[Index]:
    """Return the pages with links to packages that the operator names."""
    return [
        parse_index(text.strip()) for text in os.environ.get(LINKS_VARIABLE, "").split(",") if "://" in text
    ]


def upstream_proxies() -> dict[str, str]:
    """Return the operator's own proxies, by the scheme that they are for."""
    variables = {
        name.lower(): value for name, value in os.environ.items() if PROXY_PATTERN.fullmatch(name) and value
    }
    fallback = variables.get("all_proxy", "")
    found = {scheme: variables.get(f"{scheme}_proxy", fallback) for scheme in ("http", "https")}
    return {scheme: address for scheme, address in found.items() if address}


def trusted_origins() -> set[tuple[str, int]]:
    """Return hosts and ports that the operator names for packages, private ones included."""
    mirrors = [
        os.environ.get(MIRROR_VARIABLE, ""),
        *os.environ.get(LINKS_VARIABLE, "").split(","),
    ]
    addresses = [
        index.address for index in (*indexes_from_env(DEFAULT_VARIABLES), *indexes_from_env(EXTRA_VARIABLES))
    ]
    found = [urlsplit(address.strip()) for address in (*addresses, *mirrors)]
    plain = {"http": 80, "https": 443}
    origins = {(u.hostname, u.port or plain[u.scheme]) for u in found if u.hostname and u.scheme in plain}
    return origins | {(host, 443) for host in USUAL_HOSTS}


def list_addresses() -> list[str]:
    """Return the addresses of the operator's indexes, without their logins."""
    return [
        index.address
        for index in (*indexes_from_env(DEFAULT_VARIABLES)[:1], *indexes_from_env(EXTRA_VARIABLES))
    ]


def list_wheel_folders() -> list[Path]:
    """Return the folders of wheels on this machine."""
    found = [Path(text.removeprefix("file://")) for text in os.environ.get(LINKS_VARIABLE, "").split(",")]
    return [path for path in found if path.is_absolute() and path.exists()]


def mask_passwords(text: str) -> str:
    """Return the text without passwords, in addresses or bare."""
    for index in (
        *indexes_from_env(DEFAULT_VARIABLES),
        *indexes_from_env(EXTRA_VARIABLES),
        *read_link_pages(),
        *map(parse_index, mirror_variables().values()),
    ):
        for password in {index.password, unquote(index.password)} - {""}:
            text = text.replace(password, "***")
    return LOGIN_IN_URL.sub("***@", text)
