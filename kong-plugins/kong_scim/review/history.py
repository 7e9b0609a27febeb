"""Works out from the events of a person what access it had at a moment, and which event gave it.

The events after the moment are undone, from the state of now back; the events up to it say since
when each group is held. So the trail need not reach back to the person's first event, but only to
the moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Change:
    """What one event changed for one person.

    :param occurred: In the form of :func:`~kong_scim.directory.values.instant`.
    :param own: What the event did to the person's own resource, such as ``create`` or
        ``deactivate``; empty for an event of a group.
    :param consumer: The id of the consumer that was written; None if none was.
    :param suspended: Whether the consumer is refused since then; None if the event does not say,
        or if the consumer is gone.
    :param credentials: How many credentials went by kind; negative for those that came.
    """

    event: str
    occurred: str
    actor: str | None = None
    request: str | None = None
    own: frozenset[str] = frozenset()
    consumer: str | None = None
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    suspended: bool | None = None
    credentials: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_end(self) -> bool:
        """Whether the consumer is gone since then."""
        return self.consumer is not None and self.suspended is None


@dataclass(frozen=True)
class Access:
    """What access a person had at a moment.

    :param consumer: The id of the consumer; None without one.
    :param groups: The ACL groups of the consumer.
    :param since: The event that gave each group; a group that no event gave is not in it.
    :param admitted: The event since which the person is not suspended, or None if none says.
    :param lost: When the person lost credentials that it had at the moment, by their kind.
    """

    consumer: str | None
    groups: frozenset[str] = frozenset()
    suspended: bool = False
    since: Mapping[str, Change] = field(default_factory=dict)
    admitted: Change | None = None
    lost: Mapping[str, str] = field(default_factory=dict)


def access_at(moment: str, changes: Iterable[Change], now: Access) -> Access | None:
    """Return the access of a person at a moment, or None if the person came later.

    :param moment: In the form of :func:`~kong_scim.directory.values.instant`.
    :param changes: Those of the person, in the order of the trail.
    :param now: The present state.
    """
    before: list[Change] = []
    after: list[Change] = []
    for change in changes:
        (after if change.occurred > moment else before).append(change)
    if any("create" in change.own for change in after):
        return None
    then, since, admitted = _replayed(before)
    if not after:
        groups, consumer, suspended = now.groups, now.consumer, now.suspended
    else:
        groups = _undone(after, now.groups)
        consumer, suspended = then if then else _before(after)
    return Access(
        consumer=consumer,
        groups=groups if consumer else frozenset(),
        suspended=suspended,
        since={group: change for group, change in since.items() if group in groups},
        admitted=None if suspended else admitted,
        lost=_lost(after),
    )


def _replayed(
    before: Sequence[Change],
) -> tuple[tuple[str | None, bool] | None, Mapping[str, Change], Change | None]:
    """Return what the events up to the moment say: the consumer and whether it is suspended (None
    if none says), which of them gave each group, and which admitted the person."""
    since: dict[str, Change] = {}
    admitted: Change | None = None
    then: tuple[str | None, bool] | None = None
    for change in before:
        for group in change.removed:
            since.pop(group, None)
        since |= dict.fromkeys(change.added, change)
        if change.is_end:
            then, admitted = (None, True), None
        elif change.consumer is not None:
            if not change.suspended and (then is None or then[1]):
                admitted = change
            then = change.consumer, bool(change.suspended)
    return then, since, admitted


def _undone(after: Sequence[Change], groups: frozenset[str]) -> frozenset[str]:
    for change in reversed(after):
        groups = (groups - change.added) | change.removed
    return groups


def _before(after: Sequence[Change]) -> tuple[str | None, bool]:
    """Return the consumer before some changes, and whether it was suspended, where no earlier event
    says it."""
    for change in after:
        if change.consumer is None:
            continue
        if "activate" in change.own:
            return change.consumer, True
        if "deactivate" in change.own or change.is_end:
            return change.consumer, False
        return change.consumer, bool(change.suspended)
    return None, False


def _lost(after: Sequence[Change]) -> dict[str, str]:
    """Return when credentials of the moment were lost, by their kind.

    On a Kong with PostgreSQL no event says when a credential came, so one that was lost is taken to
    have been there at the moment.
    """
    left: dict[str, int] = {}
    lost: dict[str, str] = {}
    for change in reversed(after):
        for kind, count in change.credentials.items():
            left[kind] = max(0, left.get(kind, 0) + count)
            lost[kind] = change.occurred
    return {kind: at for kind, at in lost.items() if left[kind]}
