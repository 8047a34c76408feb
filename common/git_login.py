"""The environment of git: a memory limit, no configuration of the machine, credentials for one host only."""

import os
import re
import shlex
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

GIT = str(Path(__file__).with_name("git.sh"))  # started in place of git
ASKPASS = Path(__file__).with_name("askpass.sh")
MEMORY_BYTES = 1536 << 20  # of each process
GIT_CONFIG_VARIABLES = {
    "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
    "GIT_CONFIG_NOSYSTEM": "1",
    "SLIPWAY_GIT_KIB": str(MEMORY_BYTES >> 10),
}
INHERITED_CONFIG = {
    "http.proxy": ("http_proxy", "https_proxy"),
    "http.sslcainfo": ("GIT_SSL_CAINFO",),
    "http.sslcapath": ("GIT_SSL_CAPATH",),
}
SSH_COMMAND = "ssh -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
NO_MEMORY = re.compile(r"out of memory|cannot allocate memory", re.IGNORECASE)
ERROR_MARKS = ("fatal:", "error:", "ERROR")  # of the line with the cause
LOGIN_IN_URL = re.compile(r"(?<=://)[^/\s]+@")  # user:password in an address; either may have an @
LOGIN_USER = "x-access-token"  # servers that take a token as a password accept any user name


def strip_login(address: str) -> str:
    """Return the address without its login: every user of the machine can read arguments."""
    url = urlsplit(address)
    if url.scheme.lower() not in ("http", "https") or not url.username:  # a token may stand alone
        return address
    return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))


def login_environment(address: str, token: str = "", host: str = "github.com") -> dict[str, str]:
    """Return git's environment: it never prompts, and has the login for one host only, through askpass.

    That is the login in `address` for its own host, else the token for `host`.
    """
    variables = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    variables |= read_network_config() | GIT_CONFIG_VARIABLES | trust(address)
    if "GIT_SSH" not in os.environ:
        variables["GIT_SSH_COMMAND"] = os.environ.get("GIT_SSH_COMMAND", SSH_COMMAND)
    url = urlsplit(address)
    if strip_login(address) != address:
        origin = f"{url.scheme.lower()}://{url.netloc.rpartition('@')[2]}"
        user, password = unquote(url.username or ""), unquote(url.password or "")
        if not password:  # git passes the user to askpass as an argument
            user, password = LOGIN_USER, (token if origin == f"https://{host}" else "") or user
    elif token:
        origin, user, password = f"https://{host}", LOGIN_USER, token
    else:
        return variables | {"GIT_ASKPASS": os.devnull}
    login = {"SLIPWAY_GIT_ORIGIN": origin, "SLIPWAY_GIT_USER": user, "SLIPWAY_GIT_PASSWORD": password}
    return variables | {"GIT_ASKPASS": str(ASKPASS)} | login


def is_on_disk(address: str) -> bool:
    return address.lower().startswith("file://")


def trust(address: str) -> dict[str, str]:
    """Return variables that let git read this repository on disk, whoever owns it, and no other."""
    if not is_on_disk(address):
        return {}
    path = "/" + unquote(address[len("file://") :]).partition("/")[2].rstrip("/")
    folders = (path, f"{path}/.git", f"{path}.git", f"{path}.git/.git")  # the paths where git looks for it
    options = " ".join(f"-c {shlex.quote(f'safe.directory={folder}')}" for folder in folders)
    found = {"GIT_CONFIG_COUNT": "2"}
    for number, remote in enumerate((address, "origin")):  # a remote without a name is called by its address
        found[f"GIT_CONFIG_KEY_{number}"] = f"remote.{remote}.uploadpack"
        found[f"GIT_CONFIG_VALUE_{number}"] = f"git {options} upload-pack"
    return found


def ran_out_of_memory(said: str, address: str) -> bool:
    """Return whether git's stderr shows that git hit its memory limit, and not the server its own."""
    lines = [line for line in said.splitlines() if is_on_disk(address) or "remote:" not in line]
    return any(NO_MEMORY.search(line) for line in lines)


def find_error_line(stderr: bytes) -> str:
    """Return the line of git's stderr with the cause, without a login."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    causes = [line for line in lines if any(mark in line for mark in ERROR_MARKS)]
    first = next(iter(causes or lines), "git printed nothing")
    return LOGIN_IN_URL.sub("***@", first.removeprefix("fatal: "))


@cache
def read_network_config() -> dict[str, str]:
    """Return the operator's git settings for proxies and certificates, as environment variables.

    Nothing else of them may apply to untrusted repositories: filters that they name are programs.
    """
    found: dict[str, str] = {}
    for name, variables in INHERITED_CONFIG.items():
        with suppress(subprocess.CalledProcessError):  # it is not set
            result = subprocess.run(["git", "config", "--get", name], stdout=subprocess.PIPE, check=True)
            value = result.stdout.decode(errors="replace").strip()
            found |= {variable: value for variable in variables if variable not in os.environ}
    return found
