"""Servers of names, asked by UDP for a process that has none: it speaks DNS over a stream, to us alone."""

import socket
from contextlib import suppress

PORT = 53
LONGEST = 1 << 16  # bytes of a question or an answer


def servers(text: str) -> dict[str, str]:
    """Those that a machine asks, by resolv.conf: an address → the same with its link (`fe80::1%eth0`)."""
    lines = [line.split() for line in text.splitlines()]
    named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return {name.partition("%")[0]: name for name in named or ["127.0.0.1"]}


class Conversation:
    """One stream's: `theirs` is the process's end; `step` when `ours` or `asked` can be read."""

    def __init__(self, server: str, port: int = PORT) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.asked = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        self.asked.connect((server, port))
        for end in (self.ours, self.asked):
            end.setblocking(False)
        self.heard = b""

    def step(self) -> bool:
        """Pass on what is there, both ways; False when the process has closed its end."""
        with suppress(BlockingIOError, ConnectionRefusedError):  # nobody serves there: it will ask another
            answer = self.asked.recv(LONGEST)
            self.ours.send(len(answer).to_bytes(2, "big") + answer)
        try:
            said = self.ours.recv(LONGEST)
        except BlockingIOError:
            return True
        self.heard += said
        while len(self.heard) >= 2 and len(self.heard) >= (end := 2 + int.from_bytes(self.heard[:2], "big")):
            question, self.heard = self.heard[2:end], self.heard[end:]
            with suppress(OSError):  # as when it is lost on the way
                self.asked.send(question)
        return bool(said)

    def close(self) -> None:
        self.ours.close()
        self.asked.close()
