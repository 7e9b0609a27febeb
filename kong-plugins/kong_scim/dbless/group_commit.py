"""Group commit: writers that wait at the same time share one transaction and one sync to disk.

The writer that gets the right to write leads: it takes the others that wait, and runs the steps of
all. A writer that is refused does not fail the others. What is stored is what the writers would
have stored one after another.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from kong_scim.bridge import (
    Bridge,
    BridgeError,
    Claim,
    Epoch,
    LastEventTag,
    RollbackDryRun,
    Sql,
    Step,
    StepResult,
    Vacant,
)
from kong_scim.dbless.local_store import BusyError, LocalStore
from kong_scim.dbless.pending_log import PendingLog
from kong_scim.dbless.ready_rows import ReadyRows
from kong_scim.directory.database import Scope
from kong_scim.directory.sqlite import SqliteTransaction

log = logging.getLogger(__name__)

MOST_WRITERS = 32
"""Writers of one group at most."""

MOST_STEPS = 2000
"""Steps above which a group takes no further writer, so that a revocation does not wait long."""

LONGEST = 0.05
"""Seconds after which the rest of a group is left for the next one, for the same reason."""


@dataclass(eq=False)
class Writer:
    """The steps of one commit, and what became of them.

    :param timeout: How many seconds each statement may take.
    :param urgent: Whether it revokes access, and goes before writers that do not.
    :param read_at: How often Kong's memory was made complete when the consumers were read from
        which its steps follow; None if they follow from none.
    :param results: The results of its steps once they are stored.
    :param error: Why it was refused.
    :param applied: Whether Kong has its steps as well. If not, the tick applies them.
    :param applications: How often Kong's memory was made complete before its group ran.
    """

    steps: Sequence[Step]
    timeout: float
    urgent: bool = False
    read_at: int | None = None
    results: list[StepResult] | None = None
    error: BaseException | None = None
    applied: bool = False
    applications: int = 0

    @property
    def is_done(self) -> bool:
        """Whether its steps are stored or refused."""
        return self.results is not None or self.error is not None

    @property
    def is_alone(self) -> bool:
        """Whether it cannot share a transaction, because it rolls back its own (a dry run)."""
        return any(isinstance(step, RollbackDryRun) for step in self.steps)


class CommitQueue:
    """The writers of one tenant that wait for the right to write.

    :param store: The store that gives this right to one of them at a time.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._waiting: list[Writer] = []

    def commit(
        self, writer: Writer, lead: Callable[[list[Writer]], None], patience: float
    ) -> Writer:
        """Wait until a leader has run the writer's steps, or lead a group.

        :param lead: Runs the steps of a group. Writers that it leaves undone go on waiting.
        :param patience: How many seconds the writer waits until some leader takes it.
        :raises ~kong_scim.dbless.local_store.BusyError: When none does.
        """
        store = self._store
        with store.changed:
            self._waiting.append(writer)
        while not writer.is_done:
            try:
                with store.turn(patience, unless=lambda: writer.is_done) as is_leader:
                    if is_leader:
                        self._lead(writer, lead)
            except BusyError:
                if not self._leave(writer):
                    raise
        return writer

    def _leave(self, writer: Writer) -> bool:
        """Take a writer out of the queue; return whether it is done.

        A writer that is in a group by now waits for the group's end.
        """
        changed = self._store.changed
        with changed:
            changed.wait_for(lambda: writer.is_done or writer in self._waiting)
            if not writer.is_done:
                self._waiting.remove(writer)
            return writer.is_done

    def _lead(self, writer: Writer, lead: Callable[[list[Writer]], None]) -> None:
        group = self._group(writer)
        try:
            lead(group)
        except BaseException as error:
            writer.error = error
            raise
        finally:
            with self._store.changed:
                self._waiting[:0] = [each for each in group if not each.is_done]
                self._store.changed.notify_all()

    def _group(self, leader: Writer) -> list[Writer]:
        """Take the writers of the leader's group out of the queue, in their order."""
        with self._store.changed:
            members, steps = {leader}, len(leader.steps)
            # A revocation does not wait for the steps of others.
            for each in () if leader.is_alone else self._waiting:
                if each is leader or each.is_alone or (leader.urgent and not each.urgent):
                    continue
                if len(members) >= MOST_WRITERS or steps + len(each.steps) > MOST_STEPS:
                    break
                members.add(each)
                steps += len(each.steps)
            group = [each for each in self._waiting if each in members]
            self._waiting = [each for each in self._waiting if each not in members]
            return group


class _RefusedError(Exception):
    """A writer was refused after others had written, so that the transaction is rolled back."""

    def __init__(self, writer: Writer, error: Exception, *, final: bool) -> None:
        super().__init__(str(error))
        self.writer, self.error, self.final = writer, error, final


