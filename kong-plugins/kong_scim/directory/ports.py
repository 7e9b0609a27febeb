"""The ports of the directory: what others implement for it, and the values that cross them.

:class:`ConsumerSync` is what must be committed together with a change: the directory knows which
users a change affects and with which groups, and nothing of Kong's entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from scim2_models import PreconditionFailedException, Resource

from kong_scim.bridge import Sql, Step

Operation = Literal["create", "replace", "patch", "delete"]


class Conflict(PreconditionFailedException):
    """Something changed between the read and the commit: the request is to be run again.

    Without If-Match the request is retried; with one it is the 412 of RFC 7644 §3.14.
    """


HELD = "safety"
"""The label of the guard that does not hold where too many people would be gone."""


REFUSED = "refused: "
"""How the label of a guard begins that says why the change is refused where it does not hold (409
``uniqueness``): the rest is the sentence."""


class HeldBackError(Exception):
    """The deprovisioning guard refused the change; nothing was written."""


@dataclass(frozen=True)
class GroupRef:
    """A group a user is in; ``direct`` is False where it is through a nested group."""

    id: str
    display_name: str
    direct: bool = True


@dataclass(frozen=True)
class UserState:
    """A user with every group it is in, nested ones flattened, in the order of their names."""

    user: Resource[Any]
    groups: tuple[GroupRef, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether the user has access: nothing but a true ``active`` says so."""
        return getattr(self.user, "active", None) is True


@dataclass(frozen=True)
class UserChange:
    """What happens to one user: created (no before), deleted (no after), or changed.

    ``version`` is the version the user was read at; the commit guards it.
    """

    id: str
    before: UserState | None
    after: UserState | None


@dataclass(frozen=True)
class Change:
    """One SCIM write, in terms of the users it affects.

    :param operation: What the client asked for.
    :param resource_type: ``User`` or ``Group``: what the client wrote.
    :param group_name: The displayName of a group that is created or renamed, so that a name which
        cannot become an ACL group is refused while the group is still empty.
    """

    operation: Operation
    resource_type: str
    resource_id: str
    users: tuple[UserChange, ...] = ()
    group_name: str | None = None


@dataclass(frozen=True)
class Access:
    """What a change does to one user's access to the gateway.

    :param consumer: The id of its consumer.
    :param added: The names of access groups the consumer gets.
    :param removed: The names of those it loses.
    :param suspended: Whether it is refused from now on; None where there is no consumer any more.
    """

    consumer: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    suspended: bool | None = False


@dataclass(frozen=True)
class Outcome:
    """The steps that must be committed together with a change.

    :param steps: Steps on Kong's entities, in order; they run after the SQL of the change.
    :param records: By user id, the value of the read-only Kong extension to store with the user,
        in SCIM JSON form (``consumerId``, ``username``, ``accessGroups``, ``suspended``,
        ``lastChange``).
    :param accesses: By user id, what the steps are to that user; nothing where there are none.
    :param claims: What must hold for the steps, and rows that say so; they run before the steps.
    :param lost: How many memberships of access groups the change takes from people who stay.
    """

    steps: tuple[Step, ...] = ()
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accesses: Mapping[str, Access] = field(default_factory=dict)
    claims: tuple[Step, ...] = ()
    lost: int = 0


class ConsumerSync(Protocol):
    """Works out what a change of the directory needs in Kong."""

    def of(self, change: Change) -> Outcome:
        """Return what to commit with the change.

        :raises ~scim2_models.SCIMException: When the change cannot be made, such as a consumer name
            that is taken (409); nothing is written then.
        """


@dataclass(frozen=True)
class Entry:
    """A change that is about to be committed, as the outbox writes it down.

    :param before: The document of the resource, None where it is new; ``after``, None where it is
        gone, is the same one where nothing but members changed.
    :param version_before: None where the resource is new.
    :param version_after: None where it is gone. Both are None with ``counted``: several may add
        members at once, so that the database alone knows the version this change makes.
    :param joined: The ids of members a group gets.
    :param left: The ids of members it loses.
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
        """Return what to commit after everything else of the change."""


class DeprovisioningGuard(Protocol):
    """Holds back changes that would take too many people's access away at once."""

    def guards(self, change: Change, lost: int) -> Sequence[Sql]:
        """Return what must hold before everything else of a change; none for a harmless one.

        The one that does not is labelled :data:`HELD`.

        :param lost: As in :class:`Outcome`.
        """

    def hold(self, change: Change, lost: int) -> Exception:
        """Write down that a change was held back, and return what is raised."""
