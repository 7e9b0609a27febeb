"""Steps of commits as the tests of the bridge write them, and what is there afterwards."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from kong_scim.bridge import Bridge, BridgeError, Consumer, Step, Upsert


def new_id() -> str:
    return str(uuid.uuid4())


def consumer(name: str, identifier: str | None = None, **fields: Any) -> Upsert:
    return Upsert("consumers", {"id": identifier or new_id(), "username": name, **fields})


def acl(owner: str, group: str, *, unless_present: bool = False) -> Upsert:
    entity = {"id": new_id(), "consumer": {"id": owner}, "group": group}
    return Upsert("acls", entity, unless_present=unless_present)


def key(owner: str, value: str | None = None) -> Upsert:
    entity = {"id": new_id(), "consumer": {"id": owner}, "key": value or new_id()}
    return Upsert("keyauth_credentials", entity)


def read(bridge: Bridge, identifier: str) -> Consumer | None:
    found = bridge.query(consumer_ids=[identifier]).consumers
    return found[0] if found else None


def tags(bridge: Bridge, identifier: str) -> list[str]:
    (found,) = bridge.query(consumer_ids=[identifier]).consumers
    return sorted(found.tags)


def groups(bridge: Bridge, identifier: str) -> list[str]:
    found = read(bridge, identifier)
    return [each.group for each in found.acls] if found else []


def refusal(bridge: Bridge, *steps: Step, **options: Any) -> BridgeError:
    with pytest.raises(BridgeError) as refused:
        bridge.commit(steps, **options)
    return refused.value
