"""Plans the steps from the consumer that Kong has to the consumer that is wanted."""

from __future__ import annotations

from kong_scim.bridge import SUBJECTS, Consumer, Delete, Revoke, Step, Upsert
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import (
    GROUP_TAG,
    MANAGED,
    REVOKED_TAG,
    SUSPENDED,
    USER_TAG,
    Wanted,
)


def plan(wanted: Wanted, present: Consumer | None, *, written: bool = True) -> list[Step]:
    """Return the fewest steps from what Kong has to what is wanted, in an order that is safe.

    A consumer is suspended in three ways: first it gets the tag that the guard refuses, then its
    credentials are deleted (with ``on_deactivate: suspend`` only what was issued to them), then its
    groups. A user that becomes active again starts without credentials, so that a credential which
    an administrator created meanwhile never works. A missing consumer is created again by any write
    of its user or of the user's groups.

    Tags that SCIM did not set stay, and so do memberships that SCIM did not give: an
    administrator gave them for a reason that SCIM does not know. They give a suspended consumer no
    access, because the guard refuses it before the acl plugin runs.

    :param present: The consumer with the wanted id, or None.
    :param written: Whether the client wrote this user itself. Each write of an inactive user
        revokes again, because an administrator may have created a key in the meantime. A change of
        a group does not, because it would read every kind of credential for each member.
    :returns: No steps if nothing differs. Only an inactive user that is written is always revoked,
        because the credentials of a consumer are not read.
    """
    if not wanted.present:
        return [Delete("consumers", wanted.id)] if present else []
    steps: list[Step] = []
    tags = [*wanted.tags, *(tag for target in TARGETS for tag in target.tags(wanted, present))]
    if present is None or _differs(wanted, tags, present):
        steps.append(_consumer(wanted, tags, present))
    if present is not None and _revokes(wanted, SUSPENDED in present.tags, written=written):
        steps.append(Revoke(wanted.id, issued=wanted.keeps_credentials))
    for target in TARGETS:
        steps.extend(target.steps(wanted, present))
    return steps


def stage(step: Step) -> int:
    """Return the place of a step among those of several users, whose own order it keeps."""
    if isinstance(step, Upsert) and step.dao == SUBJECTS:
        return 0
    if isinstance(step, Revoke):
        return 1
    if isinstance(step, Upsert | Delete) and step.dao != "consumers":
        return 2 if isinstance(step, Delete) else 3
    return 0


def is_reserved(tag: str) -> bool:
    """Tell whether a tag of a consumer is one that only SCIM sets and removes."""
    return tag == MANAGED or tag.startswith((f"{MANAGED}:", USER_TAG, REVOKED_TAG, GROUP_TAG))


def _revokes(wanted: Wanted, suspended: bool, *, written: bool) -> bool:
    if wanted.suspended:
        return written or not suspended
    # The tag alone does not decide: an administrator may have removed it.
    return suspended or wanted.returning


def _differs(wanted: Wanted, tags: list[str], present: Consumer) -> bool:
    return (
        present.username != wanted.username
        or (wanted.manages_custom_id and present.custom_id != wanted.custom_id)
        or {tag for tag in present.tags if is_reserved(tag)} != set(tags)
    )


def _consumer(wanted: Wanted, tags: list[str], present: Consumer | None) -> Upsert:
    foreign = [tag for tag in present.tags if not is_reserved(tag)] if present else []
    entity = {"id": wanted.id, "username": wanted.username, "tags": [*tags, *foreign]}
    if wanted.manages_custom_id:
        entity["custom_id"] = wanted.custom_id
    return Upsert("consumers", entity)
