"""Whether SCIM resources, the rows they are stored in, and Kong's entities say the same.

    assert disagreements(gateway) == []

What SCIM shows is read through the front door and what Kong has through its Admin API; the tables
are read past both, in the host's own database. For the configuration of :mod:`hosts`, whose tenants
map names as they are.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from hosts import Gateway
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.values import Value, rows, uniques
from kong_scim.protocol.resources import provider
from scim_traffic import KONG

_TOGETHER = 20
"""How many names one filter asks for."""

_TABLES = ("scim_resources", "scim_values", "scim_unique", "scim_members")

_ORPHANS = {
    "scim_values": ("resource_id",),
    "scim_unique": ("resource_id",),
    "scim_members": ("group_id", "member_id"),
}


def disagreements(gateway: Gateway) -> list[str]:
    """Return a sentence for each thing that two places say differently; none where all is well."""
    tables = Tables.of(gateway)
    tenants = [
        Tenant("a", gateway.scim, gateway),
        Tenant("b", gateway.other_scim, gateway),
    ]
    consumers = [each for each in gateway.consumers() if "scim" in (each["tags"] or ())]
    found = [sentence for tenant in tenants for sentence in tenant.problems(consumers, tables)]
    known = {user["id"] for tenant in tenants for user in tenant.users}
    for consumer in consumers:
        if not known & _user_ids(consumer):
            found.append(f"consumer {consumer['username']!r} has no user")
    return [*found, *tables.problems()]


def listed(client: httpx.Client, kind: str, **query: Any) -> list[dict[str, Any]]:
    """Return all resources of a type, whole, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        params = {"startIndex": len(found) + 1, **query}
        answer = client.get(kind, params=params).raise_for_status().json()
        found += answer.get("Resources", [])
        if len(found) >= answer["totalResults"] or not answer.get("Resources"):
            return found


