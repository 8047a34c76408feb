"""The rows that wait to be written, bounded in number and bytes, and the thread that writes them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from loguru import logger
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from common.system.threads import run_in_thread
from db import request_log, request_partitions
from db.session import DB_ERRORS, describe_error
from ml.serving.request_log.rows import PendingRow, Row, to_row, without_values

MAX_QUEUED_ROWS, MAX_QUEUED_BYTES = 5000, 16 << 20
BATCH_ROWS = 200  # of one transaction
WRITE_INTERVAL_SECONDS = 1.0
SHUTDOWN_SECONDS = 2.0  # for the rows that wait at the end of the process

CountRows = Callable[[Sequence[PendingRow], bool], None]  # that were written, or lost


class RowWriter:
    """A queue whose `run` writes until it is cancelled, in batches and at most once a second."""

    def __init__(self, sessions: sessionmaker[Session], fields_key: bytes, count: CountRows) -> None:
        self._sessions, self._fields_key, self._count = sessions, fields_key, count
        self._pending: list[PendingRow] = []
        self._pending_bytes = 0
        self._has_pending, self._writing = asyncio.Event(), asyncio.Lock()
        # seconds from the monotonic clock to Unix's time; Postgres's once that is known, as of all times
        self.clock_offset = time.time() - time.monotonic()

    def add(self, row: PendingRow) -> None:
        """Queue a row; without room for it, it is lost and counted."""
        if len(self._pending) >= MAX_QUEUED_ROWS or self._pending_bytes + row.size > MAX_QUEUED_BYTES:
            self._count([row], False)
            return
        self._pending.append(row)
        self._pending_bytes += row.size
        self._has_pending.set()

    async def run(self) -> None:
        await self._prepare()
        try:
            while True:
                await self._has_pending.wait()
                await self.flush()
                await asyncio.sleep(WRITE_INTERVAL_SECONDS)
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.flush(), SHUTDOWN_SECONDS)

    async def flush(self) -> None:
        """Write all rows that were added before; those that Postgres does not take are lost, and counted."""
        async with self._writing:
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            self._has_pending.clear()
            for at in range(0, len(pending), BATCH_ROWS):
                await self._write(pending[at : at + BATCH_ROWS])

    async def _prepare(self) -> None:
        """Make partitions where the controller has not, and read Postgres's clock."""
        try:
            await run_in_thread(self._create_partitions)
            await run_in_thread(self._insert, [])
        except DB_ERRORS as error:
            logger.debug("the request log begins once Postgres is there: {}", describe_error(error))
        except Exception:  # noqa: BLE001 (a bug of ours must not stop the recording)
            logger.exception("the request log could not be prepared")

    async def _write(self, batch: Sequence[PendingRow]) -> None:
        is_written = False
        try:
            await run_in_thread(self._save_batch, batch)
            is_written = True
        except DBAPIError as error:  # rows are not worth waiting for Postgres
            logger.debug("{} rows of the request log are lost: {}", len(batch), describe_error(error))
        except Exception:  # noqa: BLE001 (a bug of ours must not stop the recording)
            logger.exception("{} rows of the request log are lost", len(batch))
        finally:
            self._count(batch, is_written)

    def _save_batch(self, batch: Sequence[PendingRow]) -> None:
        rows = [to_row(row, self._fields_key) for row in batch]
        try:
            self._save(rows)
        except DataError:  # JSON that Postgres cannot hold costs its own row's values alone
            for row in rows:
                try:
                    self._save([row])
                except DataError:
                    self._save([without_values(row)])

    def _save(self, rows: Sequence[Row]) -> None:
        """Write rows; make missing partitions, of which there are none where a controller runs."""
        try:
            self._insert(rows)
        except IntegrityError as error:
            if getattr(error.orig, "pgcode", None) != request_partitions.MISSING_CODE:
                raise
            self._create_partitions()
            self._insert(rows)

    def _create_partitions(self) -> None:
        with self._sessions.begin() as session:
            request_partitions.create_missing(session)

    def _insert(self, rows: Sequence[Row]) -> None:
        with self._sessions.begin() as session:
            there = request_log.record_batch(session, rows)
        self.clock_offset = there.timestamp() - time.monotonic()
