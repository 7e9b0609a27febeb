"""The ports of the directory: interfaces that others implement for it, and their values.

:class:`ConsumerSync` returns the steps to commit together with a change. The directory knows which
users a change affects and with which groups, but not Kong's entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from scim2_models import PreconditionFailedException

from kong_scim.bridge import Sql, Step
from kong_scim.directory.stored_row import Document, StoredRow

Operation = Literal["create", "replace", "patch", "delete", "reconcile"]
"""What a client asked for; ``reconcile`` changes nothing but what Kong has of a user."""


class Conflict(PreconditionFailedException):
    """A row or an entity changed between the read and the commit.

    A request without If-Match is retried; one with it is answered with 412 (RFC 7644 §3.14).
    """


HELD = "safety"
"""The label of the guard that fails if too many people would lose access."""


REFUSED = "refused: "
"""The prefix of a guard's label whose rest is the sentence of the refusal, if the guard fails (409
``uniqueness``)."""


class HeldBackError(Exception):
    """The deprovisioning guard refused the change, and nothing was written."""


@dataclass(frozen=True)
class GroupRef:
    """A group that a user is in; ``direct`` is False if the user is in it by a nested group."""

    id: str
    display_name: str
    direct: bool = True


@dataclass(frozen=True)
class UserState:
    """A user with every group it is in, nested ones flattened, in the order of their names."""

    row: StoredRow
    groups: tuple[GroupRef, ...] = ()

    @property
    def doc(self) -> Document:
        """The document of the user."""
        return self.row.doc

    @property
    def is_active(self) -> bool:
        """Whether the user has access, which only an ``active`` of true gives."""
        return self.doc.get("active") is True


@dataclass(frozen=True)
class UserChange:
    """The change of one user, who is created (no before), deleted (no after), or changed."""

    id: str
    before: UserState | None
    after: UserState | None


@dataclass(frozen=True)
class Change:
    """One SCIM write, in terms of the users it affects.

    :param operation: The operation that the client requested.
    :param resource_type: The type of the resource that the client wrote: ``User`` or ``Group``.
    :param resource_id: The id of that resource.
    :param group_name: The displayName of a group that is created or renamed, so that a name which
        cannot become an ACL group is refused while the group is still empty.
    :param old_group_name: The displayName that a renamed group had, or a deleted one.
    :param names_are_free: Whether to expect that no consumer has the names of a created user. Then
        Kong is not read, and the commit refuses the change if one has.
    """

    operation: Operation
    resource_type: str
    resource_id: str
    users: tuple[UserChange, ...] = ()
    group_name: str | None = None
    old_group_name: str | None = None
    names_are_free: bool = False


@dataclass(frozen=True)
class Access:
    """The change of one user's access to the gateway.

    :param consumer: The id of the user's consumer.
    :param added: The names of the access groups that the consumer gets.
    :param removed: The names of those that it loses.
    :param suspended: Whether the consumer is refused after the change; None if it is deleted.
    """

    consumer: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    suspended: bool | None = False


@dataclass(frozen=True)
class Outcome:
    """The steps that must be committed together with a change, and their meaning for users.

    :param steps: Steps on Kong's entities, in order; they run after the SQL of the change.
    :param records: By user id, the value of the read-only Kong extension to store with the user,
        in SCIM JSON form (``consumerId``, ``username``, ``accessGroups``, ``suspended``,
        ``lastChange``).
    :param accesses: By user id, the change of access, for each user that has steps.
    :param claims: Steps that check and claim names; they run before ``steps``.
    :param lost: How many memberships of access groups are lost by users who stay active.
    :param unread: Whether Kong was not read, because the names are expected to be free. If the
        commit is refused, the change must be worked out again from what Kong has.
    """

    steps: tuple[Step, ...] = ()
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accesses: Mapping[str, Access] = field(default_factory=dict)
    claims: tuple[Step, ...] = ()
    lost: int = 0
    unread: bool = False


class ConsumerSync(Protocol):
    """Works out the steps in Kong that a change of the directory needs."""

    def of(self, change: Change) -> Outcome:
        """Return what to commit with the change.

        :raises ~scim2_models.SCIMException: When the change cannot be made, such as a consumer name
            that is taken (409); nothing is written then.
        """


@dataclass(frozen=True)
class Entry:
    """A change that is about to be committed, for its event in the outbox.

    :param before: The document of the resource before the change; None if it is created.
    :param after: The document after it; None if it is deleted. It equals ``before`` if only members
        changed.
    :param version_before: The version before the change; None if the resource is created.
    :param version_after: The version after it; None if the resource is deleted.
    :param counted: Whether only the database knows the versions, because several clients may add
        members at once; then both are None.
    :param joined: The ids of the members that a group gets.
    :param left: The ids of the members that it loses.
    """

    change: Change
    outcome: Outcome
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    version_before: int | None = None
    version_after: int | None = None
    counted: bool = False
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Outbox(Protocol):
    """Writes an event of each change in the commit of that change."""

    def of(self, entry: Entry) -> Sequence[Step]:
        """Return the steps to commit after all others of the change."""


class DeprovisioningGuard(Protocol):
    """Holds back changes that would take too many people's access away at once."""

    def guards(self, change: Change, lost: int) -> Sequence[Sql]:
        """Return the guards to run before all other steps of a change; none for a harmless one.

        The label of the guard that fails is :data:`HELD`.

        :param lost: As in :class:`Outcome`.
        """

    def hold(self, change: Change, lost: int) -> Exception:
        """Store that a change was held back, and return the exception to raise."""