@dataclass
class _Run:
    """A writer in an open transaction.

    :ivar entities: The indices of its steps on Kong's entities.
    """

    writer: Writer
    transaction: SqliteTransaction
    results: dict[int, StepResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entities = [
            index
            for index, step in enumerate(self.writer.steps)
            if not isinstance(step, Sql | RollbackDryRun)
        ]

    def sql(self, *, after_entities: bool) -> None:
        """Run the statements before the first step on entities, or those after it."""
        steps = self.writer.steps
        first = self.entities[0] if self.entities else len(steps)
        for index in range(first, len(steps)) if after_entities else range(first):
            step = steps[index]
            try:
                if isinstance(step, RollbackDryRun):
                    self.results[index] = self.transaction.undo()
                elif isinstance(step, Sql):
                    self.results[index] = self.transaction.run(step)
            except BridgeError as error:
                error.step = index
                raise

    def checked(self, answers: Iterator[StepResult]) -> list[Step]:
        """Take Kong's answers for the steps on entities; return those that Kong must write."""
        written: list[Step] = []
        for index in self.entities:
            step, answer = self.writer.steps[index], next(answers)
            self.results[index] = answer
            self.transaction.entities.add(step.op, answer.entities)
            if isinstance(step, LastEventTag):
                consumers = tuple(row["id"] for row in answer.data)
                written.append(replace(step, consumers=consumers))
            elif not isinstance(step, Claim | Vacant):  # it was checked, and writes nothing
                written.append(step)
        return [] if self.writer.is_alone else written


class GroupCommit:
    """Commits groups of writers, in the order of steps that :mod:`kong_scim.dbless.bridge` states.

    It is called by the leader, which has the right to write.

    :param bridge: The leader's, by which Kong gets the steps of all.
    :param origin: The :func:`.ready_rows.origin` of the rows that the commits make.
    :param key: The key of the tenant's epoch.
    :param epoch: Returns the epoch of a Kong that has all changes up to a number.
    """

    def __init__(
        self,
        store: LocalStore,
        scope: Scope,
        bridge: Bridge,
        *,
        origin: str,
        key: str,
        epoch: Callable[[int], str],
    ) -> None:
        self._store, self._scope, self._bridge = store, scope, bridge
        self._origin = origin
        self._key, self._epoch = key, epoch

    def run(self, group: Sequence[Writer]) -> None:
        """Run the steps of a group, and note in each writer what became of them.

        :raises BridgeError: When Kong cannot be asked, and nothing was written of the writers that
            are not done.
        """
        together, alone = list(group), []
        while together:
            refused = self._attempt(together)
            if refused is None:
                break
            # Whether it would be refused without the others is found out without them.
            alone += [] if refused.is_done else [refused]
            together = [each for each in together if each is not refused]
        for each in alone:
            self._attempt([each])

    def _attempt(self, writers: Sequence[Writer]) -> Writer | None:
        """Commit writers together. If one is refused that cannot be rolled back alone, return it;
        then nothing was written."""
        errors: dict[Writer, Exception] = {}
        try:
            with self._store.writing() as transaction:
                pending_log = PendingLog(transaction, self._scope)
                before = self._epoch(pending_log.last_applied())
                draft = str(uuid.uuid4())
                runs = list(self._first_statements(transaction, writers, errors))
                written = self._check(runs, before, draft)
                for run in runs:
                    with _refusal_of(run.writer, final=len(runs) == 1):
                        run.sql(after_entities=True)
                rows = ReadyRows(transaction, self._scope, self._origin)
                number = pending_log.add(written, rows) if written else None
        except _RefusedError as refused:
            if refused.final:
                refused.writer.error = refused.error
            return refused.writer
        for writer, error in errors.items():
            writer.error = error
        applied = False
        try:
            if number is not None:
                epoch = Epoch(self._key, before, becomes=self._epoch(number))
                self._bridge.commit(written, epoch=epoch, draft=draft)
                # If a crash undoes this, the tick sees that Kong has the change.
                with self._store.writing(durable=False) as transaction:
                    PendingLog(transaction, self._scope).remove(number)
            applied = True
        except BridgeError as error:
            log.warning("tenant %s: stored, not applied to Kong yet: %s", self._scope.tenant, error)
        finally:
            for run in runs:
                run.writer.applied = applied
                run.writer.results = [step for _, step in sorted(run.results.items())]
        return None

    def _first_statements(
        self,
        transaction: SqliteTransaction,
        writers: Sequence[Writer],
        errors: dict[Writer, Exception],
    ) -> Iterator[_Run]:
        """Run each writer's statements before its steps on entities, in a savepoint of its own."""
        connection, until = transaction.connection, time.monotonic() + LONGEST
        for number, writer in enumerate(writers):
            if number and time.monotonic() > until:
                return
            run = _Run(writer, SqliteTransaction(connection, writer.timeout))
            if len(writers) == 1:
                with _refusal_of(writer, final=True):
                    run.sql(after_entities=False)
                yield run
                return
            connection.execute("SAVEPOINT writer")
            try:
                run.sql(after_entities=False)
            except Exception as error:
                if not connection.in_transaction:  # SQLite ends it after a timeout, for example
                    raise _RefusedError(writer, error, final=True) from error
                connection.execute("ROLLBACK TO writer")
                errors[writer] = error
            else:
                yield run
            connection.execute("RELEASE writer")

    def _check(self, runs: Sequence[_Run], expected: str, draft: str) -> list[Step]:
        """Have Kong check the steps on entities, and return those that it must write."""
        owners = [(run, index) for run in runs for index in run.entities]
        if not owners:
            return []
        try:
            answers = self._bridge.commit(
                [run.writer.steps[index] for run, index in owners],
                epoch=Epoch(self._key, expected),
                check=True,
                writers=[len(run.entities) for run in runs],
                draft=draft,
            )
        except BridgeError as error:
            if error.step is None:
                raise
            run, error.step = owners[error.step]
            raise _RefusedError(run.writer, error, final=len(runs) == 1) from error
        taken = iter(answers)
        return [step for run in runs for step in run.checked(taken)]


@contextmanager
def _refusal_of(writer: Writer, *, final: bool) -> Iterator[None]:
    """Say of a statement's error whose it is."""
    try:
        yield
    except Exception as error:
        raise _RefusedError(writer, error, final=final) from error
