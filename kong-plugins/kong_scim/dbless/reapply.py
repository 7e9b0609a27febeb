"""Applies all users of a tenant to a DB-less Kong again, after it loaded its configuration."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass

from kong_scim.bridge import Bridge, BridgeError, Delete, Epoch, Revoke, Step
from kong_scim.dbless.bridge import PATIENCE, KongMemory, epoch_key
from kong_scim.dbless.local_store import LocalStore
from kong_scim.dbless.pending_log import Pending, PendingLog
from kong_scim.directory.database import Scope
from kong_scim.directory.every_user import EveryUser
from kong_scim.sync.consumers import KongConsumerSync

log = logging.getLogger(__name__)

BATCH = 250
"""How many users are written in one step: about 200 KB, which Kong's mp_rpc.lua reads quickly, and
a few tens of milliseconds of a worker, which yields in between."""


@dataclass(frozen=True)
class Tenant:
    """The parts of a tenant from which its entities in Kong follow."""

    scope: Scope
    users: EveryUser
    consumer_sync: KongConsumerSync


def keep_applied(bridge: Bridge, memory: KongMemory, tenant: Tenant, epoch: str | None) -> None:
    """Apply to Kong's memory what it lacks of the store; do nothing if it is complete.

    :param epoch: The tenant's epoch in Kong's memory, or None if it has none.
    :raises BridgeError: When Kong does not answer; the next tick tries again.
    """
    store, scope, key = memory.store, tenant.scope, epoch_key(tenant.scope.tenant)
    with store.turn(PATIENCE):
        with store.reading() as transaction:
            pending_log = PendingLog(transaction, scope)
            pending = pending_log.pending()
            last_applied = memory.epoch(pending_log.last_applied())
        if epoch != last_applied:
            epoch = bridge.wake(epoch=key).epoch  # a write may have changed it in between
        if pending is not None and epoch == memory.epoch(pending.after):
            epoch = _apply_pending(bridge, pending, Epoch(key, epoch, becomes=last_applied))
        if epoch != last_applied:
            _apply_all(bridge, tenant, store, epoch, last_applied)
        if pending is not None:
            with store.writing() as transaction:
                PendingLog(transaction, scope).remove(pending.number)
        if epoch != last_applied or pending is not None or not memory.applications(scope):
            memory.applied(scope)


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


def _apply_all(
    bridge: Bridge, tenant: Tenant, store: LocalStore, epoch: str | None, last_applied: str
) -> None:
    scope = tenant.scope
    # If a configuration is loaded meanwhile, this epoch is deleted and the other commits fail.
    applying = f"applying {uuid.uuid4()}"
    key = epoch_key(scope.tenant)
    bridge.commit([], epoch=Epoch(key, epoch, becomes=applying))
    total, done, refused = tenant.users.count(), 0, 0
    known: set[str] = set()
    log.info("tenant %s: Kong's memory is new, applying %d users to it", scope.tenant, total)
    for users in tenant.users.batches(BATCH):
        found = tenant.consumer_sync.reapply(users)
        for each in found:
            if each.refused is not None:
                log.error("user %s is not applied to Kong: %s", each.user, each.refused.detail)
                refused += 1
        present = [each.consumer for each in found if each.consumer]
        known.update(present)
        with store.reading() as transaction:
            pending_log = PendingLog(transaction, scope)
            kept: list[Step] = [*pending_log.credentials(present, time.time())]
            kept += pending_log.last_events(present)
        plans: list[tuple[Step, ...]] = [each.steps for each in found if each.steps]
        if epoch is not None:  # Kong has an old state: credentials not in the store are revoked
            plans += [(Revoke(each.consumer),) for each in found if each.consumer]
        plans += [(each,) for each in kept]
        refused += _commit(bridge, plans, Epoch(key, applying))
        done += len(users)
        log.info("tenant %s: %d of %d users applied to Kong", scope.tenant, done, total)
    unknown = bridge.tagged(f"scim:{scope.tenant}") - known
    _commit(
        bridge, [(Delete("consumers", each),) for each in sorted(unknown)], Epoch(key, applying)
    )
    bridge.commit([], epoch=Epoch(key, applying, becomes=last_applied))
    log.info(
        "tenant %s: Kong has all %d users; %d could not be applied, see above",
        scope.tenant,
        total,
        refused,
    )


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
