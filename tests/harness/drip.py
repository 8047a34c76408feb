"""A server whose answers never end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Drip:
    """A server that answers a byte at a time, for ever, or with more headers than anybody reads."""

    def __init__(self, first: bytes, repeated: bytes, pause: float) -> None:
        self.first, self.repeated, self.pause = first, repeated, pause
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.ended = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while not self.ended.is_set():
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                client.recv(65536)
                client.sendall(self.first)
                while not self.ended.wait(self.pause):
                    client.sendall(self.repeated)
            except OSError:
                client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    def close(self) -> None:
        self.ended.set()
        self.socket.close()


# headers that come a byte at a time, and headers without end
DRIPS = [(b"HTTP/1.1 200", b" ", 0.05), (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 5000, 0.001)]


@contextmanager
def dripping(first: bytes, repeated: bytes, pause: float) -> Iterator[Drip]:
    made = Drip(first, repeated, pause)
    yield made
    made.close()
