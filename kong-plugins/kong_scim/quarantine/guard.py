"""The deprovisioning guard counts who leaves a tenant and what access is taken away, and holds the
rest back once that is too much.

Deactivated and deleted users count, each once within the window, whichever way they left (DELETE,
PATCH, PUT, Bulk). A deactivated user who comes back counts nevertheless: the credentials are gone.
Who was created within the window does not. Of people who stay count the memberships of ACL groups
that they lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from scim2_models import SCIMException

from kong_scim.bridge import Param, Sql
from kong_scim.config.plugin import QuarantineConfig as Rules
from kong_scim.config.quarantine import MEMBERSHIPS_AT_LEAST
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.ports import Change, Conflict
from kong_scim.directory.values import instant, utc_now
from kong_scim.events.outbox import EventOutbox, uuid7
from kong_scim.events.webhooks.formats import QUARANTINE
from kong_scim.quarantine import memberships, statements

Deprovisioning = Literal["deactivate", "delete"]


class QuarantineException(SCIMException):
    """Too many users are deprovisioned at once, and nobody has confirmed that this is meant
    (409)."""

    status = 409
    _default_detail = "This tenant is in quarantine"


def deprovisioning(change: Change) -> Deprovisioning | None:
    """Tell whether a change deactivates or deletes the user it writes."""
    for user in change.users:
        if user.id != change.resource_id or user.before is None:
            continue
        if user.after is None:
            return "delete"
        if user.before.is_active and not user.after.is_active:
            return "deactivate"
    return None


def comes_back(change: Change) -> bool:
    """Tell whether a change activates the user it writes, who was inactive."""
    return any(
        user.id == change.resource_id
        and user.before is not None
        and user.after is not None
        and user.after.is_active
        and not user.before.is_active
        for user in change.users
    )


@dataclass(frozen=True)
class Deprovisionings:
    """The rows in which a tenant's deprovisionings are counted, and the limits of the
    configuration.

    :param users: The name of the resource type of users.
    """

    database: TenantDatabase
    users: str
    rules: Rules
    clock: Callable[[], datetime] = utc_now

    def window(self) -> timedelta:
        """Return how long a deprovisioning counts."""
        return timedelta(minutes=self.rules.window)

    def params(self, now: datetime, user: str = "") -> dict[str, Param]:
        """Return what the statements take.

        :param user: Whose own deprovisioning does not count.
        """
        rules = self.rules
        return {
            "now": instant(now),
            "after": instant(now - self.window()),
            "user": user,
            "type": self.users,
            "users": rules.users,
            "share": rules.share,
            "at_least": rules.at_least,
            "memberships": -1 if rules.memberships is None else rules.memberships,
            "some_memberships": MEMBERSHIPS_AT_LEAST,
            "enough": -(-rules.users * 100 // rules.share),
        }

    def first(self, given: Mapping[str, Param]) -> list[Sql]:
        """Return what any commit that writes here begins with: the lock, and what is forgotten."""
        begin = (statements.INSERT_TENANT, statements.LOCK, statements.PURGE, memberships.PURGE)
        return [self.database.bind(each, **given) for each in begin]

    def reads(self, given: Mapping[str, Param]) -> list[Sql]:
        """Select what :meth:`standing` reads."""
        reads = (statements.STATE, statements.COUNT)
        return [self.database.bind(each, **given) for each in reads]

    @staticmethod
    def standing(rows: Sequence[list[dict[str, Any]]]) -> tuple[dict[str, Any], int, int]:
        """Return the tenant's row, how many deprovisionings count, and of how many people.

        Those are who was active when the window began.
        """
        state, ((counted),) = rows
        row = state[0] if state else {"state": statements.OPEN, "until": ""}
        gone = int(counted["gone"])
        return row, gone, int(counted["there"]) + gone


class QuarantineGuard:
    """The :class:`.DeprovisioningGuard` with the limits of a configuration.

    :param dry_run: Whether nothing is to be written down.
    """

    def __init__(
        self, deprovisionings: Deprovisionings, outbox: EventOutbox, *, dry_run: bool = False
    ) -> None:
        self._deprovisionings = deprovisionings
        self._database = deprovisionings.database
        self._outbox = outbox
        self._dry_run = dry_run

    def guards(self, change: Change, lost: int) -> Sequence[Sql]:
        """Return the steps that count a deprovisioning or a loss, where the change is one."""
        deprovisionings, bind = self._deprovisionings, self._database.bind
        operation, now = deprovisioning(change), deprovisionings.clock()
        if operation is not None:
            given = self._given(change, now, operation)
            if self._is_new(change, given):
                return [bind(statements.PASS_BY, **given)]
            return [*deprovisionings.first(given), bind(statements.DEPART, **given)]
        if comes_back(change):
            return [bind(statements.COME_BACK, **self._given(change, now, "activate"))]
        if lost:
            given = self._given(change, now, "") | {"taken": lost, "loss": uuid7()}
            return [*deprovisionings.first(given), bind(memberships.LOSE, **given)]
        return ()

    def hold(self, change: Change, lost: int) -> Exception:
        """Begin the quarantine unless there is one, count the request, and return its refusal.

        :return: A :class:`Conflict` where somebody let everything pass in the meantime.
        """
        operation, now = deprovisioning(change), self._deprovisionings.clock()
        given = self._given(change, now, operation or "")
        hold = statements.HOLD
        if operation is None:
            scope = self._database.scope
            held_id = f"held {scope.workspace} {scope.tenant} {change.resource_id}"
            given |= {"taken": lost, "loss": held_id}
            hold = memberships.HOLD
        held = self._database.bind(hold, **given)
        row = self._refused(given, now, held)
        if row is None and not self._is_new(change, given):
            reason = self._too_many(given) if operation else self._too_much(given, lost)
            if self._dry_run:
                row = {"state": statements.OPEN, "until": "", "decided": ""}
                begun = {"state": statements.QUARANTINED, "since": instant(now), "reason": reason}
                return refusal({**row, **begun})
            row = self._refused(given, now, held, *self._beginning(given, reason, operation))
        if row is None or row["state"] == statements.APPROVED:
            return Conflict(detail="It was decided in the meantime: try again")
        return refusal(row)

    @staticmethod
    def _is_new(change: Change, given: Mapping[str, Param]) -> bool:
        """Tell whether a user was created within the window: who tests a provider deletes again."""
        for each in change.users:
            meta = each.before.user.meta if each.before else None
            if each.id == change.resource_id and meta is not None and meta.created is not None:
                return instant(meta.created) > str(given["after"])
        return False

    def _too_many(self, given: Mapping[str, Param]) -> str:
        _, gone, of = self._deprovisionings.standing(
            self._database.query(self._deprovisionings.reads(given))
        )
        window = self._deprovisionings.rules.window
        return (
            f"{gone} of {of} users were deactivated or deleted within {window} minutes, "
            "and no more may be at once"
        )

    def _too_much(self, given: Mapping[str, Param], lost: int) -> str:
        (found,) = self._database.rows(memberships.MEMBERSHIPS, **given)
        taken, of = int(found["taken"]), int(found["there"]) + int(found["taken"])
        rules = self._deprovisionings.rules
        return (
            f"{taken} of {of} memberships of ACL groups were taken away within {rules.window} "
            f"minutes, and {lost} more are too many at once: {rules.memberships_allowed(of)} may be"
        )

    def _beginning(
        self, given: dict[str, Param], reason: str, operation: Deprovisioning | None
    ) -> list[Sql]:
        """Return the steps that begin the quarantine and say so, unless somebody did meanwhile."""
        notice = self._outbox.notice(
            QUARANTINE, self._database.scope.tenant, "begin", detail=reason
        )
        begin = statements.BEGIN if operation else memberships.BEGIN
        bind, event = self._database.bind, notice["id"]
        return [
            bind(begin, **given, why=reason, event=event),
            bind(statements.INSERT_EVENT_OF_BEGINNING, **notice, event=event),
        ]

    def _refused(
        self, given: dict[str, Param], now: datetime, held: Sql, *beginning: Sql
    ) -> dict[str, Any] | None:
        """Write a refusal down, and return the tenant's row; None where nothing is in force."""
        deprovisionings, database = self._deprovisionings, self._database
        if self._dry_run:
            rows = database.rows(statements.STATE, **given)
        else:
            later = instant(now + deprovisionings.window())
            *_, after = database.commit(
                [
                    *deprovisionings.first(given),
                    *beginning,
                    database.bind(statements.REFUSE, **given, rejected_until=later),
                    held,
                    database.bind(statements.STATE, **given),
                ]
            )
            rows = after.data
        return rows[0] if rows and rows[0]["until"] > str(given["now"]) else None

    def _given(self, change: Change, now: datetime, operation: str) -> dict[str, Param]:
        return {**self._deprovisionings.params(now, change.resource_id), "left_by": operation}


def refusal(row: Mapping[str, Any]) -> QuarantineException:
    """Return what a client is told whose request is held back."""
    # A rejection of what was approved in advance has no beginning of its own.
    detail = f"This tenant is in quarantine since {moment(row['since'] or row['decided'])}"
    detail += f": {row['reason']}. " if row["reason"] else ". "
    if row["state"] == statements.REJECTED:
        detail += (
            "An administrator rejected it. Nobody is deactivated or deleted until "
            f"{moment(row['until'])}, and later if such requests go on. To let them through: "
            "kong-scim quarantine approve"
        )
    else:
        detail += (
            "Nobody else is deactivated or deleted until an administrator decides: "
            "kong-scim quarantine show"
        )
    return QuarantineException(detail=detail)


def moment(text: str) -> str:
    """Return a stored date as it is shown: to the second."""
    return text[:19] + "Z"
