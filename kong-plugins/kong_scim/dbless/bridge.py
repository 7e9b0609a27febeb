"""Runs commits on a DB-less Kong: SCIM's tables are in SQLite, Kong's entities in Kong's memory.

The order of a commit: the statements in SQLite, not yet committed; Kong says whether it would take
the entities, and how many those are; the statement that tells it (an event); SQLite commits, with
an entry in the pending log for what Kong has yet to apply; Kong's rows; the entry is removed. A
refusal leaves nothing on either side. A crash after SQLite's commit leaves the entry, and the next
tick tells Kong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kong_scim import cpu
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
)
from kong_scim.dbless import pending_log
from kong_scim.dbless.local_store import BusyError, LocalStore
from kong_scim.dbless.pending_log import PendingLog
from kong_scim.directory.database import Scope
from kong_scim.directory.sqlite import SqliteTransaction
from kong_scim.worker_slots import KONG

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a write waits for others, and for Kong to be given its rows after a start."""

_NOT_READY = (
    "the gateway was started or configured anew, and is being given its consumers again; "
    "nothing was written"
)


class KongMemory:
    """The local store, together with how far Kong's memory agrees with it."""

    def __init__(self, directory: Path) -> None:
        self.store = LocalStore(directory)
        with self.store.writing() as transaction:
            pending_log.create(transaction)
        self._applied: dict[Scope, int] = {}
        self._changed = threading.Condition()

    def epoch(self, number: int) -> str:
        """Return the epoch of a Kong to which all changes of this store up to a number were
        applied.

        A store that was restored from a copy has a lower number, and is noticed by that.
        """
        return f"{self.store.id} {number}"

    def applications(self, scope: Scope) -> int:
        """Return how often all of a tenant was found to be, or was put, in Kong's memory."""
        return self._applied.get(scope, 0)

    def applied(self, scope: Scope) -> None:
        """Say that all of a tenant is in Kong's memory."""
        with self._changed:
            self._applied[scope] = self._applied.get(scope, 0) + 1
            self._changed.notify_all()

    def await_application(self, scope: Scope, seen: int, seconds: float) -> bool:
        """Wait until it was said once more than was seen, or return False."""
        with cpu.waiting(), self._changed:
            return self._changed.wait_for(lambda: self._applied.get(scope, 0) > seen, seconds)


def epoch_key(tenant: str) -> str:
    """Return the key of a tenant's epoch in Kong's memory."""
    return f"scim-bridge:{tenant}"


_memories: dict[Path, KongMemory] = {}
_opening = threading.Lock()


def memory(directory: Path) -> KongMemory:
    """Return the one of this process: instances of the plugin come and go, and share it.

    :raises ~kong_scim.dbless.local_store.StoreError: When the directory cannot be used.
    """
    with _opening:
        if directory not in _memories:
            _memories[directory] = KongMemory(directory)
        return _memories[directory]


class _NotAppliedError(Exception):
    """The change is in the store, and Kong did not apply it, though it had accepted the check.

    It loaded a configuration in between, most likely.

    :param seen: How often all was applied when that happened, in this writer's turn.
    """

    def __init__(self, results: list[StepResult], seen: int) -> None:
        super().__init__("the change is not applied to Kong yet")
        self.results = results
        self.seen = seen


