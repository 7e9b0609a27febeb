"""Runs commits on a DB-less Kong: SCIM's tables are in SQLite, Kong's entities in Kong's memory.

A commit has these parts, in this order:

1. The statements run in SQLite, not yet committed.
2. Kong checks whether it can apply the steps on entities, and counts the entities.
3. The statements that use these counts run (the event).
4. SQLite commits, with an entry in the pending log that has the steps on entities.
5. Kong applies these steps.
6. The entry is removed.

A refusal leaves nothing on either side. A crash after SQLite's commit leaves the entry, and the
next tick applies it to Kong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kong_scim import cpu, processes
from kong_scim.bridge import (
    Bridge,
    BridgeError,
    Claim,
    Epoch,
    EpochChangedError,
    LastEventTag,
    NotAppliedYetError,
    RollbackDryRun,
    Rows,
    Sql,
    Step,
    StepResult,
    TransactionConflictError,
    Vacant,
)
from kong_scim.dbless import pending_log
from kong_scim.dbless.local_store import BusyError, LocalStore
from kong_scim.dbless.pending_log import PendingLog
from kong_scim.directory.database import Scope
from kong_scim.directory.sqlite import SqliteTransaction
from kong_scim.worker_slots import KONG

T = TypeVar("T")

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
        self._applied: dict[Scope, int] = {}
        self._changed = threading.Condition()

    def epoch(self, number: int) -> str:
        """Return the epoch of a Kong to which all changes of this store up to a number were
        applied.

        A store that was restored from a copy has a lower number, and so another epoch.
        """
        return f"{self.store.id} {number}"

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


class _ApplyFailedError(Exception):
    """The change is stored, but Kong did not apply it, though it had accepted the check.

    Kong most likely loaded a configuration in between.

    :param seen: The number of applications when that happened, in this writer's turn.
    """

    def __init__(self, results: list[StepResult], seen: int) -> None:
        super().__init__("the change is not applied to Kong yet")
        self.results = results
        self.seen = seen


class DblessBridge:
    """Has ``query`` and ``commit`` of :class:`~kong_scim.bridge.Bridge`, for a DB-less Kong."""

    def __init__(self, bridge: Bridge, memory: KongMemory, scope: Scope) -> None:
        self._bridge = bridge
        self._memory = memory
        self._scope = scope

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
        try:
            self._in_turn(lambda: None)
        except BridgeError as error:
            self._wait(error, seen)
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
        seen = self._memory.applications(self._scope)
        try:
            return self._in_turn(lambda: self._commit(steps))
        except _ApplyFailedError as failure:
            # The change is stored and pending: the tick applies it to Kong.
            if self._memory.await_application(self._scope, failure.seen, PATIENCE):
                return failure.results
            raise NotAppliedYetError("it is stored, and not applied to Kong yet") from failure
        except BridgeError as error:
            self._wait(error, seen)
        raise TransactionConflictError("Kong was given its consumers in the meantime")

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

    def _in_turn(self, action: Callable[[], T]) -> T:
        try:
            with self._memory.store.turn(PATIENCE):
                with self._memory.store.reading() as transaction:
                    if PendingLog(transaction, self._scope).pending():
                        raise EpochChangedError(_NOT_READY)
                return action()
        except BusyError:
            raise EpochChangedError(_NOT_READY) from None

    def _commit(self, steps: Sequence[Step]) -> list[StepResult]:
        store, memory = self._memory.store, self._memory
        indices = [
            index for index, step in enumerate(steps) if not isinstance(step, Sql | RollbackDryRun)
        ]
        undone = any(isinstance(step, RollbackDryRun) for step in steps)
        entities = [steps[index] for index in indices]
        results: dict[int, StepResult] = {}
        number = None
        with store.writing(self._bridge.timeout) as transaction:
            log = PendingLog(transaction, self._scope)
            # The statements after the steps on entities get the counts of what was written.
            first = indices[0] if indices else len(steps)
            _run(transaction, steps, range(first), results)
            if entities:
                try:
                    epoch = memory.epoch(log.last_applied())
                    key = epoch_key(self._scope.tenant)
                    answers = self._bridge.commit(entities, epoch=Epoch(key, epoch), check=True)
                except BridgeError as error:
                    error.step = None if error.step is None else indices[error.step]
                    raise
                results.update(zip(indices, answers, strict=True))
                for step, answer in zip(entities, answers, strict=True):
                    transaction.entities.add(step.op, answer.entities)
                written = [
                    _with_consumers(step, answer)
                    for step, answer in zip(entities, answers, strict=True)
                    if not isinstance(step, Claim | Vacant)  # they were checked, and write nothing
                ]
                if written and not undone:
                    entities = written
                    number = log.add(entities)
            _run(transaction, steps, range(first, len(steps)), results)
        ordered = [results[index] for index in range(len(steps))]
        if number is not None:
            try:
                self._bridge.commit(entities, epoch=Epoch(key, epoch, becomes=memory.epoch(number)))
            except BridgeError as error:
                raise _ApplyFailedError(ordered, memory.applications(self._scope)) from error
            with store.writing() as transaction:
                PendingLog(transaction, self._scope).remove(number)
        return ordered


def _with_consumers(step: Step, answer: StepResult) -> Step:
    """Return a :class:`.LastEventTag` with the ids of the consumers that it tags."""
    if isinstance(step, LastEventTag):
        return replace(step, consumers=tuple(row["id"] for row in answer.data))
    return step


def _run(
    transaction: SqliteTransaction,
    steps: Sequence[Step],
    indices: range,
    results: dict[int, StepResult],
) -> None:
    """Run those of the steps in a range that are for the store."""
    for index in indices:
        step = steps[index]
        if isinstance(step, RollbackDryRun):
            results[index] = transaction.undo()
        if isinstance(step, Sql):
            try:
                results[index] = transaction.run(step)
            except BridgeError as error:
                error.step = index
                raise
