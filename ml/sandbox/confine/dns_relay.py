"""The relay to DNS servers, by UDP, for a process without it: that sends DNS over a stream, to us alone."""

import socket
from contextlib import suppress

PORT = 53
MAX_MESSAGE_BYTES = 1 << 16  # bytes of a query or an answer


def parse_servers(text: str) -> dict[str, str]:
    """Return the DNS servers in resolv.conf: an address → the same with its link (`fe80::1%eth0`)."""
    lines = [line.split() for line in text.splitlines()]
    addresses = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return {name.partition("%")[0]: name for name in addresses or ["127.0.0.1"]}


class DnsRelay:
    """The relay of one stream: `their_end` is the process's end.

    Call `relay_once` when `our_end` or `upstream` is readable.
    """

    def __init__(self, server: str, port: int = PORT) -> None:
        self.our_end, self.their_end = socket.socketpair()
        self.upstream = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        self.upstream.connect((server, port))
        for end in (self.our_end, self.upstream):
            end.setblocking(False)
        self.buffer = b""

    def relay_once(self) -> bool:
        """Relay pending messages in both directions; return False when the process has closed its end."""
        # no server there: the process will try another
        with suppress(BlockingIOError, ConnectionRefusedError):
            answer = self.upstream.recv(MAX_MESSAGE_BYTES)
            self.our_end.send(len(answer).to_bytes(2, "big") + answer)
        try:
            received = self.our_end.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return True
        self.buffer += received
        while len(self.buffer) >= 2 and len(self.buffer) >= (
            end := 2 + int.from_bytes(self.buffer[:2], "big")
        ):
            query, self.buffer = self.buffer[2:end], self.buffer[end:]
            with suppress(OSError):  # a packet may be lost as well
                self.upstream.send(query)
        return bool(received)

    def close(self) -> None:
        self.our_end.close()
        self.upstream.close()
