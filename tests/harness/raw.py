"""Requests byte by byte, as no HTTP client would send them."""

import socket
from urllib.parse import urlsplit


def connect(url: str, source: str = "127.0.0.1") -> socket.socket:
    """Return a connection to a service on this machine, from one of its addresses."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), 30, (source, 0))


def exchange(url: str, *pieces: bytes) -> bytes:
    """Return the response to these bytes: at least its head."""
    with connect(url) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = connection.recv(1 << 16)
        while b"\r\n\r\n" not in answer and (more := connection.recv(1 << 16)):
            answer += more
        return answer


def request(url: str, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> int:
    """Return the status for a request of these lines and no others, without a body."""
    head = "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "Content-Length: 0", "", ""])
    return int(exchange(url, head.encode("latin-1")).split(b" ")[1])
