"""Kong's memory put right after it was loaded anew: all rows of a tenant, applied again."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass

from kong_scim.bridge import Bridge, BridgeError, Delete, Mark, Revoke, Step
from kong_scim.dbless import pending_log
from kong_scim.dbless.bridge import PATIENCE, Memory, mark_key
from kong_scim.dbless.local_store import LocalStore
from kong_scim.directory.ports import Scope
from kong_scim.directory.storage import SqlStorage
from kong_scim.sync.consumers import KongConsumerSync

log = logging.getLogger(__name__)

BATCH = 250
"""Users whose rows are written in one step: about 200 KB, which Kong's mp_rpc.lua reads quickly,
and a few tens of milliseconds of a worker, which yields in between."""


@dataclass(frozen=True)
class Tenant:
    """What of a tenant is needed to say what Kong must have."""

    scope: Scope
    storage: SqlStorage
    consumer_sync: KongConsumerSync


def keep_applied(bridge: Bridge, memory: Memory, tenant: Tenant, mark: str | None) -> None:
    """See to it that Kong's memory has what the store says; does nothing where it has.

    :param mark: The tenant's mark in Kong's memory.
    :raises BridgeError: When Kong cannot be told; it is tried again with the next tick.
    """
    store, scope, key = memory.store, tenant.scope, mark_key(tenant.scope.tenant)
    with store.turn(PATIENCE):
        with store.reading() as transaction:
            waiting = pending_log.pending(transaction, scope)
            told = memory.mark(pending_log.told(transaction, scope))
        if mark != told:
            mark = bridge.wake(mark=key).mark  # a write may have come in between
        if waiting is not None and mark == memory.mark(waiting.after):
            mark = _apply_pending(bridge, waiting, Mark(key, mark, becomes=told))
        if mark != told:
            _apply_all(bridge, tenant, store, mark, told)
        if waiting is not None:
            with store.writing() as transaction:
                pending_log.lift(transaction, waiting.number)
        if mark != told or waiting is not None or not memory.applications(scope):
            memory.applied(scope)


def _apply_pending(bridge: Bridge, waiting: pending_log.Pending, mark: Mark) -> str | None:
    """Tell Kong what it has yet to be told, and return its mark then."""
    try:
        bridge.commit(waiting.steps, mark=mark)
    except BridgeError as error:
        if error.step is None:
            raise
        log.warning("a pending change cannot be applied to Kong any more: %s", error)
        return mark.expected
    log.info("a pending change was applied to Kong")
    return mark.becomes


def _apply_all(
    bridge: Bridge, tenant: Tenant, store: LocalStore, mark: str | None, told: str
) -> None:
    scope = tenant.scope
    # Whatever is loaded meanwhile takes this mark away, and the rest is refused.
    ours = f"applying {uuid.uuid4()}"
    key = mark_key(scope.tenant)
    bridge.commit([], mark=Mark(key, mark, becomes=ours))
    total, done, clashes = tenant.storage.count_users(), 0, 0
    known: set[str] = set()
    log.info("tenant %s: Kong's memory is new, applying %d users to it", scope.tenant, total)
    for users in tenant.storage.users(BATCH):
        found = tenant.consumer_sync.again(users)
        for each in found:
            if each.refused is not None:
                log.error("user %s is not applied to Kong: %s", each.user, each.refused.detail)
                clashes += 1
        present = [each.consumer for each in found if each.consumer]
        known.update(present)
        with store.reading() as transaction:
            given: list[Step] = [*pending_log.credentials(transaction, scope, present, time.time())]
            given += pending_log.stamps(transaction, scope, present)
        plans: list[tuple[Step, ...]] = [each.steps for each in found if each.steps]
        if mark is not None:  # not empty: what is no credential of the store's goes
            plans += [(Revoke(each.consumer),) for each in found if each.consumer]
        plans += [(each,) for each in given]
        clashes += _commit(bridge, plans, Mark(key, ours))
        done += len(users)
        log.info("tenant %s: %d of %d users applied to Kong", scope.tenant, done, total)
    strays = bridge.tagged(f"scim:{scope.tenant}") - known
    _commit(bridge, [(Delete("consumers", each),) for each in sorted(strays)], Mark(key, ours))
    bridge.commit([], mark=Mark(key, ours, becomes=told))
    log.info(
        "tenant %s: Kong has all %d users; %d could not be applied, see above",
        scope.tenant,
        total,
        clashes,
    )


def _commit(bridge: Bridge, plans: list[tuple[Step, ...]], mark: Mark) -> int:
    """Apply plans in one commit; those that Kong refuses are named and left out, and counted."""
    refused = 0
    while plans:
        owners = [number for number, plan in enumerate(plans) for _ in plan]
        try:
            bridge.commit([step for plan in plans for step in plan], mark=mark)
        except BridgeError as error:
            if error.step is None:
                raise
            log.error("not applied to Kong: %s", error)  # noqa: TRY400 - no defect
            del plans[owners[error.step]]
            refused += 1
        else:
            break
    return refused
