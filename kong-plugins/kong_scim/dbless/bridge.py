"""Runs commits on a DB-less Kong: SCIM's tables are in SQLite, Kong's entities in Kong's memory.

Writers that wait at the same time are a group (:mod:`kong_scim.dbless.group_commit`). Its commit
has these parts, in this order:

1. The statements of each writer run in SQLite, not yet committed.
2. Kong checks whether it can apply the steps on entities, and counts the entities.
3. The statements that use these counts run (the events).
4. SQLite commits, with an entry in the pending log that has all steps on entities.
5. Kong applies these steps.
6. The entry is removed.

A refusal of a writer leaves nothing of it on either side. A crash after SQLite's commit leaves the
entry, and the next tick applies it to Kong.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from kong_scim import cpu, processes
from kong_scim.bridge import (
    Bridge,
    BridgeError,
    EpochChangedError,
    NotAppliedYetError,
    Rows,
    Sql,
    Step,
    StepResult,
    TransactionConflictError,
)
from kong_scim.dbless import pending_log, ready_rows
from kong_scim.dbless.group_commit import CommitQueue, GroupCommit, Writer
from kong_scim.dbless.local_store import BusyError, LocalStore
from kong_scim.dbless.pending_log import PendingLog
from kong_scim.directory.database import Scope
from kong_scim.worker_slots import KONG

PATIENCE = 5.0
"""Seconds that a write waits for other writers, and after a start until Kong has its consumers."""

_NOT_READY = (
    "the gateway was started or configured anew, and is being given its consumers again; "
    "nothing was written"
)


class KongMemory:
    """The local store, and how often each tenant was found or made complete in Kong's memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.store = LocalStore(directory)
        with self.store.writing() as transaction:
            pending_log.create(transaction)
            ready_rows.create(transaction)
        self._applied: dict[Scope, int] = {}
        self._queues: dict[tuple[Scope, str], CommitQueue] = {}
        self._changed = threading.Condition()

    def epoch(self, number: int) -> str:
        """Return the epoch of a Kong to which all changes of this store up to a number were
        applied.

        A store that was restored from a copy has a lower number, and so another epoch.
        """
        return f"{self.store.id} {number}"

    def queue(self, scope: Scope, origin: str) -> CommitQueue:
        """Return the writers of a tenant that wait for the right to write.

        :param origin: That of their ready-made rows, which is the same for a group.
        """
        return self._queues.setdefault((scope, origin), CommitQueue(self.store))

    def applications(self, scope: Scope) -> int:
        """Return how often Kong's memory was found or made complete for a tenant."""
        return self._applied.get(scope, 0)

    def applied(self, scope: Scope) -> None:
        """Note that Kong's memory is complete for a tenant, and wake those who wait for it.

        The tick that calls this runs in one process, and those who wait for it in all.
        """
        self.note_application(scope)
        processes.ask_others("applied", [str(self._directory), scope.workspace, scope.tenant])

    def note_application(self, scope: Scope) -> None:
        """Note the same in this process alone."""
        with self._changed:
            self._applied[scope] = self._applied.get(scope, 0) + 1
            self._changed.notify_all()

    def await_application(self, scope: Scope, seen: int, seconds: float) -> bool:
        """Wait until there are more applications than were seen; return False after a time-out."""
        with cpu.waiting(), self._changed:
            return self._changed.wait_for(lambda: self._applied.get(scope, 0) > seen, seconds)


def epoch_key(tenant: str) -> str:
    """Return the key of a tenant's epoch in Kong's memory."""
    return f"scim-bridge:{tenant}"


_memories: dict[Path, KongMemory] = {}
_opening = threading.Lock()


def memory(directory: Path) -> KongMemory:
    """Return the memory of a directory, which all instances of the plugin in this process share.

    :raises ~kong_scim.dbless.local_store.StoreError: When the directory cannot be used.
    """
    with _opening:
        if directory not in _memories:
            _memories[directory] = KongMemory(directory)
        return _memories[directory]


def _applied_by_other(argument: list[str]) -> None:
    directory, workspace, tenant = argument
    found = _memories.get(Path(directory))
    if found is not None:
        found.note_application(Scope(workspace, tenant))


processes.offer("applied", _applied_by_other)


