"""A message as a webhook, signed as Standard Webhooks 1.0.0 has it; the answer's body is never read.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import httpcore

from common.allowed_addresses import AddressPolicy
from common.web.deadline import Deadline, DeadlineBackend
from common.web.guarded_connections import GuardedBackend, RefusedAddressError, basic_auth, open_pool
from vcs.notifications.message import Message
from vcs.notifications.outcome import DELIVERED, SendOutcome
from vcs.notifications.receivers import WebhookAddress

REQUEST_SECONDS = 15.0  # from the connection to the answer's headers
MAX_RETRY_AFTER_SECONDS = 24 * 3600.0
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
CURES = {
    HTTPStatus.UNAUTHORIZED: "see that it has the same secret as SLIPWAY_WEBHOOKS",
    HTTPStatus.FORBIDDEN: "see that it has the same secret as SLIPWAY_WEBHOOKS",
    HTTPStatus.NOT_FOUND: "see that its address in SLIPWAY_WEBHOOKS is right",
    HTTPStatus.METHOD_NOT_ALLOWED: "see that its address in SLIPWAY_WEBHOOKS is right",
    HTTPStatus.GONE: "it wants no more messages and gets none: remove it from SLIPWAY_WEBHOOKS",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "let it take bodies of 20 kB",
}


def send_webhook(
    webhook: WebhookAddress, message: Message, allowed: AddressPolicy, seconds: float = REQUEST_SECONDS
) -> SendOutcome:
    """Send a message to a webhook within so many seconds; redirects are not followed."""
    payload = message.to_json()
    headers = sign(webhook.secrets, message.id, int(time.time()), payload)
    try:
        status, answered = post(webhook, headers, payload, allowed, seconds)
    except RefusedAddressError as error:
        hint = ": if it is meant, name it in SLIPWAY_NOTIFY_ALLOW" if error.can_be_allowed else ""
        return SendOutcome(f"{error.host} {error.reason}{hint}", holds_up=True)
    except httpcore.TimeoutException:
        return SendOutcome(f"it did not answer within {seconds:g} s: see that it runs", holds_up=True)
    except ssl.SSLError:
        return SendOutcome("its certificate is not accepted: see that it is valid", holds_up=True)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        reason = describe_failure(error)
        return SendOutcome(f"{reason}: see that it runs and can be reached from here", holds_up=True)
    return judge_answer(status, answered)


def sign(secrets: Sequence[bytes], message_id: str, timestamp: int, payload: bytes) -> dict[str, str]:
    """Return the headers that the receiver checks the payload by, with a signature for each secret."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), payload])
    digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def post(
    webhook: WebhookAddress,
    signature: Mapping[str, str],
    payload: bytes,
    allowed: AddressPolicy,
    seconds: float,
) -> tuple[int, dict[str, str]]:
    """Return the status and the headers that a webhook answers with."""
    backend = DeadlineBackend(Deadline(seconds))
    url = webhook.url
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Content-Type": "application/json",
        "Content-Length": str(len(payload)),
        "User-Agent": "slipway",
        **signature,
    }
    if url.userinfo:
        headers["Authorization"] = basic_auth(url)
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    with (
        open_pool(url, GuardedBackend(allowed, backend), backend) as pool,
        pool.stream(
            "POST", target, headers=list(headers.items()), content=payload, extensions={"timeout": timeouts}
        ) as answer,
    ):
        answered = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in answer.headers}
        return answer.status, answered


def judge_answer(status: int, headers: Mapping[str, str]) -> SendOutcome:
    """Return what follows from an answer; only 2xx is a success."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return DELIVERED
    error = f"it answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return SendOutcome(f"{error}, and redirects are not followed: set the address that it leads to")
    if cure := CURES.get(HTTPStatus(status) if status in list(HTTPStatus) else HTTPStatus.OK):
        error = f"{error}: {cure}"
    else:
        error = f"{error}: see its log"
    after = headers.get("retry-after", "")
    pause = min(float(after[:9]), MAX_RETRY_AFTER_SECONDS) if after.isascii() and after.isdigit() else None
    is_busy = pause is not None or status in (*BUSY, HTTPStatus.GATEWAY_TIMEOUT)
    return SendOutcome(error, is_gone=status == HTTPStatus.GONE, holds_up=is_busy, pause_seconds=pause)


def describe_failure(error: Exception) -> str:
    """Return a failure's name: its text could quote the address."""
    if isinstance(error, httpcore.ConnectError):
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            return "its certificate is not accepted"
        return "it cannot be reached"
    if isinstance(error, httpcore.ProxyError):
        return "the proxy of this machine (HTTPS_PROXY) does not lead to it"
    return "it breaks the connection off"