@dataclass
class Tenant:
    """What one identity provider sees, held against Kong."""

    name: str
    scim: httpx.Client
    gateway: Gateway

    @cached_property
    def users(self) -> list[dict[str, Any]]:
        """Whole, with what the gateway says of them."""
        kong = {each["id"]: each[KONG] for each in listed(self.scim, "/Users", attributes=KONG)}
        return [{**user, KONG: kong[user["id"]]} for user in listed(self.scim, "/Users")]

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        return listed(self.scim, "/Groups")

    @cached_property
    def above(self) -> Mapping[str, set[str]]:
        """The ids of the groups that each resource is a member of, directly."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for group in self.groups:
            for member in group.get("members", []):
                found[member["value"]].add(group["id"])
        return found

    def all_above(self, resource_id: str) -> set[str]:
        """Return the ids of every group a resource is in, nested ones flattened."""
        found: set[str] = set()
        waiting = [resource_id]
        while waiting:
            new = self.above.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    def problems(self, consumers: Iterable[dict[str, Any]], tables: Tables) -> Iterator[str]:
        by_user: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for consumer in consumers:
            for user_id in _user_ids(consumer):
                by_user[user_id].append(consumer)
        for user in self.users:
            yield from self._user(user, by_user[user["id"]])
        yield from self._members(tables)
        yield from self._reads()
        yield from self._searches()

    def _user(self, user: dict[str, Any], consumers: list[dict[str, Any]]) -> Iterator[str]:
        who = f"user {user['userName']!r} ({user['id']})"
        shown, groups = user[KONG], {group["id"]: group for group in self.groups}
        direct = {each["value"] for each in user.get("groups", []) if each["type"] == "direct"}
        every = {each["value"] for each in user.get("groups", [])}
        above = self.all_above(user["id"])
        yield from _differ(f"{who}: direct groups", direct, self.above.get(user["id"], set()))
        yield from _differ(f"{who}: groups", every, above)
        for each in user.get("groups", []):
            name = groups.get(each["value"], {}).get("displayName")
            yield from _differ(f"{who}: the name of a group", each["display"], name)
        if len(consumers) != 1:
            yield f"{who} has {len(consumers)} consumers"
            return
        (consumer,) = consumers
        active = user.get("active") is not False
        tags = {"scim", f"scim:{self.name}", f"scim-user:{user['id']}"}
        tags |= set() if active else {"scim:suspended"}
        if "revokedAt" in shown:
            moment = datetime.fromisoformat(shown["revokedAt"])
            tags.add(f"scim-revoked-at:{int(moment.timestamp())}")
        elif not active:
            yield f"{who} was deactivated and does not say when"
        yield from _differ(f"{who}: consumer id", shown.get("consumerId"), consumer["id"])
        yield from _differ(f"{who}: username", user["userName"], consumer["username"])
        yield from _differ(f"{who}: shown username", shown.get("username"), consumer["username"])
        yield from _differ(f"{who}: custom_id", user.get("externalId"), consumer["custom_id"])
        events = {tag for tag in consumer["tags"] if tag.startswith("scim-event:")}
        yield from _differ(f"{who}: events that changed it last", len(events), 1)
        yield from _differ(f"{who}: tags", tags, set(consumer["tags"]) - events)
        yield from _differ(f"{who}: suspended", shown["suspended"], not active)
        wanted = {groups[each]["displayName"].strip() for each in above if each in groups}
        wanted |= {f"role:{role['value']}" for role in user.get("roles", [])}
        wanted = wanted if active else set()
        path = f"/consumers/{consumer['id']}"
        acls = self.gateway.admin.get(f"{path}/acls?size=1000").raise_for_status().json()["data"]
        held = [acl["group"] for acl in acls if f"scim:{self.name}" in (acl["tags"] or ())]
        yield from _differ(f"{who}: ACL groups", sorted(wanted), sorted(held))
        yield from _differ(f"{who}: shown groups", shown.get("accessGroups", []), sorted(held))
        keys = self.gateway.admin.get(f"{path}/key-auth").raise_for_status().json()["data"]
        if keys and not active:
            yield f"{who} is inactive and has {len(keys)} keys"

    def _members(self, tables: Tables) -> Iterator[str]:
        mine = {each["id"] for each in self.groups}
        stored = {
            (row["group_id"], row["member_id"], row["member_type"])
            for row in tables.rows["scim_members"]
            if row["group_id"] in mine
        }
        shown = {
            (group["id"], member["value"], member["type"])
            for group in self.groups
            for member in group.get("members", [])
        }
        yield from _differ(f"tenant {self.name}: members", shown, stored)
        for kind, resources in (("User", self.users), ("Group", self.groups)):
            rows = {
                row["id"]
                for row in tables.rows["scim_resources"]
                if (row["tenant"], row["type"]) == (self.name, kind)
            }
            ids = [each["id"] for each in resources]
            yield from _differ(f"tenant {self.name}: rows of {kind}s", sorted(ids), sorted(rows))

    def _reads(self) -> Iterator[str]:
        for kind, resources in (("/Users", self.users), ("/Groups", self.groups)):
            for listed_one in resources:
                path = f"{kind}/{listed_one['id']}"
                answer = self.scim.get(path)
                if answer.status_code != 200:
                    yield f"{path} is listed and answers {answer.status_code}"
                    continue
                whole = {name: value for name, value in listed_one.items() if name != KONG}
                yield from _differ(path, _unordered(answer.json()), _unordered(whole))

    def _searches(self) -> Iterator[str]:
        for kind, attribute, resources in (
            ("/Users", "userName", self.users),
            ("/Users", "externalId", [each for each in self.users if "externalId" in each]),
            ("/Groups", "displayName", self.groups),
        ):
            names = sorted({each[attribute] for each in resources})
            for start in range(0, len(names), _TOGETHER):
                chunk = names[start : start + _TOGETHER]
                wanted = {each["id"] for each in resources if each[attribute] in chunk}
                text = " or ".join(f"{attribute} eq {json.dumps(name)}" for name in chunk)
                yield from self._search(kind, text, wanted)
        for truth in (True, False):
            wanted = {each["id"] for each in self.users if each.get("active") is truth}
            yield from self._search("/Users", f"active eq {json.dumps(truth)}", wanted)
            wanted = {each["id"] for each in self.users if each[KONG]["suspended"] is truth}
            yield from self._search("/Users", f"{KONG}:suspended eq {json.dumps(truth)}", wanted)
        for group in self.groups:
            within = {
                user["id"] for user in self.users if group["id"] in self.all_above(user["id"])
            }
            yield from self._search("/Users", f'groups.value eq "{group["id"]}"', within)
        held = {user["id"]: user[KONG].get("accessGroups", []) for user in self.users}
        for name in sorted({each for names in held.values() for each in names}):
            wanted = {user_id for user_id, names in held.items() if name in names}
            text = f"{KONG}:accessGroups eq {json.dumps(name)}"
            yield from self._search("/Users", text, wanted)

    def _search(self, kind: str, text: str, wanted: set[str]) -> Iterator[str]:
        found = [each["id"] for each in listed(self.scim, kind, filter=text, attributes="id")]
        yield from _differ(f"{kind}?filter={text}", sorted(found), sorted(wanted))


@dataclass
class Tables:
    """The SCIM tables of a host, read in its own database."""

    rows: Mapping[str, list[dict[str, Any]]]
    _kinds: Kinds = field(
        default_factory=lambda: Kinds(
            provider(PluginConfig.model_validate({"tokens": [{"name": "a", "value": "b"}]}))
        )
    )

    @classmethod
    def of(cls, gateway: Gateway) -> Tables:
        """Read them all in one transaction, but for the events, which outlive what they tell of."""
        if gateway.host.sqlite is not None:
            with contextlib.closing(sqlite3.connect(gateway.host.sqlite)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")
                return cls(_without_events({name: _all(connection, name) for name in _TABLES}))
        dsn = gateway.host.postgres.dsn
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return cls(_without_events({name: _all(connection, name) for name in _TABLES}))

    def problems(self) -> Iterator[str]:
        """Yield what of the rows is not as the documents say."""
        present = {row["id"] for row in self.rows["scim_resources"]}
        for table, columns in _ORPHANS.items():
            for column in columns:
                orphans = {row[column] for row in self.rows[table]} - present
                yield from _differ(f"{table}.{column} of nothing", orphans, set())
        values: defaultdict[str, set[Any]] = defaultdict(set)
        for row in self.rows["scim_values"]:
            values[row["resource_id"]].add(_comparable(Value(*(row[n] for n in Value._fields))))
        claims: defaultdict[str, set[Any]] = defaultdict(set)
        for row in self.rows["scim_unique"]:
            claims[row["resource_id"]].add((row["tenant"], row["attr"], row["digest"]))
        for columns in self.rows["scim_resources"]:
            row, kind = StoredRow.read(columns), self._kinds.of(columns["type"])
            who = f"{row.type} {row.display!r} ({row.id})"
            wanted = set(map(_comparable, rows(kind, row.doc)))
            yield from _differ(f"{who}: scim_values", values[row.id], wanted)
            claimed = {
                (columns["tenant"], urn, digest)
                for urn, (digest, _) in uniques(kind, row.doc).items()
            }
            yield from _differ(f"{who}: scim_unique", claims[row.id], claimed)
            shown = (columns["display"], columns["display_key"])
            yield from _differ(f"{who}: display", shown, (row.display, row.display_key(kind)))


def _without_events(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    events = {row["id"] for row in rows["scim_resources"] if row["type"] == "Event"}
    return {
        name: [row for row in found if row.get("resource_id", row.get("id")) not in events]
        for name, found in rows.items()
    }


def _comparable(value: Value) -> tuple[Any, ...]:
    number = None if value.num is None else float(value.num)
    return (value.attr, value.entry, value.item, value.val, value.head, number, value.sorts)


def _all(connection: Any, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]


def _user_ids(consumer: Mapping[str, Any]) -> set[str]:
    tags = consumer["tags"] or ()
    return {tag.removeprefix("scim-user:") for tag in tags if tag.startswith("scim-user:")}


def _unordered(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a resource whose memberships are in one order: neither answer promises any."""
    lists = {
        name: sorted(resource[name], key=lambda entry: str(entry["value"]))
        for name in ("groups", "members")
        if name in resource
    }
    return {**resource, **lists}


def _differ(what: str, one: Any, other: Any) -> Iterator[str]:
    if one == other:
        return
    if isinstance(one, set):
        yield f"{what}: {sorted(one - other, key=str)} against {sorted(other - one, key=str)}"
    else:
        yield f"{what}: {one!r} against {other!r}"
