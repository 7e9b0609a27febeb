"""Applies all users of a tenant to a DB-less Kong again, after it loaded its configuration."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from kong_scim.bridge import Bridge, BridgeError, Delete, Epoch, Revoke, Step
from kong_scim.dbless.bridge import PATIENCE, KongMemory, epoch_key
from kong_scim.dbless.pending_log import Pending, PendingLog
from kong_scim.dbless.ready_rows import ReadyRows
from kong_scim.directory.database import Scope
from kong_scim.directory.every_user import EveryUser
from kong_scim.directory.ports import UserState
from kong_scim.directory.queries import chunks
from kong_scim.directory.sqlite import SqliteTransaction
from kong_scim.sync.consumers import KongConsumerSync

log = logging.getLogger(__name__)

READY_BATCH = 500
"""How many users are written from ready-made rows in one step, about 500 KB."""

BATCH = 250
"""How many users are planned and written in one step: about 200 KB, which Kong's mp_rpc.lua reads
quickly, and a few tens of milliseconds of a worker, which yields in between."""


@dataclass(frozen=True)
class Tenant:
    """The parts of a tenant from which its entities in Kong follow.

    :param origin: The :func:`.ready_rows.origin` of the rows that are made now.
    """

    scope: Scope
    users: EveryUser
    consumer_sync: KongConsumerSync
    origin: str


def keep_applied(bridge: Bridge, memory: KongMemory, tenant: Tenant, epoch: str | None) -> None:
    """Apply to Kong's memory what it lacks of the store; do nothing if it is complete.

    :param epoch: The tenant's epoch in Kong's memory, or None if it has none.
    :raises BridgeError: When Kong does not answer; the next tick tries again.
    """
    store, scope, key = memory.store, tenant.scope, epoch_key(tenant.scope.tenant)
    with store.turn(PATIENCE):
        with store.reading() as transaction:
            pending_log = PendingLog(transaction, scope)
            pending, number = pending_log.pending(), pending_log.last_applied()
        last_applied = memory.epoch(number)
        if epoch != last_applied:
            epoch = bridge.wake(epoch=key).epoch  # a write may have changed it in between
        if pending is not None and epoch == memory.epoch(pending.after):
            epoch = _apply_pending(bridge, pending, Epoch(key, epoch, becomes=last_applied))
        if epoch != last_applied:
            _Application(bridge, memory, tenant, number).run(epoch)
        if pending is not None:
            with store.writing() as transaction:
                PendingLog(transaction, scope).remove(pending.number)
        if epoch != last_applied or pending is not None or not memory.applications(scope):
            memory.applied(scope)


def is_applied(bridge: Bridge, memory: KongMemory, scope: Scope) -> bool:
    """Tell whether Kong's memory has what is stored, but for a change that is being written now."""
    with memory.store.reading() as transaction:
        pending_log = PendingLog(transaction, scope)
        pending, number = pending_log.pending(), pending_log.last_applied()
    known = {memory.epoch(number)} | ({memory.epoch(pending.after)} if pending else set())
    return bridge.wake(epoch=epoch_key(scope.tenant)).epoch in known


def _apply_pending(bridge: Bridge, pending: Pending, epoch: Epoch) -> str | None:
    """Apply the pending change to Kong, and return Kong's epoch afterwards."""
    try:
        bridge.commit(pending.steps, epoch=epoch)
    except BridgeError as error:
        if error.step is None:
            raise
        log.warning("a pending change cannot be applied to Kong any more: %s", error)
        return epoch.expected
    log.info("a pending change was applied to Kong")
    return epoch.becomes


