"""Plans the steps from the consumer that is there to the consumer that is wanted."""

from __future__ import annotations

from kong_scim.bridge import Consumer, Delete, Revoke, Step, Upsert
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import MANAGED, REVOKED_TAG, SUSPENDED, USER_TAG, Wanted


def plan(wanted: Wanted, present: Consumer | None, *, written: bool = True) -> list[Step]:
    """Return the fewest steps from what Kong has to what is wanted, in an order that is safe.

    A suspended consumer is held by three locks: the tag that the guard refuses comes first, then
    its credentials go (with ``on_deactivate: suspend`` only what was issued to them), then its
    groups. Who is active again begins without credentials, so that one that an administrator gave
    meanwhile never works. What is wanted and missing is
    made again, so any write of a user or of its groups heals a consumer that somebody removed.

    Tags that SCIM did not set stay, and so do ACL groups that do not carry this tenant's tag: an
    administrator gave them for a reason SCIM does not know, and they open nothing, since the guard
    refuses a suspended consumer before the acl plugin is asked.

    :param present: The consumer with the wanted id, or None.
    :param written: Whether the client wrote this very user. Each write of an inactive user revokes
        again, because an administrator may have given it a key in the meantime; a change of a group
        it is in does not, since it would walk every kind of credential for each member.
    :returns: Nothing where all is as wanted, but for the revocation of an inactive user that is
        written: which credentials a consumer has is not read.
    """
    if not wanted.present:
        return [Delete("consumers", wanted.id)] if present else []
    steps: list[Step] = []
    if present is None or _differs(wanted, present):
        steps.append(_consumer(wanted, present))
    if present is not None and _revokes(wanted, SUSPENDED in present.tags, written=written):
        steps.append(Revoke(wanted.id, issued=wanted.keeps_credentials))
    for target in TARGETS:
        steps.extend(target.steps(wanted, present))
    return steps


def is_reserved(tag: str) -> bool:
    """Whether a tag of a consumer is SCIM's to set and to take away."""
    return tag == MANAGED or tag.startswith((f"{MANAGED}:", USER_TAG, REVOKED_TAG))


def _revokes(wanted: Wanted, suspended: bool, *, written: bool) -> bool:
    if wanted.suspended:
        return written or not suspended
    # An administrator may have taken the tag away, hence not by that alone.
    return suspended or wanted.returning


def _differs(wanted: Wanted, present: Consumer) -> bool:
    return (
        present.username != wanted.username
        or (wanted.manages_custom_id and present.custom_id != wanted.custom_id)
        or {tag for tag in present.tags if is_reserved(tag)} != set(wanted.tags)
    )


def _consumer(wanted: Wanted, present: Consumer | None) -> Upsert:
    foreign = [tag for tag in present.tags if not is_reserved(tag)] if present else []
    entity = {"id": wanted.id, "username": wanted.username, "tags": [*wanted.tags, *foreign]}
    if wanted.manages_custom_id:
        entity["custom_id"] = wanted.custom_id
    return Upsert("consumers", entity)
