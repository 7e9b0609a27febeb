"""Mends differences between what SCIM wants and what Kong has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scim2_models import NotFoundException, SCIMException

from kong_scim.bridge import Delete
from kong_scim.directory.directory import Directory
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import Access, Change, Outcome, UserChange, UserState
from kong_scim.directory.retries import retried
from kong_scim.directory.stored_row import StoredRow
from kong_scim.quarantine.guard import QuarantineException
from kong_scim.sync import drift
from kong_scim.sync.drift_search import UserDrift

ResultKind: TypeAlias = Literal["mended", "held", "failed", "would be mended"]


@dataclass(frozen=True)
class Result:
    """What became of one difference.

    :param detail: A sentence on what was done, or why it was not.
    """

    user: str
    user_name: str | None
    kind: drift.Kind
    result: ResultKind
    detail: str


@dataclass(frozen=True)
class Reconciler:
    """Mends the differences of users, each user in one commit of its own.

    The commit is planned from what Kong has at that moment, as that of any change. So two
    reconciliations at once, or a write of the provider, do no harm.

    :param directory: Makes the commits, with the quarantine's guard and the event of each.
    :param kind: The resource type of users.
    """

    directory: Directory
    kind: Kind

    def mend(self, found: Iterable[UserDrift], *, dry_run: bool = False) -> Iterator[Result]:
        """Mend differences, and yield what became of each.

        :param dry_run: Whether to mend nothing, and only to say what can be mended.
        :raises ~kong_scim.bridge.BridgeError: When the gateway does not answer.
        """
        for each in found:
            result, detail = self._mend(each, dry_run=dry_run)
            for difference in each.differences:
                yield Result(
                    each.user,
                    each.user_name,
                    difference.kind,
                    result,
                    detail or difference.mend,
                )

    def _mend(self, found: UserDrift, *, dry_run: bool) -> tuple[ResultKind, str | None]:
        """Mend one user; return the result, and its sentence if the difference has none."""
        if found.obstacle is not None:
            return "failed", found.obstacle
        if dry_run:
            return "would be mended", None
        try:
            retried(lambda: self._apply(found))
        except QuarantineException as error:
            return "held", error.detail
        except NotFoundException:
            return "mended", "The user was deleted meanwhile, and its consumer with it"
        except SCIMException as error:
            return "failed", error.detail
        return "mended", None

    def _apply(self, found: UserDrift) -> None:
        if found.orphan is None:
            self.directory.reconcile(self.kind, found.user)
            return
        consumer = found.orphan
        # The user is gone, and nothing about it is known but that it is.
        gone = UserState(StoredRow(found.user, self.kind.name, 0, {}, "", ""))
        change = Change(
            "reconcile", self.kind.name, found.user, (UserChange(found.user, gone, None),)
        )
        groups = tuple(sorted(consumer.groups))
        access = Access(consumer.id, removed=groups, suspended=None)
        steps = (Delete("consumers", consumer.id),)
        self.directory.apply(change, Outcome(steps, accesses={found.user: access}))