class DblessBridge:
    """Has ``query`` and ``commit`` of :class:`~kong_scim.bridge.Bridge`, for a DB-less Kong.

    :param origin: The :func:`.ready_rows.origin` of the rows that its commits make.
    """

    def __init__(self, bridge: Bridge, memory: KongMemory, scope: Scope, origin: str) -> None:
        self._bridge = bridge
        self._memory = memory
        self._scope = scope
        self._origin = origin
        self._read_at: int | None = None  # applications when consumers were read

    def query(
        self,
        statements: Sequence[Sql] = (),
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        """Return rows of the local store, and consumers of Kong.

        :raises BridgeError: As :meth:`Bridge.query`; :class:`EpochChangedError` as :meth:`commit`.
        """
        sql = self._memory.store.query(statements, self._bridge.timeout) if statements else []
        if not (consumer_ids or usernames or custom_ids):
            return Rows(sql, [])
        # All that the store had so far must be applied to Kong before its consumers are read.
        seen = self._memory.applications(self._scope)
        self._read_at = seen
        try:
            self._await_writes()
        except BridgeError as error:
            self._wait(error, seen)
            self._read_at = self._memory.applications(self._scope)
        found = self._bridge.query(
            consumer_ids=consumer_ids, usernames=usernames, custom_ids=custom_ids
        )
        return Rows(sql, found.consumers)

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        """Apply every step or none, in the order of the module's docstring.

        An entity that is neither a consumer nor an ACL group is a credential, which the store keeps
        so that it can be applied to Kong again.

        :raises BridgeError: As :meth:`Bridge.commit`. ``CONFLICT`` if Kong's memory was behind the
            store and now is not: the steps must be worked out again, because they followed from
            consumers that were not complete. :class:`EpochChangedError` if it stays behind for too
            long. ``PENDING`` if the change is stored and not applied in time: the tick applies it.
        """
        memory, seen = self._memory, self._memory.applications(self._scope)
        writer = Writer(steps, self._bridge.timeout, urgent=cpu.is_urgent(), read_at=self._read_at)
        try:
            memory.queue(self._scope, self._origin).commit(writer, self._lead, PATIENCE)
        except BusyError:
            writer.error = EpochChangedError(_NOT_READY)
        except BridgeError as error:
            writer.error = error
        if isinstance(writer.error, TransactionConflictError):
            raise writer.error
        if isinstance(writer.error, BridgeError):
            self._wait(writer.error, seen)
            raise TransactionConflictError("Kong was given its consumers in the meantime")
        if writer.error is not None:
            raise writer.error
        # What is stored and not applied is pending: the tick applies it to Kong.
        if not writer.applied and not memory.await_application(
            self._scope, writer.applications, PATIENCE
        ):
            raise NotAppliedYetError("it is stored, and not applied to Kong yet")
        return list(writer.results or ())

    def _wait(self, error: BridgeError, seen: int) -> None:
        """Wait for the next application after a changed epoch; raise any other error.

        Does not wait, but raises, if many wait already.
        """
        if not isinstance(error, EpochChangedError):
            raise error
        with KONG.place() as may_wait:
            if may_wait and self._memory.await_application(self._scope, seen, PATIENCE):
                return
        raise EpochChangedError(_NOT_READY)

    def _await_writes(self) -> None:
        """Wait until the change that is pending now is applied to Kong; later ones may follow."""
        number = self._pending_number()
        if number is None:
            return
        try:
            with self._memory.store.turn(
                PATIENCE, unless=lambda: self._pending_number() != number
            ) as is_still_pending:
                if is_still_pending:  # though nobody is writing
                    raise EpochChangedError(_NOT_READY)
        except BusyError:
            raise EpochChangedError(_NOT_READY) from None

    def _lead(self, group: list[Writer]) -> None:
        """Commit a group of writers, in this one's turn."""
        if self._pending_number() is not None:
            raise EpochChangedError(_NOT_READY)
        memory, scope = self._memory, self._scope
        applications = memory.applications(scope)
        for writer in group:
            writer.applications = applications
            if writer.read_at not in (None, applications):
                # Kong was being given its consumers when they were read for this writer's plan.
                writer.error = TransactionConflictError("Kong was given its consumers meanwhile")
        group = [writer for writer in group if not writer.is_done]
        key = epoch_key(scope.tenant)
        commit = GroupCommit(
            memory.store, scope, self._bridge, origin=self._origin, key=key, epoch=memory.epoch
        )
        commit.run(group)

    def _pending_number(self) -> int | None:
        with self._memory.store.reading() as transaction:
            return PendingLog(transaction, self._scope).pending_number()
