"""The part of the demo in which the provider makes a mistake, and the deprovisioning guard holds it
back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from kong_scim_demo.runner import Runner, expect
from kong_scim_demo.table import TableRow

_IDP = "identity provider"
_ADMIN = "administrator"
_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
_BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

PEOPLE = 225
"""More than by default may lose their access at once: half of all memberships, and 100 at least."""


class QuarantineScenario:
    """Plays it: a group that most people are in is deleted, and held back until somebody decides.

    People who have just come may go, as whoever tests a provider deletes them again; what they are
    let into may not all be taken from them at once.

    :param scim: The SCIM endpoint, with a token that may decide as well.
    :param domain: Of the people's names.
    """

    def __init__(self, tell: Runner, scim: httpx.Client, domain: str) -> None:
        self._tell = tell
        self._scim = scim
        self._domain = domain
        self._is_on = False
        self.left: list[str] = []
        """The ids of the people who are still there."""

    def play(self) -> None:
        """Play it, where the gateway has a deprovisioning guard."""
        self._is_on = self._look("open")["state"] != "off"
        if not self._is_on:
            return
        self.left = self._push()
        group = self._let_in()
        standing = self._standing()
        left = standing["membershipsAllowed"] - standing["membershipsTaken"]
        if left >= PEOPLE:  # this gateway has so many people that the story's are few
            self._delete(
                group, 204, lambda: f"{PEOPLE} people are out: of so many that is no mistake"
            )
            return

        def held_back() -> str:
            found = self._standing()
            expect(found["state"] == "quarantined", f"the tenant is {found['state']}")
            held = sum(each["memberships"] for each in found["membershipsHeld"])
            expect(held == PEOPLE, f"{held} are held back")
            return f"nobody lost anything, {PEOPLE} memberships are held back; an event says so"

        self._delete(group, 409, held_back, by="by mistake, ")
        self.approve("it is meant: everything goes through")
        self._delete(group, 204, lambda: f"{PEOPLE} people are out of the group", by="again, ")
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
                return "this gateway has no deprovisioning guard: nothing to see"
            expect(found["state"] == expected, f"the tenant is {found['state']}")
            return (
                f"at most {found['membershipsAllowed']} memberships may be taken away within "
                f"{found['window']} minutes"
            )

        row = TableRow(_ADMIN, "GET /Quarantine", f"200, {expected}")
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

        row = TableRow(_IDP, f"POST /Bulk: {PEOPLE} people", "200, each 201")
        body = {"schemas": [_BULK], "Operations": operations}
        self._tell.one(row, lambda: self._scim.post("/Bulk", json=body), (200, pushed))
        return people

    def _let_in(self) -> str:
        members = [{"value": each} for each in self.left]
        name = f"contractors-{self._domain}"
        body = {"schemas": [_GROUP], "displayName": name, "members": members}
        row = TableRow(_IDP, f"POST /Groups: {PEOPLE} members", "201")
        effect = f"{PEOPLE} people are let in"
        answer = self._tell.one(
            row, lambda: self._scim.post("/Groups", json=body), (201, lambda _: effect)
        )
        return str(answer.json()["id"])

    def _standing(self) -> dict[str, Any]:
        found: dict[str, Any] = self._scim.get("/Quarantine").raise_for_status().json()
        return found

    def _delete(self, group: str, status: int, effect: Callable[[], str], *, by: str = "") -> None:
        row = TableRow(_IDP, f"{by}DELETE /Groups/…", str(status))
        path = f"/Groups/{group}"
        self._tell.one(row, lambda: self._scim.delete(path), (status, lambda _: effect()))

    def _decide(self, decision: str, state: str, effect: str) -> None:
        if not self._is_on:
            return

        def decided(answer: httpx.Response) -> str:
            expect(answer.json()["state"] == state, f"the tenant is {answer.json()['state']}")
            return effect

        row = TableRow(_ADMIN, f"POST /Quarantine: {decision}", f"200, {state}")
        body = {"decision": decision}
        self._tell.one(row, lambda: self._scim.post("/Quarantine", json=body), (200, decided))