class _Application:
    """One application of all users of a tenant to Kong, in the tick's turn to write.

    An empty memory gets the ready-made rows, and only users without rows are planned. A memory
    with an old state of the tenant gets the steps from that state to what is wanted.

    :param number: The number of the last change in the store.
    """

    def __init__(self, bridge: Bridge, memory: KongMemory, tenant: Tenant, number: int) -> None:
        self._bridge, self._memory, self._tenant = bridge, memory, tenant
        self._number = number
        self._key = epoch_key(tenant.scope.tenant)
        # If a configuration is loaded meanwhile, this epoch is deleted and the other commits fail.
        self._epoch = Epoch(self._key, f"applying {uuid.uuid4()}")
        self._total = tenant.users.count()
        self._done = self._refused = 0

    def run(self, epoch: str | None) -> None:
        """Apply all users.

        :param epoch: The tenant's epoch in Kong's memory.
        """
        bridge, scope = self._bridge, self._tenant.scope
        bridge.commit([], epoch=Epoch(self._key, epoch, becomes=self._epoch.expected))
        log.info(
            "tenant %s: Kong's memory is new, applying %d users to it", scope.tenant, self._total
        )
        self._write_subjects()
        held = bridge.tagged(f"scim:{scope.tenant}")
        known = self._change() if held or epoch is not None else self._fill()
        unknown: list[tuple[Step, ...]] = [
            (Delete("consumers", each),) for each in sorted(held - known)
        ]
        _commit(bridge, unknown, self._epoch)
        becomes = self._memory.epoch(self._number)
        bridge.commit([], epoch=Epoch(self._key, self._epoch.expected, becomes=becomes))
        log.info(
            "tenant %s: Kong has all %d users; %d could not be applied, see above",
            *(scope.tenant, self._total, self._refused),
        )

    def _write_subjects(self) -> None:
        """Write all subjects, before any user, so that no refused token is accepted meanwhile."""
        last = ""
        while True:
            with self._memory.store.reading() as transaction:
                page = PendingLog(transaction, self._tenant.scope).subjects(last, READY_BATCH)
            if not page:
                return
            last = page[-1].entity["id"]
            _commit(self._bridge, [(each,) for each in page], self._epoch)

    def _fill(self) -> set[str]:
        """Write all users into an empty memory."""
        with self._memory.store.writing() as transaction:
            rows = self._rows(transaction)
            complete = rows.are_complete(self._number)
            if not complete:
                rows.clear()
            ready = rows.users()
        taken = [each for users in chunks(ready, READY_BATCH) for each in self._write(users)]
        with self._memory.store.writing() as transaction:
            rows = self._rows(transaction)
            rows.remove(taken)
            others = rows.others(self._tenant.users.kind.name)
        for ids in chunks(others, BATCH):
            self._plan(self._tenant.users.some(ids), is_empty=True)
            self._say(len(ids))
        with self._memory.store.writing() as transaction:
            self._rows(transaction).complete(self._number)
        return set()

    def _write(self, users: Sequence[str]) -> list[str]:
        """Write ready-made rows; return the consumers that have an id or a name of somebody
        else."""
        with self._memory.store.reading() as transaction:
            pending_log = PendingLog(transaction, self._tenant.scope)
            now = time.time()
            found = self._rows(transaction).of(
                users, lambda consumers: pending_log.credentials(consumers, now)
            )
        refused = self._bridge.write_rows([each.text for each in found], self._epoch)
        self._say(len(found) - len(refused))
        return [found[index].consumer for index in refused]

    def _change(self) -> set[str]:
        """Change what a memory has of the users; return the ids of their consumers."""
        known: set[str] = set()
        for users in self._tenant.users.batches(BATCH):
            known |= self._plan(users, is_empty=False)
            self._say(len(users))
        if self._refused:  # the rows do not say what Kong still has of these users
            with self._memory.store.writing() as transaction:
                self._rows(transaction).distrust()
        return known

    def _plan(self, users: Sequence[UserState], *, is_empty: bool) -> set[str]:
        """Apply users by steps that are planned now; return the ids of their consumers.

        :param is_empty: Whether Kong's memory had nothing of the tenant, so that the steps make
            the users' rows.
        """
        found = self._tenant.consumer_sync.reapply(users)
        for each in found:
            if each.refused is not None:
                log.error("user %s is not applied to Kong: %s", each.user, each.refused.detail)
                self._refused += 1
        consumers = [each.consumer for each in found if each.consumer]
        with self._memory.store.reading() as transaction:
            pending_log = PendingLog(transaction, self._tenant.scope)
            kept: list[Step] = [*pending_log.credentials(consumers, time.time())]
            kept += pending_log.last_events(consumers)
        plans: list[tuple[Step, ...]] = [each.steps for each in found if each.steps]
        if not is_empty:  # credentials that are not in the store are revoked
            plans += [(Revoke(consumer),) for consumer in consumers]
        plans += [(each,) for each in kept]
        self._refused += _commit(self._bridge, plans, self._epoch)
        if is_empty:
            with self._memory.store.writing(durable=False) as transaction:
                self._rows(transaction).write([step for plan in plans for step in plan])
        return set(consumers)

    def _rows(self, transaction: SqliteTransaction) -> ReadyRows:
        return ReadyRows(transaction, self._tenant.scope, self._tenant.origin)

    def _say(self, done: int) -> None:
        self._done += done
        scope = self._tenant.scope
        log.info("tenant %s: %d of %d users applied to Kong", scope.tenant, self._done, self._total)


def _commit(bridge: Bridge, plans: list[tuple[Step, ...]], epoch: Epoch) -> int:
    """Apply plans in one commit, without those that Kong refuses, which are logged.

    Returns how many Kong refused.
    """
    refused = 0
    while plans:
        owners = [number for number, plan in enumerate(plans) for _ in plan]
        try:
            bridge.commit([step for plan in plans for step in plan], epoch=epoch)
        except BridgeError as error:
            if error.step is None:
                raise
            log.error("not applied to Kong: %s", error)  # noqa: TRY400 - no defect
            del plans[owners[error.step]]
            refused += 1
        else:
            break
    return refused
