"""A company whose people are on the console: a tenant of a sandbox of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hosts import Gateway, SandboxHost, eventually, running_gateway
from outbox import run, waiting
from receiver import receiver
from scim_traffic import BULK, answered, new_group, new_user, patched_user, unique, user_body
from upstreams import echo_server

FIRST = (
    *("Ada", "Grace", "Alan", "Barbara", "Edsger", "Frances", "Donald", "Hedy", "Linus", "Radia"),
    *("Ken", "Margaret", "Dennis", "Shafi", "Tim", "Karen", "Niklaus", "Adele", "Leslie", "Anita"),
)
LAST = ("Byrne", "Castillo", "Dubois", "Eriksson")

TEAMS = {
    "kong-api-users": range(60),
    "kong-payments": range(10, 40),
    "kong-orders": range(20, 50),
    "kong-reports": range(40, 60, 2),
    "kong-support": range(50, 60),
    "Engineering": range(40),
    "Finance": range(60, 74),
}
NESTED = "kong-platform"
"""A group in which ``Engineering`` is."""

LINUS = "linus.byrne@example.com"
DISABLED = ("frances.byrne@example.com", "donald.byrne@example.com", "hedy.byrne@example.com")
RENAMED = "leslie.byrne@example.com"
"""Whose consumer is renamed by hand."""

DIFFERENCES = 6
"""What :meth:`Company.differ` leaves."""

MAY_GO = 5
LEAVERS = 8
"""How many people may be removed, and how many the provider removes all the same."""

CONFIG: dict[str, Any] = {
    "groups": {"pattern": "kong-(.+)"},
    "quarantine": {"users": MAY_GO},
    "requests": {"keep_bodies": True},
}


@dataclass
class Company:
    """The tenant's gateway, and the ids of its people and groups by their names."""

    gateway: Gateway
    people: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    _leavers: list[str] = field(default_factory=list)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return what an endpoint answers."""
        answer = self.gateway.scim.get(path, params=query or None).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def lift(self) -> None:
        """End the quarantine, and bring in order what Kong has."""
        self.gateway.decide("lift")
        cursor = None
        while True:
            answer = self.gateway.scim.post("/Drift", json={"cursor": cursor}).raise_for_status()
            cursor = answer.json()["next"]
            if cursor is None:
                return

    def differ(self) -> None:
        """Change Kong by hand: :data:`DIFFERENCES` differences, and no others."""
        self.lift()
        admin, frances = self.gateway.admin, self._consumer(DISABLED[0])
        tags = [each for each in frances["tags"] if each != "scim:suspended"]
        extra = {"group": "admins", "tags": ["scim", "scim:a"]}
        for answer in (
            admin.patch(f"/consumers/{frances['id']}", json={"tags": tags}),
            admin.post(f"/consumers/{frances['id']}/key-auth", json={}),
            admin.delete(f"/consumers/{self.people['dennis.byrne@example.com']}/acls/payments"),
            admin.post(f"/consumers/{self.people['tim.byrne@example.com']}/acls", json=extra),
            admin.delete(f"/consumers/{self.people['adele.byrne@example.com']}"),
            admin.patch(f"/consumers/{self.people[RENAMED]}", json={"username": "l.byrne"}),
        ):
            answer.raise_for_status()

    def _consumer(self, name: str) -> dict[str, Any]:
        found = self.gateway.consumer(self.people[name])
        assert found is not None
        return found

    def look(self) -> None:
        """Have a pass in the background look at everybody, as one does of a changed mapping."""
        host = self.gateway.host
        assert isinstance(host, SandboxHost)
        (plugin,) = self.gateway.content["routes"][0]["plugins"]
        # Another number, so that there is a new instance of the plugin, which looks at once.
        every = plugin["config"]["reconcile"]["every"]
        plugin["config"]["reconcile"] = {"every": 15 if every != 15 else 16}
        run(self.gateway, "DELETE FROM scim_drift_passes")
        host.configure(self.gateway.content)
        eventually(lambda: self.get("/Overview")["drift"] is not None, "a pass over everybody")

    def quarantine(self) -> None:
        """Have the provider remove more people than may go."""
        scim = self.gateway.scim
        if self.get("/Quarantine")["state"] == "quarantined":
            return
        self.gateway.decide("approve")
        for each in self._leavers:
            scim.delete(f"/Users/{each}")
        self.gateway.decide("lift")
        self._leavers = [new_user(scim, unique("leaver"))["id"] for _ in range(LEAVERS)]
        # Who is new may go: these have been there for long.
        run(
            self.gateway,
            "UPDATE scim_resources SET created = '2020-01-01T00:00:00.000000+00:00' "
            "WHERE type = 'User'",
        )
        for each in self._leavers:
            scim.delete(f"/Users/{each}")

    def give_up_deliveries(self) -> None:
        """Give up the first deliveries that failed: in time that would take days.

        One that is being sent meanwhile is noted as failed after that, so it takes another try.
        """

        def given_up() -> bool:
            tried = [each["id"] for each in self._deliveries("pending") if each["attempts"]][:3]
            numbers = ", ".join(map(str, tried))
            run(
                self.gateway,
                f"UPDATE scim_deliveries SET state = 'dead' WHERE number IN ({numbers})",
            )
            return len(self._deliveries("dead")) >= 3

        eventually(given_up, "deliveries that are given up")

    def _deliveries(self, state: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/Events/deliveries", state=state, count="200")[
            "deliveries"
        ]
        return found


@contextlib.contextmanager
def founded() -> Iterator[Company]:
    """Run a sandbox, and have the identity provider send everybody.

    Half of the deliveries fail, because the receiver of the webhooks does not take them.
    """
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(receiver())
        target.behave = lambda body: 503 if b"Group" in body else 202
        webhook = {"name": "hr", "url": target.url, "secret": "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="}
        events = {"webhooks": [webhook], "allow_http": True, "allow_hosts": ["127.0.0.1"]}
        beside = {"services": _services(stack.enter_context(echo_server()))}
        gateway = stack.enter_context(
            running_gateway("sandbox", beside=beside, events=events, **CONFIG)
        )
        gateway.scim.headers["User-Agent"] = "Okta SCIM Client 1.0.0"
        company = Company(gateway)
        _send_everybody(company)
        yield company


def _services(upstream: str) -> list[dict[str, Any]]:
    """Return services, each with a route that is open to one ACL group, and one open to anybody."""

    def service(name: str, *plugins: dict[str, Any]) -> dict[str, Any]:
        route = {"name": f"{name}-v1", "paths": [f"/{name}"], "plugins": list(plugins)}
        return {"name": name, "url": upstream, "routes": [route]}

    groups = {"catalog": "api-users", "payments": "payments", "orders": "orders"}
    return [
        *(
            service(name, {"name": "key-auth"}, {"name": "acl", "config": {"allow": [group]}})
            for name, group in groups.items()
        ),
        service("portal"),
    ]


def _send_everybody(company: Company) -> None:
    scim, names = company.gateway.scim, [(first, last) for last in LAST for first in FIRST]
    user_names = [f"{first}.{last}@example.com".lower() for first, last in names]
    operations = [
        {
            "method": "POST",
            "path": "/Users",
            "bulkId": str(number),
            "data": user_body(
                user_name,
                displayName=" ".join(names[number]),
                externalId=f"00u{number:05}",
                emails=[{"value": user_name, "primary": True}],
            ),
        }
        for number, user_name in enumerate(user_names)
    ]
    body = {"schemas": [BULK], "Operations": operations}
    done = answered(scim.post("/Bulk", json=body), 200)["Operations"]
    ids = [each["location"].rpartition("/")[2] for each in done]
    company.people = dict(zip(user_names, ids, strict=True))
    company.groups = {
        name: new_group(scim, *(ids[each] for each in members), name=name)["id"]
        for name, members in TEAMS.items()
    }
    engineering = company.groups["Engineering"]
    company.groups[NESTED] = new_group(scim, engineering, name=NESTED)["id"]
    for name in [*user_names[:3], LINUS]:
        company.gateway.give_key(company.people[name])
    for name in DISABLED:
        operation = {"op": "replace", "path": "active", "value": False}
        patched_user(scim, company.people[name], operation)
    eventually(lambda: waiting(company.gateway) == 0, "the events to be sealed")
