"""The local store: the SCIM tables in a SQLite file, for a Kong that has no database."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from kong_scim import cpu
from kong_scim.bridge import Sql
from kong_scim.directory.sqlite import SqliteDatabase, SqliteTransaction

_FILE = "scim.sqlite"
_LOCK = "lock"


log = logging.getLogger(__name__)


class StoreError(Exception):
    """The directory of the store cannot be used; the message says why."""


class BusyError(Exception):
    """Another writer held the store for longer than this one was willing to wait."""


class LocalStore:
    """A SQLite file with one writer at a time, and readers beside it.

    :param directory: It is made where there is none, for its owner only: it holds personal data.
    :raises StoreError: When it cannot be written, or another process has it.
    """

    def __init__(self, directory: Path) -> None:
        self._lock_file = _claimed(directory)
        self._path = directory / _FILE
        try:
            self._database = SqliteDatabase(self._path, durable=True)
        except Exception as error:
            log.exception("%s cannot be used", self._path)
            raise StoreError(
                f"{self._path} cannot be used: the plugin server's log says why"
            ) from error
        self._readers = threading.local()
        self._changed = threading.Condition()
        self._taken, self._urgent = False, 0  # the turn, and who waits for it that is urgent
        with self._database.transaction() as transaction:
            self.id = _identity(transaction)
        """Of this file's content: another file, or a new one, has another."""

    def query(
        self, statements: Sequence[Sql], timeout: float | None = None
    ) -> list[list[dict[str, Any]]]:
        """Return the rows of each statement, all of one moment, without waiting for a writer.

        :param timeout: In seconds: how long each may take.

        :raises ~kong_scim.bridge.BridgeError: As :meth:`.SqliteTransaction.run`.
        """
        with cpu.waiting():
            return self._reader().query(statements, timeout)

    def reading(self) -> AbstractContextManager[SqliteTransaction]:
        """Open a transaction that only reads."""
        return self._reader().reading()

    def _reader(self) -> SqliteDatabase:
        """Return a connection of this thread, so that nobody waits for a writer."""
        if not hasattr(self._readers, "database"):
            self._readers.database = SqliteDatabase(self._path)
        reader: SqliteDatabase = self._readers.database
        return reader

    @contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """Be the only writer: for what is more than one transaction, and must be in one order.

        :param patience: In seconds.
        :raises BusyError: When somebody else takes longer.
        """
        urgent = cpu.is_urgent()
        with cpu.waiting(gives_way=False):
            if not self._take_turn(patience, urgent=urgent):
                raise BusyError("somebody else has been writing all the time")
            try:
                yield
            finally:
                with self._changed:
                    self._taken = False
                    self._changed.notify_all()

    def _take_turn(self, patience: float, *, urgent: bool) -> bool:
        """Wait for the turn: who is urgent comes first."""
        with self._changed:
            self._urgent += urgent
            try:
                got = self._changed.wait_for(
                    lambda: not self._taken and (urgent or not self._urgent), patience
                )
                self._taken |= got
            finally:
                self._urgent -= urgent
            return got

    def writing(self, timeout: float | None = None) -> AbstractContextManager[SqliteTransaction]:
        """Open a transaction that writes, durable at its end; wants the :meth:`turn`."""
        return self._database.transaction(timeout)

    def close(self) -> None:
        """Give the directory back."""
        self._database.close()
        self._lock_file.close()


def _claimed(directory: Path) -> TextIO:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What SQLite makes gets these permissions, the files beside the first one too.
        os.close(os.open(directory / _FILE, os.O_RDWR | os.O_CREAT, 0o600))
        lock = os.fdopen(os.open(directory / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "w")
    except OSError as error:
        raise StoreError(f"{directory} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(
            f"{directory} is in use by another plugin server: give each one of its own"
        ) from error
    return lock


def _identity(transaction: SqliteTransaction) -> str:
    execute = transaction.connection.execute
    execute("CREATE TABLE IF NOT EXISTS local_store (id TEXT PRIMARY KEY) STRICT")
    for (identity,) in execute("SELECT id FROM local_store"):
        return str(identity)
    identity = str(uuid.uuid4())
    execute("INSERT INTO local_store (id) VALUES (?)", [identity])
    return identity
