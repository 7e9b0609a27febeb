"""Shows a tenant's quarantine to an administrator, and carries out what he decides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeAlias, get_args

from scim2_models import SCIMException

from kong_scim.bridge import BridgeError
from kong_scim.directory import queries
from kong_scim.directory.values import instant, to_the_second
from kong_scim.events.outbox import INSERT_EVENT, EventOutbox
from kong_scim.events.webhooks.formats import QUARANTINE
from kong_scim.quarantine import memberships, statements
from kong_scim.quarantine.guard import Deprovisionings

Decision: TypeAlias = Literal["approve", "reject", "lift"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)

LISTED = 1000
"""Entries of each list at most."""

_STATE_AFTER: Mapping[Decision, str] = {
    "approve": statements.APPROVED,
    "reject": statements.REJECTED,
    "lift": statements.OPEN,
}


class NothingToRejectException(SCIMException):
    """There is no quarantine that could be rejected (409)."""

    status = 409
    _default_detail = "This tenant is not in quarantine: there is nothing to reject"


class QuarantineDecisions:
    """Shows the quarantine of one tenant, and carries out decisions on it.

    :param outbox: Writes an event of each decision.
    """

    def __init__(self, deprovisionings: Deprovisionings, outbox: EventOutbox) -> None:
        self._deprovisionings = deprovisionings
        self._outbox = outbox

    def show(self) -> dict[str, Any]:
        """Return the state of the quarantine in JSON form, without members that have no value.

        ``state``
            ``off``, ``open``, ``quarantined``, ``approved`` or ``rejected``.
        ``users``, ``gone``, ``allowed``, ``window``
            The number of users who were active when the window began, how many of them were
            deprovisioned since, how many may be, and the length of the window in minutes.
        ``since``, ``until``, ``reason``, ``refused``, ``decided``, ``decidedBy``
            The begin, end and reason of a quarantine, the number of requests that it refused, and
            the time and the actor of the last decision.
        ``removedTotal``, ``removed``, ``heldTotal``, ``held``
            The number of users who were deprovisioned, or whose deprovisioning is held back, and
            the first 1000 of them: ``{"id", "userName", "operation", "at", "refused"}``. Deleted
            users have no name.
        ``memberships``, ``membershipsTaken``, ``membershipsAllowed``, ``membershipsHeld``
            The number of memberships of ACL groups, how many were taken away and may be, and the
            first 1000 changes that are held back: ``{"id", "display", "memberships", "at"}``.
        """
        deprovisionings, now = self._deprovisionings, self._deprovisionings.clock()
        params, bind = deprovisionings.params(now), deprovisionings.database.bind
        listed = (statements.GONE, statements.WAITING)
        *standing, (counted,), lost, totals, removed, held = deprovisionings.database.query(
            [
                *deprovisionings.reads(params),
                bind(memberships.MEMBERSHIPS, **params),
                bind(memberships.HELD_LOSSES, limit=LISTED),
                bind(statements.TOTALS),
                *(bind(statements.LISTED, wanted=each, limit=LISTED) for each in listed),
            ]
        )
        row, gone, users = deprovisionings.standing(standing)
        ids = [each["user_id"] for each in (*removed, *held)]
        names = self._names([*ids, *(each["resource_id"] for each in lost)])
        in_force = row["until"] > str(params["now"])
        state = row["state"] if in_force else statements.OPEN
        removed_total = _total(totals, statements.GONE)
        if in_force:  # then nothing counts, and the count is the number of those who are removed
            gone, users = removed_total, users + removed_total
        taken = int(counted["taken"])
        memberships_ = int(counted["there"]) + taken
        shown: dict[str, Any] = {
            "state": state if deprovisionings.rules.enabled else "off",
            "users": users,
            "gone": gone,
            "allowed": deprovisionings.rules.allowed(users),
            "window": deprovisionings.rules.window,
            "removedTotal": removed_total,
            "removed": [_user(each, names) for each in removed],
            "heldTotal": _total(totals, statements.WAITING),
            "held": [_user(each, names) for each in held],
            "memberships": memberships_,
            "membershipsTaken": taken,
            "membershipsAllowed": deprovisionings.rules.memberships_allowed(memberships_),
            "membershipsHeld": [_loss(each, names) for each in lost],
        }
        if in_force and row["since"]:
            shown |= {
                "since": to_the_second(row["since"]),
                "reason": row["reason"],
                "refused": int(row["refused"]),
            }
        if in_force and state != statements.QUARANTINED:
            shown["until"] = to_the_second(row["until"])
        if row.get("decided"):
            shown |= {"decided": to_the_second(row["decided"]), "decidedBy": row["decided_by"]}
        return shown

    def summary(self) -> dict[str, Any]:
        """Return the ``state`` of :meth:`show`, and as ``held`` its ``heldTotal``, without counting
        anything else."""
        deprovisionings, now = self._deprovisionings, self._deprovisionings.clock()
        bind = deprovisionings.database.bind
        rows, totals = deprovisionings.database.query(
            [bind(statements.STATE), bind(statements.TOTALS)]
        )
        state = statements.OPEN
        if rows and rows[0]["until"] > instant(now):
            state = rows[0]["state"]
        return {
            "state": state if deprovisionings.rules.enabled else "off",
            "held": _total(totals, statements.WAITING),
        }

    def decide(self, decision: Decision, actor: str, minutes: int | None = None) -> dict[str, Any]:
        """Carry out a decision, and return the state after it as :meth:`show` does.

        ``approve``: nothing is held back and nothing counts for some minutes. There need not be a
        quarantine. ``reject``: everything is held back until a whole window has passed without such
        a request. ``lift``: the quarantine ends, and counting begins anew.

        :param actor: The name of the token of the request.
        :param minutes: How long an approval lasts; None for the length of the window.
        :raises NothingToRejectException: For a rejection without a quarantine.
        """
        deprovisionings, now = self._deprovisionings, self._deprovisionings.clock()
        duration = timedelta(minutes=minutes) if minutes else deprovisionings.window()
        until = now if decision == "lift" else now + duration
        database, params = deprovisionings.database, deprovisionings.params(now)
        shown = to_the_second(instant(until))
        detail = {
            "approve": f"nothing is held back until {shown}",
            "reject": f"nobody is deactivated or deleted until {shown}, and later "
            "if such requests go on",
            "lift": "it is over, and counting begins anew",
        }[decision]
        notice = self._outbox.notice(QUARANTINE, database.scope.tenant, decision, detail=detail)
        decide = database.bind(
            statements.DECIDE_IN_FORCE if decision == "reject" else statements.DECIDE,
            **params,
            becomes=_STATE_AFTER[decision],
            lasts=instant(until),
            actor=actor,
        )
        event = database.bind(INSERT_EVENT, **notice)
        try:
            database.commit([*deprovisionings.first(params), decide, event])
        except BridgeError as error:
            if error.label == statements.DECISION:
                raise NothingToRejectException from None
            raise
        return self.show()

    def _names(self, ids: list[str]) -> dict[str, str]:
        database = self._deprovisionings.database
        found = database.query(queries.some(database, ids)) if ids else []
        return {row["id"]: _name(json.loads(row["doc"])) for rows in found for row in rows}


def _total(totals: Iterable[Mapping[str, Any]], state: str) -> int:
    return sum(int(each["total"]) for each in totals if each["state"] == state)


def _name(doc: Mapping[str, Any]) -> str:
    return str(doc.get("userName") or doc.get("displayName") or "")


def _loss(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    shown = {
        "id": row["resource_id"],
        "display": names.get(row["resource_id"]),
        "memberships": int(row["memberships"]),
        "at": to_the_second(row["at"]),
    }
    return {name: value for name, value in shown.items() if value}


def _user(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    shown = {
        "id": row["user_id"],
        "userName": names.get(row["user_id"]),
        "operation": row["operation"],
        "at": to_the_second(row["at"]),
        "refused": int(row["refused"]),
    }
    return {name: value for name, value in shown.items() if value}
