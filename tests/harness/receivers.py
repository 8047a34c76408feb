"""Real receivers of notifications on loopback: of webhooks, which check the signature, and of mail."""

import base64
import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_BYTES = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()
TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Received:
    """One request: its headers, in lower case, and its body."""

    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def type(self) -> str:
        return str(self.document["type"])

    def is_signed(self, secret: bytes = SECRET_BYTES) -> bool:
        """Return whether a signature and the time are right, by the specification's own algorithm."""
        moment = self.headers["webhook-timestamp"]
        if abs(time.time() - int(moment)) > TOLERANCE_SECONDS or "." in self.id:
            return False
        signed = f"{self.id}.{moment}.".encode() + self.body
        digest = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        found = self.headers["webhook-signature"].split(" ")
        return any(hmac.compare_digest(one, f"v1,{digest}") for one in found)


@dataclass
class WebhookReceiver:
    """A receiver that can be away, slow, or answer anything; `port` stays the same."""

    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    before_answer: Callable[[], None] = lambda: None
    received: list[Received] = field(default_factory=list)
    port: int = 0
    server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(headers, body, self.path))
                receiver.before_answer()
                self.send_response(receiver.status)
                for name, value in receiver.answer_headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/hidden-part-of-the-path"

    @property
    def types(self) -> list[str]:
        return [one.type for one in self.received]

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]


class MailReceiver(socketserver.ThreadingTCPServer):
    """A mail server that takes every message."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        self.messages: list[Message] = []
        super().__init__(("127.0.0.1", 0), MailHandler)
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class MailHandler(socketserver.StreamRequestHandler):
    server: MailReceiver

    def handle(self) -> None:
        self.reply(220, "ready")
        while line := self.rfile.readline():
            match line.split()[0].upper():
                case b"EHLO":
                    self.wfile.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
                case b"AUTH":
                    self.reply(235, "signed in")
                case b"DATA":
                    self.reply(354, "go on")
                    self.server.messages.append(message_from_bytes(self.read_message()))
                    self.reply(250, "taken")
                case b"QUIT":
                    self.reply(221, "bye")
                    return
                case _:
                    self.reply(250, "well")

    def read_message(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        return b"".join(lines)

    def reply(self, code: int, text: str) -> None:
        self.wfile.write(f"{code} {text}\r\n".encode())
