"""The webhooks that the fake of GitHub sends, signed as GitHub does.

https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
"""

import hashlib
import hmac
import json
import threading
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any

from loguru import logger

TIMEOUT_SECONDS = 10.0  # as GitHub's


@dataclass(frozen=True)
class WebhookSender:
    """A sender of deliveries to one address; without an address it sends nothing."""

    url: str = ""
    secret: str = ""

    def send(self, event: str, payload: dict[str, Any]) -> None:
        """Send a delivery without waiting for the answer."""
        if self.url:
            body = json.dumps(payload).encode()
            threading.Thread(target=self.deliver, args=(event, body), daemon=True).start()

    def deliver(self, event: str, body: bytes) -> int | None:
        """Deliver once, as GitHub does; return the status of the answer, None without one."""
        signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return int(answer.status)
        except OSError as error:
            logger.warning("the webhook {} was not delivered: {}", event, error)
            return None
