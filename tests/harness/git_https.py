"""A git server over TLS on loopback, with a certificate authority of its own, that asks for a token."""

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.harness.processes import command_line

HOST = "127.0.0.1"


class GitHttps(ThreadingHTTPServer):
    """Serves the repositories below a folder to whoever has one of `tokens`."""

    daemon_threads = True

    def __init__(self, folder: Path, certificate: Path) -> None:
        super().__init__((HOST, 0), GitHandler)
        self.folder = folder
        self.tokens: set[str] = set()
        self.used: list[str] = []  # tokens that came, accepted or not
        self.arguments: set[str] = set()  # of all processes, while a request with a token was answered
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that does not trust the certificate."""


class GitHandler(BaseHTTPRequestHandler):
    server: GitHttps

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""

    def do_GET(self) -> None:
        if not self.is_admitted():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = subprocess.run(
            ["git", "http-backend"], env=self.describe_request(), input=body, capture_output=True, check=True
        ).stdout
        headers, _, content = answer.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in headers.decode().split("\r\n"))
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 (the base class's name)

    def is_admitted(self) -> bool:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return False
        user, _, token = base64.b64decode(login).decode().partition(":")
        self.server.used.append(token)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                self.server.arguments |= {*command_line(process)}
        return user == "x-access-token" and token in self.server.tokens

    def describe_request(self) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
        }


@contextmanager
def serve_git(folder: Path, keys: Path) -> Iterator[tuple[GitHttps, Path]]:
    """Serve the repositories in a folder; give the server, and the certificate of its authority."""
    authority, certificate = make_certificates(keys)
    server = GitHttps(folder, certificate)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server, authority
    finally:
        server.shutdown()
        server.server_close()


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """Write a new authority's certificate, and the key and certificate of a server on loopback."""
    folder.mkdir(parents=True)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = name("Slipway's tests")
    extension = x509.BasicConstraints(ca=True, path_length=0)
    authority = (
        begin(authority_name, authority_name, authority_key)
        .add_extension(extension, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
    certificate = (
        begin(name(HOST), authority_name, server_key)
        .add_extension(addresses, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(key + certificate.public_bytes(Encoding.PEM))
    (folder / "authority.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    return folder / "authority.pem", folder / "server.pem"


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
