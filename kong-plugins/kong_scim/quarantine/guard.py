"""The deprovisioning guard counts users and memberships that are removed, and holds the rest back
once the limit is reached.

A deactivated or deleted user counts once within the window, whatever the request was (DELETE,
PATCH, PUT, Bulk). It still counts if the user is activated again, because the credentials are gone.
A user who was created within the window does not count. For users who stay active, the memberships
of ACL groups that they lose count.
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
from kong_scim.directory.values import instant, to_the_second, utc_now
from kong_scim.events.outbox import EventOutbox, uuid7
from kong_scim.events.webhooks.formats import QUARANTINE
from kong_scim.quarantine import memberships, statements

Deprovisioning = Literal["deactivate", "delete"]


class QuarantineException(SCIMException):
    """Too many users are deprovisioned at once, and no administrator has approved it (409)."""

    status = 409
    _default_detail = "This tenant is in quarantine"


def deprovisioning(change: Change) -> Deprovisioning | None:
    """Return whether a change deactivates or deletes the user that it writes, else None."""
    for user in change.users:
        if user.id != change.resource_id or user.before is None:
            continue
        if user.after is None:
            return "delete"
        if user.before.is_active and not user.after.is_active:
            return "deactivate"
    return None


def comes_back(change: Change) -> bool:
    """Tell whether a change activates the user that it writes, who was inactive."""
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
    """Counts a tenant's deprovisionings in the database, by the limits of the configuration.

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
        """Return the parameters of the statements.

        :param user: The id of the user whose deprovisioning is not counted.
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

    def first(self, params: Mapping[str, Param]) -> list[Sql]:
        """Return the first steps of each commit that counts: they lock, and delete old rows."""
        begin = (statements.INSERT_TENANT, statements.LOCK, statements.PURGE, memberships.PURGE)
        return [self.database.bind(each, **params) for each in begin]

    def reads(self, params: Mapping[str, Param]) -> list[Sql]:
        """Return the statements whose results :meth:`standing` takes."""
        reads = (statements.STATE, statements.COUNT)
        return [self.database.bind(each, **params) for each in reads]

    @staticmethod
    def standing(rows: Sequence[list[dict[str, Any]]]) -> tuple[dict[str, Any], int, int]:
        """Return the tenant's row, how many deprovisionings count, and how many users there were.

        These users are those who were active when the window began.
        """
        state, ((counted),) = rows
        row = state[0] if state else {"state": statements.OPEN, "until": ""}
        gone = int(counted["gone"])
        return row, gone, int(counted["there"]) + gone


class QuarantineGuard:
    """The :class:`.DeprovisioningGuard` with the limits of a configuration.

    :param dry_run: Whether nothing is written, as in a dry run.
    """

    def __init__(
        self, deprovisionings: Deprovisionings, outbox: EventOutbox, *, dry_run: bool = False
    ) -> None:
        self._deprovisionings = deprovisionings
        self._database = deprovisionings.database
        self._outbox = outbox
        self._dry_run = dry_run

    def guards(self, change: Change, lost: int) -> Sequence[Sql]:
        """Return the steps that count a deprovisioning or a loss, or none for any other change.

        :param lost: How many memberships of ACL groups the change takes away.
        """
        deprovisionings, bind = self._deprovisionings, self._database.bind
        operation, now = deprovisioning(change), deprovisionings.clock()
        if operation is not None:
            params = self._params(change, now, operation)
            if self._is_new(change, params):
                return [bind(statements.PASS_BY, **params)]
            return [*deprovisionings.first(params), bind(statements.DEPART, **params)]
        if comes_back(change):
            return [bind(statements.COME_BACK, **self._params(change, now, "activate"))]
        if lost:
            params = self._params(change, now, "") | {"taken": lost, "loss": uuid7()}
            return [*deprovisionings.first(params), bind(memberships.LOSE, **params)]
        return ()

    def hold(self, change: Change, lost: int) -> Exception:
        """Begin the quarantine unless there is one, count the request, and return its error.

        :return: A :class:`Conflict` if an administrator approved everything in the meantime.
        """
        operation, now = deprovisioning(change), self._deprovisionings.clock()
        params = self._params(change, now, operation or "")
        hold = statements.HOLD
        if operation is None:
            scope = self._database.scope
            held_id = f"held {scope.workspace} {scope.tenant} {change.resource_id}"
            params |= {"taken": lost, "loss": held_id}
            hold = memberships.HOLD
        held = self._database.bind(hold, **params)
        row = self._refused(params, now, held)
        if row is None and (operation is None or not self._is_new(change, params)):
            reason = self._too_many(params) if operation else self._too_much(params, lost)
            if self._dry_run:
                row = {"state": statements.OPEN, "until": "", "decided": ""}
                begun = {"state": statements.QUARANTINED, "since": instant(now), "reason": reason}
                return refusal({**row, **begun})
            row = self._refused(params, now, held, *self._beginning(params, reason, operation))
        if row is None or row["state"] == statements.APPROVED:
            return Conflict(detail="It was decided in the meantime: try again")
        return refusal(row)

    @staticmethod
    def _is_new(change: Change, params: Mapping[str, Param]) -> bool:
        """Tell whether the user was created within the window, as when somebody tests a provider.

        Such a user does not count.
        """
        for each in change.users:
            if each.id == change.resource_id and each.before is not None:
                return each.before.row.created > str(params["after"])
        return False

    def _too_many(self, params: Mapping[str, Param]) -> str:
        _, gone, users = self._deprovisionings.standing(
            self._database.query(self._deprovisionings.reads(params))
        )
        window = self._deprovisionings.rules.window
        return (
            f"{gone} of {users} users were deactivated or deleted within {window} minutes, "
            "and no more may be at once"
        )

    def _too_much(self, params: Mapping[str, Param], lost: int) -> str:
        (found,) = self._database.rows(memberships.MEMBERSHIPS, **params)
        taken, all_ = int(found["taken"]), int(found["there"]) + int(found["taken"])
        rules = self._deprovisionings.rules
        return (
            f"{taken} of {all_} memberships of ACL groups were taken away within {rules.window} "
            f"minutes, and {lost} more are too many at once: "
            f"{rules.memberships_allowed(all_)} may be"
        )

    def _beginning(
        self, params: dict[str, Param], reason: str, operation: Deprovisioning | None
    ) -> list[Sql]:
        """Return the steps that begin the quarantine, with its event, unless it has begun."""
        notice = self._outbox.notice(
            QUARANTINE, self._database.scope.tenant, "begin", detail=reason
        )
        begin = statements.BEGIN if operation else memberships.BEGIN
        bind, event = self._database.bind, notice["id"]
        return [
            bind(begin, **params, why=reason, event=event),
            bind(statements.INSERT_EVENT_OF_BEGINNING, **notice, event=event),
        ]

    def _refused(
        self, params: dict[str, Param], now: datetime, held: Sql, *beginning: Sql
    ) -> dict[str, Any] | None:
        """Count a refusal, and return the tenant's row; None if no quarantine is in force."""
        deprovisionings, database = self._deprovisionings, self._database
        if self._dry_run:
            rows = database.rows(statements.STATE, **params)
        else:
            later = instant(now + deprovisionings.window())
            *_, after = database.commit(
                [
                    *deprovisionings.first(params),
                    *beginning,
                    database.bind(statements.REFUSE, **params, rejected_until=later),
                    held,
                    database.bind(statements.STATE, **params),
                ]
            )
            rows = after.data
        return rows[0] if rows and rows[0]["until"] > str(params["now"]) else None

    def _params(self, change: Change, now: datetime, operation: str) -> dict[str, Param]:
        return {**self._deprovisionings.params(now, change.resource_id), "left_by": operation}


def refusal(row: Mapping[str, Any]) -> QuarantineException:
    """Return the error for a request that is held back.

    :param row: The tenant's row.
    """
    # A rejection after an approval in advance has no `since`.
    detail = f"This tenant is in quarantine since {to_the_second(row['since'] or row['decided'])}"
    detail += f": {row['reason']}. " if row["reason"] else ". "
    if row["state"] == statements.REJECTED:
        detail += (
            "An administrator rejected it. Nobody is deactivated or deleted until "
            f"{to_the_second(row['until'])}, and later if such requests go on. To let them "
            "through: kong-scim quarantine approve"
        )
    else:
        detail += (
            "Nobody else is deactivated or deleted until an administrator decides: "
            "kong-scim quarantine show"
        )
    return QuarantineException(detail=detail)