class DblessBridge:
    """``query`` and ``commit`` as :class:`~kong_scim.bridge.Bridge` has them."""

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
        """Return rows of the local store, and the consumers that follow from these rows.

        :raises BridgeError: As :meth:`Bridge.query`; :class:`EpochChangedError` as :meth:`commit`.
        """
        sql = self._memory.store.query(statements, self._bridge.timeout) if statements else []
        if not (consumer_ids or usernames or custom_ids):
            return Rows(sql, [])
        # What was read from the store so far must be applied to Kong first.
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
        """Apply every step or none, as the module says. What is no consumer and no ACL group is a
        credential, and kept to be given to Kong again.

        :raises BridgeError: As :meth:`Bridge.commit`. ``CONFLICT`` where Kong's memory did not
            agree with the store and now does: what to do must be worked out again, because it
            followed from a Kong that had less. :class:`EpochChangedError` where it does not get to
            agree in time. ``PENDING`` where it is stored and not applied in time: the tick applies
            it.
        """
        seen = self._memory.applications(self._scope)
        try:
            return self._in_turn(lambda: self._commit(steps))
        except _NotAppliedError as failure:
            # It is a change already, and pending: the tick tells Kong of it.
            if self._memory.await_application(self._scope, failure.seen, PATIENCE):
                return failure.results
            raise NotAppliedYetError("it is stored, and not applied to Kong yet") from failure
        except BridgeError as error:
            self._wait(error, seen)
        raise TransactionConflictError("Kong was given its consumers in the meantime")

    def _wait(self, error: BridgeError, seen: int) -> None:
        """Wait until everything since then is applied to Kong; raise any other error.

        At once, too, where many wait for that already.
        """
        if not isinstance(error, EpochChangedError):
            raise error
        with KONG.place() as may_wait:
            if may_wait and self._memory.await_application(self._scope, seen, PATIENCE):
                return
        raise EpochChangedError(_NOT_READY)

    def _in_turn(self, do: Callable[[], T]) -> T:
        try:
            with self._memory.store.turn(PATIENCE):
                with self._memory.store.reading() as transaction:
                    if PendingLog(transaction, self._scope).pending():
                        raise EpochChangedError(_NOT_READY)
                return do()
        except BusyError:
            raise EpochChangedError(_NOT_READY) from None

    def _commit(self, steps: Sequence[Step]) -> list[StepResult]:
        store, memory = self._memory.store, self._memory
        places = [
            place for place, step in enumerate(steps) if not isinstance(step, Sql | RollbackDryRun)
        ]
        undone = any(isinstance(step, RollbackDryRun) for step in steps)
        entities = [steps[place] for place in places]
        results: dict[int, StepResult] = {}
        number = None
        with store.writing(self._bridge.timeout) as transaction:
            log = PendingLog(transaction, self._scope)
            # The statements behind the entities get the counts of what was written.
            first = places[0] if places else len(steps)
            _run(transaction, steps, range(first), results)
            if entities:
                try:
                    epoch = memory.epoch(log.last_applied())
                    key = epoch_key(self._scope.tenant)
                    answers = self._bridge.commit(entities, epoch=Epoch(key, epoch), check=True)
                except BridgeError as error:
                    error.step = None if error.step is None else places[error.step]
                    raise
                results.update(zip(places, answers, strict=True))
                for step, answer in zip(entities, answers, strict=True):
                    transaction.entities.add(step.op, answer.entities)
                written = [
                    _named(step, answer)
                    for step, answer in zip(entities, answers, strict=True)
                    if not isinstance(step, Claim)  # was looked at, and writes nothing
                ]
                if written and not undone:
                    entities = written
                    number = log.add(entities)
            _run(transaction, steps, range(first, len(steps)), results)
        done = [results[place] for place in range(len(steps))]
        if number is not None:
            try:
                self._bridge.commit(entities, epoch=Epoch(key, epoch, becomes=memory.epoch(number)))
            except BridgeError as error:
                raise _NotAppliedError(done, memory.applications(self._scope)) from error
            with store.writing() as transaction:
                PendingLog(transaction, self._scope).remove(number)
        return done


def _named(step: Step, answer: StepResult) -> Step:
    """Return a :class:`.LastEventTag` with the ids of the consumers that it tags."""
    if isinstance(step, LastEventTag):
        return replace(step, consumers=tuple(row["id"] for row in answer.data))
    return step


def _run(
    transaction: SqliteTransaction,
    steps: Sequence[Step],
    places: range,
    results: dict[int, StepResult],
) -> None:
    """Run the statements among some steps."""
    for place in places:
        step = steps[place]
        if isinstance(step, RollbackDryRun):
            results[place] = transaction.undo()
        if isinstance(step, Sql):
            try:
                results[place] = transaction.run(step)
            except BridgeError as error:
                error.step = place
                raise
