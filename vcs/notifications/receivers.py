"""The receivers of notifications, as the operator lists them: webhooks with secrets, addresses of Apprise."""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

import httpx

from common.allowed_addresses import AddressPolicy
from common.web.loopback import is_loopback

SECRET_PREFIX = "whsec_"  # noqa: S105 (what a secret begins with)
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64  # of Standard Webhooks
KEY_ROUNDS = 100_000  # a digest in the database or a backup must not help to guess a password in an address
HOW_TO_MAKE = "make one with: echo whsec_$(openssl rand -base64 32)"


@dataclass(frozen=True)
class Receiver:
    """A receiver; its address may be a secret, and is in no message."""

    number: int  # from 1 on, in the setting's order
    address: str = field(repr=False)

    setting = ""

    @property
    def name(self) -> str:
        """Return what people recognize it by: its number, and a part of its address that is no secret."""
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        """Return what the database knows it by."""
        made = hashlib.pbkdf2_hmac("sha256", self.address.encode(), b"slipway receiver", KEY_ROUNDS, 16)
        return f"{self.setting.removeprefix('SLIPWAY_').lower()} {made.hex()}"


@dataclass(frozen=True)
class WebhookAddress(Receiver):
    """An address that takes Standard Webhooks; each secret makes a signature, so that they can be changed."""

    secrets: Sequence[bytes] = field(repr=False, default=())

    setting = "SLIPWAY_WEBHOOKS"

    @cached_property
    def url(self) -> httpx.URL:
        return httpx.URL(self.address)

    @property
    def name(self) -> str:
        return f"webhook {self.number} ({self.url.host})"


@dataclass(frozen=True)
class AppriseAddress(Receiver):
    """An address of a service that Apprise knows: `slack://…`, `mailtos://…`."""

    setting = "SLIPWAY_NOTIFY"

    @property
    def scheme(self) -> str:
        return self.address.partition("://")[0].lower()

    @property
    def name(self) -> str:
        return f"notification address {self.number} ({self.scheme})"


def parse_webhooks(text: str, allowed: AddressPolicy) -> list[WebhookAddress]:
    """Parse addresses, each followed by its secrets; raises `ValueError`, with neither in its text."""
    found: list[WebhookAddress] = []
    for address, secrets in group_secrets(split_words(text)):
        number = len(found) + 1
        check_address(address, number, allowed)
        if not secrets:
            raise ValueError(f"webhook {number} has no secret after its address: {HOW_TO_MAKE}")
        found.append(WebhookAddress(number, address, [parse_secret(one, number) for one in secrets]))
    return found


def split_words(text: str) -> list[str]:
    """Return what white space separates, without commas at the end."""
    return [word for word in (part.rstrip(",") for part in text.split()) if word]


def group_secrets(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each address with the secrets that follow it."""
    address, secrets = "", list[str]()
    for word in words:
        if not word.startswith(SECRET_PREFIX):
            if address:
                yield address, secrets
            address, secrets = word, []
        elif not address:
            raise ValueError("it begins with a secret: put the webhook's address before it")
        else:
            secrets.append(word)
    if address:
        yield address, secrets


def check_address(address: str, number: int, allowed: AddressPolicy) -> None:
    try:
        url = httpx.URL(address)
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"webhook {number} is not an address") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError(f"webhook {number} is not an address that begins with https://")
    if url.scheme == "http" and not is_known_host(host, allowed):
        raise ValueError(
            f"webhook {number} begins with http://, which anybody on the way can read: use https://, "
            "or name its host in SLIPWAY_NOTIFY_ALLOW"
        )


def is_known_host(host: str, allowed: AddressPolicy) -> bool:
    """Return whether the operator names this host, by its name or its address."""
    if is_loopback(host) or host.lower().rstrip(".") in allowed.hosts:
        return True
    try:
        return allowed.is_named(host, ip_address(host))
    except ValueError:
        return False


def parse_secret(text: str, number: int) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the secret of webhook {number} is not base64: {HOW_TO_MAKE}") from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"the secret of webhook {number} has {len(secret)} bytes in place of "
            f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}: {HOW_TO_MAKE}"
        )
    return secret


def parse_addresses(text: str) -> list[AppriseAddress]:
    """Parse addresses of Apprise; raises `ValueError`, without them in its text."""
    found = [AppriseAddress(number, word) for number, word in enumerate(split_words(text), 1)]
    for receiver in found:
        scheme, separator, rest = receiver.address.partition("://")
        if not separator or not rest or not scheme.isascii() or not scheme.isalnum():
            raise ValueError(f"notification address {receiver.number} is not an address such as slack://…")
    return found
