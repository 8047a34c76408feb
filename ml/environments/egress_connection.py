"""Connections of the egress proxy: to checked addresses, or through the operator's proxy."""

import base64
import socket
from select import select
from urllib.parse import unquote, urlsplit

from common.allowed_addresses import is_public, parse_address

CONNECT_SECONDS, IDLE_SECONDS = 30, 300
CHUNK_BYTES, MAX_LINE_BYTES = 1 << 16, 1 << 12


class AddressError(Exception):
    """An address that packages may not come from; the text gives the reason."""


def check_public(host: str, addresses: list[str]) -> None:
    """Raise AddressError where an address belongs to this machine, its network, or its metadata service."""
    for address in addresses:
        if not is_public(parse_address(address)):
            host_text = host if host == address else f"{host} ({address})"
            raise AddressError(f"{host_text}, which is not on the internet")


def connect_to_one(host: str, port: int, addresses: list[str], *, is_trusted: bool) -> socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), CONNECT_SECONDS)
        except OSError as error:
            failure = error
            continue
        if not is_trusted and connection.getpeername()[0] == connection.getsockname()[0]:
            connection.close()
            raise AddressError(f"{host} ({address}), which is this machine")
        return connection
    raise failure


def connect_through(proxy: str, host: str, port: int) -> socket.socket:
    """Return a tunnel to the host through the operator's proxy."""
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connection = socket.create_connection((url.hostname or "", url.port or 80), CONNECT_SECONDS)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if url.username:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(login).decode())
    try:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < CHUNK_BYTES:
            if not (piece := connection.recv(1)):  # read no byte beyond the header
                break
            answer += piece
        if answer.split(b" ")[1:2] != [b"200"]:
            raise OSError(f"the proxy {url.hostname} does not connect to {target}")
    except OSError:
        connection.close()
        raise
    return connection


def send_close_header(client: socket.socket, server: socket.socket) -> None:
    """Relay the first line of the answer with `Connection: close`, which not all closing servers send.

    The client would send its next request on this connection otherwise.
    """
    server.settimeout(IDLE_SECONDS)
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
        if not (piece := server.recv(1)):
            break
        line += piece
    client.sendall(line + (b"Connection: close\r\n" if line.startswith(b"HTTP/") else b""))


def relay_bytes(client: socket.socket, server: socket.socket) -> None:
    """Relay the bytes of either side, until one side ends."""
    while True:
        ready, _, _ = select([client, server], [], [], IDLE_SECONDS)
        if not ready:
            return
        for source in ready:
            piece = source.recv(CHUNK_BYTES)
            if not piece:
                return
            (server if source is client else client).sendall(piece)
