"""The scenario of the demo: people come, get access, lose it and leave, all over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from kong_scim_demo.quarantine_scenario import QuarantineScenario
from kong_scim_demo.runner import ExpectationError, Runner
from kong_scim_demo.runner import expect as _expect
from kong_scim_demo.table import LiveTable, TableRow

__all__ = ["ExpectationError", "Scenario", "Urls"]

_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

_IDP = "identity provider"
_ADMIN = "administrator"
_APP = "application"

_PEOPLE = """
Ada Lovelace, Alan Turing, Annie Easley, Barbara Liskov, Claude Shannon, Dennis Ritchie,
Donald Knuth, Dorothy Vaughan, Edsger Dijkstra, Evelyn Berezin, Frances Allen, Grace Hopper,
Hedy Lamarr, Ivan Sutherland, Jean Bartik, John Backus, Karen Jones, Katherine Johnson,
Ken Thompson, Kristen Nygaard, Lynn Conway, Margaret Hamilton, Mary Jackson, Radia Perlman,
Tony Hoare
"""


@dataclass(frozen=True)
class Urls:
    """The endpoints that the scenario calls.

    :param scim: The SCIM base URL.
    :param token: A bearer token of the SCIM endpoint, with the scope ``scim:admin``.
    :param admin: The URL of the Admin API.
    :param api: The URL of an API behind key-auth and acl.
    :param group: The ACL group that the API lets through.
    :param access_log: The file that file-log writes for calls of the API, or None.
    :param settle: Waits until a hybrid gateway has what was written; None where that counts at
        once. Nobody waits for it after a revocation.
    """

    scim: str
    token: str
    admin: str
    api: str
    group: str
    access_log: Path | None = None
    settle: Callable[[], None] | None = None


class Scenario:
    """Plays the scenario row by row, and stops when an expectation does not hold.

    :ivar heroine: The SCIM id of the user with most of the requests, or None before she exists.
    """

    heroine: str | None = None

    def __init__(self, endpoints: Urls, view: LiveTable) -> None:
        self._endpoints = endpoints
        self._runner = Runner(view)
        self._scim = httpx.Client(
            base_url=endpoints.scim,
            headers={"Authorization": f"Bearer {endpoints.token}"},
            timeout=60,
        )
        self._admin = httpx.Client(base_url=endpoints.admin, timeout=60)
        self._app = httpx.Client(timeout=60)
        # Names are unique to this run, so that it works on a gateway with other users.
        self._domain = f"demo-{secrets.token_hex(3)}.example"
        self._quarantine = QuarantineScenario(self._runner, self._scim, self._domain)
        self._users: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def play(self) -> None:
        """Play the whole scenario.

        :raises ExpectationError: At the first expectation that does not hold. Its row is shown.
        :raises httpx.HTTPError: When an endpoint does not answer. The row is shown too.
        """
        self._test_connection()
        self._push_users()
        self._push_groups()
        self._quarantine.play()
        ada = self._name("Ada Lovelace")
        self.heroine = self._users[ada]
        key = self._give_key(ada)
        self._call(key, 200, "through: a key, and in the group", times=14)
        self._leave_and_come_back(ada, key)
        self._disable_and_enable(ada, key)
        self._delete(ada, self._give_key(ada))
        self._clean_up()

    def close(self) -> None:
        """Close the connections."""
        for client in (self._scim, self._admin, self._app):
            client.close()

    # -- The steps --------------------------------------------------------

    def _test_connection(self) -> None:
        name = secrets.token_hex(8)

        def nobody(answer: httpx.Response) -> str:
            found = answer.json()
            _expect(found["totalResults"] == 0 and found.get("Resources", []) == [])
            return "the connection works: nobody of that name"

        query = f'GET /Users?filter=userName eq "{name}"'
        self._runner.one(
            TableRow(_IDP, query, "200, totalResults 0, no Resources"),
            lambda: self._scim.get("/Users", params={"filter": f'userName eq "{name}"'}),
            (200, nobody),
        )

    def _push_users(self) -> None:
        people = [person.strip() for person in _PEOPLE.replace("\n", " ").split(",")]

        def push(person: str) -> httpx.Response:
            given, family = person.split()
            name = self._name(person)
            user = {
                "schemas": [_USER],
                "userName": name,
                "externalId": f"hr-{name}",
                "name": {"givenName": given, "familyName": family},
                "emails": [{"value": name, "type": "work", "primary": True}],
                "active": True,
            }
            answer = self._scim.post("/Users", json=user)
            if answer.status_code == 201:
                self._users[name] = answer.json()["id"]
            return answer

        def there() -> str:
            for name in self._users:
                consumer = self._admin.get(f"/consumers/{name}")
                _expect(consumer.status_code == 200, f"no consumer {name}")
                _expect("scim" in (consumer.json()["tags"] or []), f"{name} has no tag scim")
            return f"{len(people)} consumers, tagged scim"

        expected = f"201 each, and {len(people)} consumers"
        self._runner.many(TableRow(_IDP, "POST /Users", expected), people, push, (201, there))

    def _push_groups(self) -> None:
        names = list(self._users)
        groups = {
            self._endpoints.group: names[:8],
            f"engineering-{self._domain}": names[4:20],
            f"research-{self._domain}": names[18:],
        }

        def push(group: str) -> httpx.Response:
            members = [{"value": self._users[name]} for name in groups[group]]
            body = {"schemas": [_GROUP], "displayName": group, "members": members}
            answer = self._scim.post("/Groups", json=body)
            if answer.status_code == 201:
                self._groups[group] = answer.json()["id"]
            return answer

        def applied() -> str:
            for name in names:
                expected_groups = {group for group, members in groups.items() if name in members}
                _expect(
                    self._acls(name) == expected_groups, f"{name} is in {sorted(self._acls(name))}"
                )
            return f"{sum(map(len, groups.values()))} ACL groups of {len(names)} consumers"

        expected = "201 each, and every member in its ACL groups"
        self._runner.many(
            TableRow(_IDP, "POST /Groups", expected), list(groups), push, (201, applied)
        )

    def _give_key(self, name: str) -> str:
        answer = self._runner.one(
            TableRow(_ADMIN, f"POST /consumers/{name}/key-auth", "201 with a key"),
            lambda: self._new_key(name),
            (201, lambda _: "one more API key"),
        )
        key: str = answer.json()["key"]
        return key

    def _new_key(self, name: str) -> httpx.Response:
        path = f"/consumers/{name}/key-auth"
        answer = self._admin.post(path, json={})
        if answer.status_code == 405:  # the Admin API of a DB-less Kong is read-only
            answer = self._admin.post(f"/scim-bridge{path}", json={})
        return answer

    def _leave_and_come_back(self, name: str, key: str) -> None:
        group, user = self._endpoints.group, self._users[name]
        path = f"/Groups/{self._groups[group]}"

        def out(_: httpx.Response) -> str:
            _expect(group not in self._acls(name), f"still in {group}")
            return f"out of {group}"

        def back(_: httpx.Response) -> str:
            _expect(group in self._acls(name), f"not in {group}")
            return f"in {group}"

        remove = {"op": "remove", "path": f'members[value eq "{user}"]'}
        self._patch(path, remove, "remove a member", f"204, no longer in {group}", (204, out))
        self._call(key, 403, "refused: not in the group", times=3)
        add = {"op": "add", "path": "members", "value": [{"value": user}]}
        self._patch(path, add, "add a member", f"204, in {group} again", (204, back))
        self._call(key, 200, "through again")

    def _disable_and_enable(self, name: str, key: str) -> None:
        path = f"/Users/{self._users[name]}"

        def locked(answer: httpx.Response) -> str:
            _expect(answer.json()["active"] is False, "the answer says active")
            _expect(self._keys(name) == [], "a key is left")
            _expect(self._acls(name) == set(), "an ACL group is left")
            tags = self._admin.get(f"/consumers/{name}").json()["tags"]
            _expect("scim:suspended" in tags, "no tag scim:suspended")
            return "keys and groups gone, consumer suspended"

        def unlocked(answer: httpx.Response) -> str:
            _expect(answer.json()["active"] is True, "the answer says inactive")
            _expect(self._endpoints.group in self._acls(name), "the ACL groups are not back")
            _expect(self._keys(name) == [], "a key is back")
            tags = self._admin.get(f"/consumers/{name}").json()["tags"]
            _expect("scim:suspended" not in tags, "still suspended")
            return "groups back, no longer suspended"

        disable = {"op": "replace", "value": {"active": False}}
        expected = "200, active false; no key and no group left"
        self._patch(path, disable, "active: false", expected, (200, locked))
        self._call(key, 401, "refused on the very next call", at_once=True)
        enable = {"op": "replace", "value": {"active": True}}
        expected = "200, active true; the groups are back"
        self._patch(path, enable, "active: true", expected, (200, unlocked))
        self._call(key, 401, "the old key stays dead")

    def _delete(self, name: str, key: str) -> None:
        self._call(key, 200, "through with the new key")
        path = f"/Users/{self._users.pop(name)}"

        def gone(_: httpx.Response) -> str:
            status = self._admin.get(f"/consumers/{name}").status_code
            _expect(status == 404, f"the consumer is there: {status}")
            return "the consumer is gone"

        self._runner.one(
            TableRow(_IDP, f"DELETE {_short(path)}", "204, and no such consumer"),
            lambda: self._scim.delete(path),
            (204, gone),
        )
        self._call(key, 401, "refused", at_once=True)

    def _clean_up(self) -> None:
        paths = [f"/Groups/{group}" for group in self._groups.values()]
        paths += [f"/Users/{user}" for user in (*self._users.values(), *self._quarantine.left)]

        def empty() -> str:
            for name in self._users:
                status = self._admin.get(f"/consumers/{name}").status_code
                _expect(status == 404, f"the consumer {name} is there: {status}")
            return "nothing of this story is left"

        self._quarantine.approve("a clean-up is coming, and it is meant")
        expected = "204 each, and no consumer left"
        row = TableRow(_IDP, "DELETE what is left", expected)
        self._runner.many(row, paths, self._scim.delete, (204, empty))
        self._quarantine.lift()

    # -- Output -----------------------------------------------------------

    def _call(
        self, key: str, status: int, effect: str, *, times: int = 1, at_once: bool = False
    ) -> None:
        expected = {status}
        if self._endpoints.settle is not None and at_once:
            expected.add(403)  # the guard's, while the configuration still has the key
        elif self._endpoints.settle is not None:
            self._endpoints.settle()
        words = " or ".join(map(str, sorted(expected)))
        row = TableRow(_APP, f"GET {httpx.URL(self._endpoints.api).path}", words)

        def send() -> httpx.Response:
            return self._app.get(self._endpoints.api, headers={"apikey": key})

        if times == 1:
            self._runner.one(row, send, (expected, lambda _: effect))
        else:
            self._runner.many(row, [key] * times, lambda _: send(), (status, lambda: effect))

    def _patch(
        self,
        path: str,
        operation: dict[str, Any],
        what: str,
        expected: str,
        outcome: tuple[int, Callable[[httpx.Response], str]],
    ) -> None:
        body = {"schemas": [_PATCH], "Operations": [operation]}
        row = TableRow(_IDP, f"PATCH {_short(path)}: {what}", expected)
        self._runner.one(row, lambda: self._scim.patch(path, json=body), outcome)

    # -- Queries to the Admin API -----------------------------------------

    def _name(self, person: str) -> str:
        return f"{person.lower().replace(' ', '.')}@{self._domain}"

    def _acls(self, name: str) -> set[str]:
        answer = self._admin.get(f"/consumers/{name}/acls").raise_for_status()
        return {acl["group"] for acl in answer.json()["data"]}

    def _keys(self, name: str) -> list[str]:
        answer = self._admin.get(f"/consumers/{name}/key-auth").raise_for_status()
        return [credential["key"] for credential in answer.json()["data"]]


def _short(path: str) -> str:
    """Return a resource's path with only the first characters of its id."""
    kind, _, identifier = path.rpartition("/")
    return f"{kind}/{identifier[:8]}…"
