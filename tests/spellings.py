"""Payloads in canonical form, and in the spellings that mean the same."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx

from scim_traffic import BULK, CORE_USER, ENTERPRISE

Payload = dict[str, Any]

TEXTS = ("displayName", "nickName", "title", "userType", "locale", "timezone")
PARTS = ("givenName", "familyName", "formatted", "honorificPrefix")
EXTENDED = ("department", "employeeNumber", "costCenter", "division")
LISTS = ("emails", "phoneNumbers", "roles", "entitlements")


def canonical_user(chance: random.Random) -> Payload:
    """Return attributes of a user in canonical form, without its name and schemas."""
    found: Payload = {"active": chance.random() < 0.5}
    for name in chance.sample(TEXTS, chance.randrange(3)):
        found[name] = _text(chance)
    parts = chance.sample(PARTS, chance.randrange(3))
    if parts:
        found["name"] = {part: _text(chance) for part in parts}
    for name in chance.sample(LISTS, chance.randrange(3)):
        kinds = chance.sample(["work", "home", "office"], chance.randrange(1, 3))
        found[name] = [{"value": _text(chance), "type": kind} for kind in kinds]
        if chance.random() < 0.5:
            found[name][0]["primary"] = True
    extended: Payload = {
        name: _text(chance) for name in chance.sample(EXTENDED, chance.randrange(3))
    }
    if chance.random() < 0.3:
        extended["manager"] = {"value": _text(chance)}
    if extended:
        found[ENTERPRISE] = extended
    return found


def respelled(chance: random.Random, payload: Payload) -> Payload:
    """Return a payload that means the same in other keys and other shapes of values."""
    found: Payload = {}
    nested: Payload = {}
    for name, value in payload.items():
        if name == ENTERPRISE:
            found |= _respelled_extension(chance, value)
        elif name == "name" and chance.random() < 0.6:
            found |= {_key(chance, f"name.{part}"): each for part, each in value.items()}
        elif name in LISTS and chance.random() < 0.4:
            found |= _selected(chance, name, value)
        elif chance.random() < 0.2:
            nested[_case(chance, name)] = _value(chance, name, value)
        else:
            found[_key(chance, name)] = _value(chance, name, value)
    if nested:
        found[chance.choice([CORE_USER, CORE_USER.upper(), "urn:scim:schemas:core:2.0:User"])] = (
            nested
        )
    items = list(found.items())
    chance.shuffle(items)
    return dict(items)


def _respelled_extension(chance: random.Random, value: Payload) -> Payload:
    urn = chance.choice(
        [ENTERPRISE, ENTERPRISE.upper(), "urn:scim:schemas:extension:enterprise:2.0:User"]
    )
    found: Payload = {}
    inside: Payload = {}
    for name, each in value.items():
        shape = _value(chance, name, each)
        if name == "manager" and chance.random() < 0.5:
            found[f"{urn}:manager.value"] = each["value"]
        elif chance.random() < 0.4:
            found[f"{urn}:{_case(chance, name)}"] = shape
        elif chance.random() < 0.3:
            inside[f"{ENTERPRISE}:{name}"] = shape
        else:
            inside[_case(chance, name)] = shape
    return {**found, urn: inside} if inside else found


def _selected(chance: random.Random, name: str, entries: list[Payload]) -> Payload:
    return {
        _key(chance, f'{name}[type eq "{each["type"]}"].{part}'): _value(chance, part, value)
        for each in entries
        for part, value in each.items()
        if part != "type"
    }


def _value(chance: random.Random, name: str, value: Any) -> Any:
    """Return a value in a shape that means the same."""
    if isinstance(value, bool):
        value = chance.choice([value, str(value), str(value).lower()])
    if name == "manager" and chance.random() < 0.5:
        return value["value"]
    if isinstance(value, dict):
        return {_case(chance, part): each for part, each in value.items()}
    if isinstance(value, list):
        return [{_case(chance, part): each for part, each in entry.items()} for entry in value]
    return chance.choice([value, value, [{"$ref": None, "value": value}], {"value": value}])


def _key(chance: random.Random, path: str) -> str:
    head, bracket, rest = path.partition("[")
    if not bracket:
        head = _case(chance, head)
    prefix = chance.choice(["", "", f"{CORE_USER}:", "urn:scim:schemas:core:2.0:"])
    return f"{prefix}{head}{bracket}{rest}"


def _case(chance: random.Random, name: str) -> str:
    return chance.choice([name, name, name.upper(), name.lower(), name[0].upper() + name[1:]])


def _text(chance: random.Random) -> str:
    return "".join(chance.choice("abcdé ß.-") for _ in range(6)).strip() or "x"


def hold_the_same(scim: httpx.Client, chance: random.Random) -> None:
    """Write a payload and its spellings in every way, and hold that one resource comes of all."""
    meant = canonical_user(chance)
    name = f"same-{chance.getrandbits(64):x}"
    expected = _outcome(scim, name, lambda: scim.post("/Users", json=_body(name, meant)))
    for way in ("POST", "PUT", "PATCH", "paths", "bulk"):
        sent = respelled(chance, meant)
        got = _outcome(scim, name, lambda way=way, sent=sent: _write(scim, way, name, sent))
        assert got == expected, f"{way} of {json.dumps(sent)} is not {json.dumps(meant)}"


def _body(name: str, attributes: Payload) -> Payload:
    return {"schemas": [CORE_USER], "userName": name, **attributes}


def _write(scim: httpx.Client, way: str, name: str, sent: Payload) -> httpx.Response:
    if way == "POST":
        return scim.post("/Users", json=_body(name, sent))
    if way == "bulk":
        operation = {"method": "POST", "path": "/Users", "bulkId": "a", "data": _body(name, sent)}
        answer = scim.post("/Bulk", json={"schemas": [BULK], "Operations": [operation]})
        (result,) = answer.json()["Operations"]
        assert result["status"] == "201", result
        return scim.get(result["location"])
    user = scim.post("/Users", json=_body(name, {"active": False})).json()
    if way == "PUT":
        return scim.put(f"/Users/{user['id']}", json=_body(name, sent))
    operations = [{"op": "Add", "value": sent}]
    if way == "paths":
        operations = [{"op": "Replace", "path": key, "value": each} for key, each in sent.items()]
    return scim.patch(f"/Users/{user['id']}", json={"Operations": operations})


def _outcome(scim: httpx.Client, name: str, write: Any) -> Any:
    """Return what a user is after a write, and delete it."""
    response = write()
    assert response.status_code in (200, 201), response.text
    answer = response.json()
    shown = scim.get(f"/Users/{answer['id']}").json()
    assert answer == shown
    assert scim.delete(f"/Users/{answer['id']}").status_code == 204
    for each in ("id", "meta"):
        del shown[each]
    for each in shown.values():
        if isinstance(each, list):
            each.sort(key=json.dumps)
    return json.dumps(shown, sort_keys=True)
