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
"""Members of the group. It is more than the guard lets go at once by default: half of all
memberships, and at least 100."""


class QuarantineScenario:
    """Plays the scenario: the deletion of a large group is held back until somebody decides.

    The scenario does not delete the users, since the guard lets new users be deleted again.

    :param runner: Sends the requests, and shows them.
    :param scim: The SCIM endpoint, with a token that may also decide on the quarantine.
    :param domain: The domain of the users' names.
    """

    def __init__(self, runner: Runner, scim: httpx.Client, domain: str) -> None:
        self._runner = runner
        self._scim = scim
        self._domain = domain
        self._is_on = False
        self.left: list[str] = []
        """The ids of the users that this scenario created."""

    def play(self) -> None:
        """Play the scenario, if the gateway has a deprovisioning guard."""
        self._is_on = self._look("open")["state"] != "off"
        if not self._is_on:
            return
        self.left = self._push()
        group = self._let_in()
        status = self._status()
        left = status["membershipsAllowed"] - status["membershipsTaken"]
        if left >= PEOPLE:  # the gateway has so many users that the guard allows it
            self._delete(
                group, 204, lambda: f"{PEOPLE} people are out: of so many that is no mistake"
            )
            return

        def held_back() -> str:
            status = self._status()
            expect(status["state"] == "quarantined", f"the tenant is {status['state']}")
            held = sum(each["memberships"] for each in status["membershipsHeld"])
            expect(held == PEOPLE, f"{held} are held back")
            return f"nobody lost anything, {PEOPLE} memberships are held back; an event says so"

        self._delete(group, 409, held_back, by="by mistake, ")
        self.approve("it is meant: everything goes through")
        self._delete(group, 204, lambda: f"{PEOPLE} people are out of the group", by="again, ")
        self.lift()

    def approve(self, effect: str) -> None:
        """Approve all deprovisioning for a while, as an administrator also does before a clean-up.

        :param effect: The text to show.
        """
        self._decide("approve", "approved", effect)

    def lift(self) -> None:
        """End the approval."""
        self._decide("lift", "open", "back to normal, counting anew")

    def _look(self, expected: str) -> dict[str, Any]:
        def effect(answer: httpx.Response) -> str:
            status = answer.json()
            if status["state"] == "off":
                return "this gateway has no deprovisioning guard: nothing to see"
            expect(status["state"] == expected, f"the tenant is {status['state']}")
            return (
                f"at most {status['membershipsAllowed']} memberships may be taken away within "
                f"{status['window']} minutes"
            )

        row = TableRow(_ADMIN, "GET /Quarantine", f"200, {expected}")
        answer = self._runner.one(row, lambda: self._scim.get("/Quarantine"), (200, effect))
        status: dict[str, Any] = answer.json()
        return status

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
        self._runner.one(row, lambda: self._scim.post("/Bulk", json=body), (200, pushed))
        return people

    def _let_in(self) -> str:
        members = [{"value": each} for each in self.left]
        name = f"contractors-{self._domain}"
        body = {"schemas": [_GROUP], "displayName": name, "members": members}
        row = TableRow(_IDP, f"POST /Groups: {PEOPLE} members", "201")
        effect = f"{PEOPLE} people are let in"
        answer = self._runner.one(
            row, lambda: self._scim.post("/Groups", json=body), (201, lambda _: effect)
        )
        return str(answer.json()["id"])

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._scim.get("/Quarantine").raise_for_status().json()
        return status

    def _delete(self, group: str, status: int, effect: Callable[[], str], *, by: str = "") -> None:
        row = TableRow(_IDP, f"{by}DELETE /Groups/…", str(status))
        path = f"/Groups/{group}"
        self._runner.one(row, lambda: self._scim.delete(path), (status, lambda _: effect()))

    def _decide(self, decision: str, state: str, effect: str) -> None:
        if not self._is_on:
            return

        def decided(answer: httpx.Response) -> str:
            expect(answer.json()["state"] == state, f"the tenant is {answer.json()['state']}")
            return effect

        row = TableRow(_ADMIN, f"POST /Quarantine: {decision}", f"200, {state}")
        body = {"decision": decision}
        self._runner.one(row, lambda: self._scim.post("/Quarantine", json=body), (200, decided))
