"""Validation of large predictions in a separate process: in this one, every client would wait for it."""

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path

from common.system.threads import run_in_thread
from ml.serving.workers.validator import FRAME_HEADER
from ml.serving.workers.wire import LargePrediction

VALIDATOR_PATH = Path(__file__).with_name("validator.py")
MAX_SECONDS = 10.0  # for one prediction


class JsonValidator:
    """A validator process, started with the first large prediction and ended by `close`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def is_json(self, prediction: LargePrediction) -> bool:
        """Return True when it is one JSON value; raises `OSError` when that could not be determined."""
        async with self._lock:
            try:
                async with asyncio.timeout(MAX_SECONDS):
                    return await self._validate(prediction)
            except (EOFError, TimeoutError) as error:
                self.close()
                raise OSError("the process that validates large predictions has ended") from error
            except BaseException:  # the connection has half a request
                self.close()
                raise

    async def _validate(self, prediction: LargePrediction) -> bool:
        reader, writer = self._connection or await self._start()
        writer.write(FRAME_HEADER.pack(prediction.size))
        for piece in prediction.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone does not yield to other tasks
        return await reader.readexactly(1) == b"\1"

    async def _start(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._process, ours = await run_in_thread(launch_validator)
        self._connection = await asyncio.open_unix_connection(sock=ours)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
        if self._process is not None:
            self._process.kill()
            threading.Thread(target=self._process.wait, daemon=True, name="validator").start()
        self._connection = self._process = None


def launch_validator() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process, which inherits nothing but its end of a socket; return our end."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-I", str(VALIDATOR_PATH), str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={}, pass_fds=[theirs.fileno()])
    return process, ours
