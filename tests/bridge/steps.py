"""Steps of commits as the tests of the bridge write them, and what is there afterwards."""

from __future__ import annotations

import uuid
from typing import Any

from kong_scim.bridge import Bridge, Consumer, Upsert


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
