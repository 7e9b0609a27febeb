"""The local store: the SCIM tables in a SQLite file, for a Kong that has no database."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from kong_scim import cpu, processes
from kong_scim.bridge import Sql
from kong_scim.dbless.turn import TurnFile
from kong_scim.directory.sqlite import SqliteDatabase, SqliteTransaction

_FILE = "scim.sqlite"
_BUSY = "somebody else has been writing all the time"

log = logging.getLogger(__name__)


class StoreError(Exception):
    """The directory of the store cannot be used; the message says why."""


class BusyError(Exception):
    """Another writer had the turn for longer than this one waits."""


class LocalStore:
    """A SQLite file with one writer at a time, and readers that do not wait for it.

    :param directory: The directory of the file. It is created if it is missing, readable only by
        its owner, because it holds personal data.
    :raises StoreError: When the directory cannot be written, or another plugin server uses it.
    """

    def __init__(self, directory: Path) -> None:
        self._lock_file = _lock_directory(directory)
        self._path = directory / _FILE
        try:
            self._database = SqliteDatabase(self._path, durable=True)
        except Exception as error:
            log.exception("%s cannot be used", self._path)
            raise StoreError(
                f"{self._path} cannot be used: the plugin server's log says why"
            ) from error
        self._turn_file = TurnFile(directory)
        self._readers = threading.local()
        self.changed = threading.Condition()
        """Notified when a turn ends."""
        self._taken, self._urgent = False, 0  # whether the turn is taken; urgent threads that wait
        with self._database.transaction() as transaction:
            self.id = _identity(transaction)
        """The id of this file's content: a new file has a new id."""

    def query(
        self, statements: Sequence[Sql], timeout: float | None = None
    ) -> list[list[dict[str, Any]]]:
        """Return the rows of each statement from one snapshot, without waiting for a writer.

        :param timeout: How many seconds each statement may take; None for no limit.
        :raises ~kong_scim.bridge.BridgeError: As :meth:`.SqliteTransaction.run`.
        """
        with cpu.waiting():
            return self._reader().query(statements, timeout)

    def reading(self) -> AbstractContextManager[SqliteTransaction]:
        """Open a transaction that only reads."""
        return self._reader().reading()

    def _reader(self) -> SqliteDatabase:
        """Return the reading connection of this thread, which does not wait for a writer."""
        if not hasattr(self._readers, "database"):
            self._readers.database = SqliteDatabase(self._path)
        reader: SqliteDatabase = self._readers.database
        return reader

    @contextmanager
    def turn(self, patience: float, unless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Exclude other writers for as long as the block runs, across several transactions.

        Other threads of this process are excluded first, and then the other processes.

        :param patience: How many seconds to wait for the turn.
        :param unless: Whether the turn is not needed any more; it is asked at each notification of
            :attr:`changed`. Then the block runs without the turn, and gets False.
        :raises BusyError: When other writers take longer than that.
        """
        urgent = cpu.is_urgent()
        with cpu.waiting(gives_way=False):
            deadline = time.monotonic() + patience
            taken = self._take_turn(patience, unless, urgent=urgent)
            try:
                if taken and not self._turn_file.take(deadline):
                    raise BusyError(_BUSY)
                try:
                    yield taken
                finally:
                    if taken:
                        self._turn_file.give()
            finally:
                if taken:
                    with self.changed:
                        self._taken = False
                        self.changed.notify_all()

    def _take_turn(self, patience: float, unless: Callable[[], bool], *, urgent: bool) -> bool:
        """Wait for the turn, which urgent threads get first; return whether this thread has it."""
        with self.changed:
            self._urgent += urgent
            try:
                if not self.changed.wait_for(
                    lambda: unless() or (not self._taken and (urgent or not self._urgent)),
                    patience,
                ):
                    raise BusyError(_BUSY)
                if unless():
                    return False
                self._taken = True
            finally:
                self._urgent -= urgent
            return True

    def writing(
        self, timeout: float | None = None, *, durable: bool = True
    ) -> AbstractContextManager[SqliteTransaction]:
        """Open a transaction that writes; call it in a :meth:`turn`.

        :param durable: Whether the transaction waits until it survives a crash of the machine. One
            that does not wait survives it together with the next one that does.
        """
        return self._database.transaction(timeout, durable=durable)

    def close(self) -> None:
        """Close the file, and release the directory to other plugin servers."""
        self._database.close()
        self._turn_file.close()
        self._lock_file.close()


def _lock_directory(directory: Path) -> TextIO:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files (WAL) the permissions of this one.
        os.close(os.open(directory / _FILE, os.O_RDWR | os.O_CREAT, 0o600))
        shared = processes.shared_lock(directory)
        lock = os.fdopen(processes.open_lock(directory) if shared is None else os.dup(shared), "w")
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
