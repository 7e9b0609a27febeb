"""The part of the demo in which the provider makes a mistake, and the safety net holds it."""

from __future__ import annotations

from typing import Any

import httpx

from kong_scim.cli.telling import Teller, expect
from kong_scim.cli.view import Row

_IDP = "identity provider"
_ADMIN = "administrator"
_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

PEOPLE = 225
DELETED = 200
"""With the 25 of the story there are 250 users: of those, by default, 50 may go."""


class Mistake:
    """Plays it: most people are deleted, some of them go through, and somebody decides.

    :param scim: The SCIM endpoint, with a token that may decide as well.
    :param domain: Of the people's names.
    """

    def __init__(self, tell: Teller, scim: httpx.Client, domain: str) -> None:
        self._tell = tell
        self._scim = scim
        self._domain = domain
        self._is_on = False
        self.left: list[str] = []
        """The ids of the people who are still there."""

    def play(self) -> None:
        """Play it, where the gateway has a safety net."""
        self._is_on = self._look("open")["state"] != "off"
        if not self._is_on:
            return
        people = self._push()
        victims, self.left = people[:DELETED], people[DELETED:]
        standing = self._standing()
        through = standing["allowed"] - standing["gone"]

        def held_back() -> str:
            found = self._standing()
            expect(found["state"] == "quarantined", f"the tenant is {found['state']}")
            expect(found["heldTotal"] == DELETED - through, f"{found['heldTotal']} are held back")
            return f"{through} people are gone, {DELETED - through} are held back; an event says so"

        statuses = {204: through, 409: DELETED - through}
        row = Row(_IDP, "by mistake, DELETE /Users/…", f"{through} go through, the rest is 409")
        self._tell.many(row, victims, self._delete, (statuses, held_back))
        self.approve("it is meant: everything goes through")
        rest = victims[through:]
        row = Row(_IDP, "again, DELETE /Users/…", "204 each")
        self._tell.many(row, rest, self._delete, (204, lambda: f"{DELETED} people are gone"))
        self.lift()

    def approve(self, effect: str) -> None:
        """Let everything through, as an administrator does before a clean-up as well."""
        self._decide("approve", "approved", effect)

    def lift(self) -> None:
        """Go back to normal."""
        self._decide("lift", "open", "back to normal, counting anew")

    def _look(self, expected: str) -> dict[str, Any]:
        def effect(answer: httpx.Response) -> str:
            found = answer.json()
            if found["state"] == "off":
                return "this gateway has no safety net: nothing to see"
            expect(found["state"] == expected, f"the tenant is {found['state']}")
            return f"at most {found['allowed']} people may go within {found['window']} minutes"

        row = Row(_ADMIN, "GET /Quarantine", f"200, {expected}")
        answer = self._tell.one(row, lambda: self._scim.get("/Quarantine"), (200, effect))
        found: dict[str, Any] = answer.json()
        return found

    def _push(self) -> list[str]:
        operations = []
        for number in range(PEOPLE):
            user = {"schemas": [_USER], "userName": f"contractor-{number:03}@{self._domain}"}
            operation = {"method": "POST", "path": "/Users", "bulkId": f"p{number}", "data": user}
            operations.append(operation)
        people: list[str] = []

        def pushed(answer: httpx.Response) -> str:
            made = [each for each in answer.json()["Operations"] if each["status"] == "201"]
            people.extend(each["location"].rpartition("/")[2] for each in made)
            expect(len(people) == PEOPLE, f"{len(people)} were created")
            return f"{PEOPLE} more people"

        row = Row(_IDP, f"POST /Bulk: {PEOPLE} people", "200, each 201")
        body = {"schemas": [_BULK], "Operations": operations}
        self._tell.one(row, lambda: self._scim.post("/Bulk", json=body), (200, pushed))
        return people

    def _standing(self) -> dict[str, Any]:
        found: dict[str, Any] = self._scim.get("/Quarantine").raise_for_status().json()
        return found

    def _delete(self, user: str) -> httpx.Response:
        return self._scim.delete(f"/Users/{user}")

    def _decide(self, decision: str, state: str, effect: str) -> None:
        if not self._is_on:
            return

        def decided(answer: httpx.Response) -> str:
            expect(answer.json()["state"] == state, f"the tenant is {answer.json()['state']}")
            return effect

        row = Row(_ADMIN, f"POST /Quarantine: {decision}", f"200, {state}")
        body = {"decision": decision}
        self._tell.one(row, lambda: self._scim.post("/Quarantine", json=body), (200, decided))
