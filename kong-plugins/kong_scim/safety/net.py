"""The safety net: counts who leaves a tenant, and holds the rest back once too many have.

Deactivated and deleted users count, each once within the window, whichever way they left (DELETE,
PATCH, PUT, Bulk). A deactivated user who comes back counts nevertheless: the credentials are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from scim2_models import SCIMException

from kong_scim.bridge import Param, Sql
from kong_scim.config import Quarantine as Rules
from kong_scim.directory import queries
from kong_scim.directory.ports import Change, Conflict, Database, Scope, UserState
from kong_scim.directory.values import instant, utc_now
from kong_scim.lifecycle.events import Outbox
from kong_scim.lifecycle.messages import QUARANTINE
from kong_scim.safety import statements

Departure = Literal["deactivate", "delete"]


class QuarantineException(SCIMException):
    """Too many users are gone at once, and nobody has said that this is meant (409)."""

    status = 409
    _default_detail = "This tenant is in quarantine"


def departure(change: Change) -> Departure | None:
    """Tell whether a change deactivates or deletes the user it writes."""
    for user in change.users:
        if user.id != change.resource_id or user.before is None:
            continue
        if user.after is None:
            return "delete"
        if _is_active(user.before) and not _is_active(user.after):
            return "deactivate"
    return None


class Ledger:
    """Where a tenant's departures are written down, and by which rules they count.

    :param users: The name of the resource type of users.
    """

    def __init__(
        self,
        db: Database,
        scope: Scope,
        users: str,
        rules: Rules,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.db = db
        self.scope = scope
        self.rules = rules
        self.users = users
        self.clock = clock

    def window(self) -> timedelta:
        """Return how long a departure counts."""
        return timedelta(minutes=self.rules.window)

    def params(self, now: datetime, user: str = "") -> dict[str, Param]:
        """Return what the statements take.

        :param user: Whose own departure does not count.
        """
        rules = self.rules
        return {
            **queries.scope_params(self.scope),
            "now": instant(now),
            "after": instant(now - self.window()),
            "user": user,
            "type": self.users,
            "users": rules.users,
            "share": rules.share,
            "at_least": rules.at_least,
            "enough": -(-rules.users * 100 // rules.share),
        }

    def first(self, given: Mapping[str, Param]) -> list[Sql]:
        """Return what any commit that writes here begins with: the lock, and what is forgotten."""
        dialect = self.db.dialect
        prepared = (statements.insert_tenant, statements.lock, statements.purge)
        return [each(dialect).bind(given) for each in prepared]

    def reads(self, given: Mapping[str, Param]) -> list[Sql]:
        """Select what :meth:`standing` reads."""
        dialect = self.db.dialect
        return [
            statements.state(dialect).bind(given),
            statements.count(dialect).bind(given),
            queries.count(dialect, self.scope, self.users),
        ]

    @staticmethod
    def standing(rows: Sequence[list[dict[str, Any]]]) -> tuple[dict[str, Any], int, int]:
        """Return the tenant's row, how many departures count, and of how many users."""
        state, ((counted),), ((there),) = rows
        row = state[0] if state else {"state": statements.OPEN, "until": ""}
        gone = int(counted["gone"])
        return row, gone, int(there["total"]) + int(counted["deleted"])


class SafetyNet:
    """The directory's ``Safety``, by the rules of a configuration.

    :param dry_run: Whether nothing is to be written down.
    """

    def __init__(self, ledger: Ledger, outbox: Outbox, *, dry_run: bool = False) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._dry_run = dry_run

    def guards(self, change: Change) -> Sequence[Sql]:
        """Return the steps that count a departure, where the change is one."""
        operation = departure(change)
        if operation is None:
            return ()
        given = self._given(change, self._ledger.clock(), operation)
        depart = statements.depart(self._ledger.db.dialect)
        return [*self._ledger.first(given), depart.bind(given)]

    def hold(self, change: Change) -> Exception:
        """Begin the quarantine unless there is one, count the request, and return its refusal.

        :return: A :class:`Conflict` where somebody let everything pass in the meantime.
        """
        ledger, now = self._ledger, self._ledger.clock()
        given = self._given(change, now, departure(change) or "delete")
        row = self._refused(given, now)
        if row is None:
            row, gone, of = ledger.standing(ledger.db.query(ledger.reads(given)))
            reason = (
                f"{gone} of {of} users were deactivated or deleted within {ledger.rules.window} "
                "minutes, and no more may be at once"
            )
            if self._dry_run:
                begun = {"state": statements.QUARANTINED, "since": instant(now), "reason": reason}
                return refusal({**row, **begun})
            row = self._refused(given, now, *self._beginning(given, reason))
        if row is None or row["state"] == statements.APPROVED:
            return Conflict(detail="It was decided in the meantime: try again")
        return refusal(row)

    def _beginning(self, given: dict[str, Param], reason: str) -> list[Sql]:
        """Return the steps that begin the quarantine and say so, unless somebody did meanwhile."""
        dialect = self._ledger.db.dialect
        notice = self._outbox.notice(QUARANTINE, self._ledger.scope.tenant, "begin", detail=reason)
        return [
            statements.begin(dialect).bind({**given, "why": reason, "event": notice["id"]}),
            statements.insert_event(dialect).bind({**notice, "event": notice["id"]}),
        ]

    def _refused(
        self, given: dict[str, Param], now: datetime, *beginning: Sql
    ) -> dict[str, Any] | None:
        """Write a refusal down, and return the tenant's row; None where nothing is in force."""
        ledger, dialect = self._ledger, self._ledger.db.dialect
        state = statements.state(dialect).bind(given)
        if self._dry_run:
            (rows,) = ledger.db.query([state])
        else:
            later = {"rejected_until": instant(now + ledger.window())}
            *_, after = ledger.db.commit(
                [
                    *ledger.first(given),
                    *beginning,
                    statements.refuse(dialect).bind({**given, **later}),
                    statements.hold(dialect).bind(given),
                    state,
                ]
            )
            rows = after.data
        return rows[0] if rows and rows[0]["until"] > str(given["now"]) else None

    def _given(self, change: Change, now: datetime, operation: Departure) -> dict[str, Param]:
        return {**self._ledger.params(now, change.resource_id), "left_by": operation}


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


def _is_active(state: UserState) -> bool:
    return getattr(state.user, "active", None) is not False
