"""Kong's memory put right after it was loaded anew: all rows of a tenant, applied again."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass

from kong_scim.bridge import Bridge, BridgeError, Delete, Mark, Revoke, Step
from kong_scim.directory.ports import Scope
from kong_scim.directory.storage import SqlStorage
from kong_scim.provisioning import journal
from kong_scim.provisioning.dbless import PATIENCE, Memory, mark_key
from kong_scim.provisioning.effects import KongEffects

log = logging.getLogger(__name__)

BATCH = 250
"""Users whose rows are written in one step: about 200 KB, which Kong's mp_rpc.lua reads quickly,
and a few tens of milliseconds of a worker, which yields in between."""


@dataclass(frozen=True)
class Tenant:
    """What of a tenant is needed to say what Kong must have."""

    scope: Scope
    storage: SqlStorage
    effects: KongEffects


def keep_applied(bridge: Bridge, memory: Memory, tenant: Tenant, mark: str | None) -> None:
    """See to it that Kong's memory has what the store says; does nothing where it has.

    :param mark: The tenant's mark in Kong's memory.
    :raises BridgeError: When Kong cannot be told; it is tried again with the next tick.
    """
    store, scope = memory.store, tenant.scope
    with store.reading() as transaction:
        waiting = journal.is_pending(transaction, scope)
    if mark == store.id and not waiting:
        if not memory.applications(scope):
            memory.applied(scope)
        return
    with store.turn(PATIENCE):
        if mark != store.id or not _apply_pending(bridge, memory, scope):
            _apply_all(bridge, memory, tenant, mark)
    memory.applied(scope)


def _apply_pending(bridge: Bridge, memory: Memory, scope: Scope) -> bool:
    """Tell Kong what it has yet to be told; False where it does not take all of it any more."""
    with memory.store.reading() as transaction:
        waiting = journal.pending(transaction, scope)
    taken = True
    for number, steps in waiting:
        # What takes access away does so in any case; it cannot be refused.
        least = tuple(step for step in steps if isinstance(step, Delete | Revoke))
        taken = not _commit(bridge, [tuple(steps), least], memory.mark(scope)) and taken
        with memory.store.writing() as transaction:
            journal.lift(transaction, number)
    if waiting:
        log.info("tenant %s: %d pending changes applied to Kong", scope.tenant, len(waiting))
    return taken


def _apply_all(bridge: Bridge, memory: Memory, tenant: Tenant, mark: str | None) -> None:
    store, scope = memory.store, tenant.scope
    # Whatever is loaded meanwhile takes this mark away, and the rest is refused.
    ours = f"applying {uuid.uuid4()}"
    key = mark_key(scope.tenant)
    bridge.commit([], mark=Mark(key, mark, becomes=ours))
    total, done, clashes = tenant.storage.count_users(), 0, 0
    known: set[str] = set()
    log.info("tenant %s: Kong's memory is new, applying %d users to it", scope.tenant, total)
    for users in tenant.storage.users(BATCH):
        found = tenant.effects.again(users)
        for each in found:
            if each.refused is not None:
                log.error("user %s is not applied to Kong: %s", each.user, each.refused.detail)
                clashes += 1
        known.update(each.consumer for each in found if each.consumer)
        keeping = [each.consumer for each in found if each.consumer and not each.revoked]
        with store.reading() as transaction:
            given = journal.credentials(transaction, scope, keeping, time.time())
        plans = [each.steps for each in found if each.steps] + [(each,) for each in given]
        clashes += _commit(bridge, plans, Mark(key, ours))
        done += len(users)
        log.info("tenant %s: %d of %d users applied to Kong", scope.tenant, done, total)
    strays = bridge.tagged(f"scim:{scope.tenant}") - known
    _commit(bridge, [(Delete("consumers", each),) for each in sorted(strays)], Mark(key, ours))
    with store.writing() as transaction:
        journal.lift_all(transaction, scope)
    bridge.commit([], mark=Mark(key, ours, becomes=store.id))
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
