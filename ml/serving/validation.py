"""Large predictions are looked through in a process of their own: in this one, all would wait for it."""

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path

from ml.serving.protocol import Large
from ml.serving.threads import aside
from ml.serving.validator import HEADER

PROGRAM = Path(__file__).with_name("validator.py")
MAX_SECONDS = 10.0  # for one prediction


class JsonValidator:
    """One process, started with the first large prediction; `close` ends it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def is_json(self, prediction: Large) -> bool:
        """Whether it is one JSON value; raises `OSError` when that could not be found out."""
        async with self._lock:
            try:
                async with asyncio.timeout(MAX_SECONDS):
                    return await self._ask(prediction)
            except (EOFError, TimeoutError) as error:
                self.close()
                raise OSError("the process that looks through large predictions has ended") from error
            except BaseException:  # the line holds half a question
                self.close()
                raise

    async def _ask(self, prediction: Large) -> bool:
        reader, writer = self._line or await self._start()
        writer.write(HEADER.pack(prediction.size))
        for piece in prediction.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone lets nobody else go on
        return await reader.readexactly(1) == b"\1"

    async def _start(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._process, ours = await aside(launch)
        self._line = await asyncio.open_unix_connection(sock=ours)
        return self._line

    def close(self) -> None:
        if self._line is not None:
            self._line[1].close()
        if self._process is not None:
            self._process.kill()
            threading.Thread(target=self._process.wait, daemon=True, name="validator").start()
        self._line = self._process = None


def launch() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process with nothing of ours but its end of the line, which it gives back."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-I", str(PROGRAM), str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={}, pass_fds=[theirs.fileno()])
    return process, ours
