"""What the guard remembers of consumers, and when it sets the fields for log plugins."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import pytest

from kong_scim.bridge import Delete, Upsert
from lua_node import LuaNode

OWNER = str(uuid.uuid4())

LOAD = f"""
    local consumers = require "kong.plugins.scim-bridge.consumers"
    given = consumers.load("{OWNER}", given)
    before, state = state, given and consumers.state(given)
    return state
"""
"""Reads a consumer for a request that brings the table which was read before."""

IS_WRITTEN = """
    local log_fields = require "kong.plugins.scim-bridge.log_fields"
    return log_fields.is_written_by({ %s })
"""


def write(node: LuaNode, *tags: str) -> None:
    entity = {"id": OWNER, "username": "alice", "tags": ["scim", "scim:a", *tags]}
    node.bridge.commit([Upsert("consumers", entity)])


def test_a_consumer_that_was_let_in_before_is_judged_by_its_tags_of_now(node: LuaNode) -> None:
    session = {"began": 1000, "consumer": OWNER, "credential": "k"}
    write(node)
    for _ in range(3):
        assert "exit" not in node.access(OWNER, session=session)

    write(node, "scim-revoked-at:1000")
    assert node.access(OWNER, session=session)["exit"]["status"] == 403

    write(node)
    assert "exit" not in node.access(OWNER, session=session)


def test_tags_are_read_once_for_each_load_of_a_consumer(node: LuaNode) -> None:
    write(node, "scim-user:u1")
    node.lua(LOAD)  # from the database, and then from the cache
    state = node.lua(LOAD)

    assert (state.user_id, state.tenant, state.managed) == ("u1", "a", True)
    node.lua(LOAD)
    assert node.lua("return rawequal(before, state)")


def test_a_table_that_an_authentication_plugin_keeps_does_not_hide_a_change(node: LuaNode) -> None:
    write(node)
    node.lua(LOAD)
    assert node.lua(LOAD).suspended is None

    write(node, "scim:suspended")
    assert node.lua(LOAD).suspended

    node.bridge.commit([Delete("consumers", OWNER)])
    assert node.lua(LOAD) is None


def plugins(names: Iterable[str], phases: str) -> str:
    return ", ".join(f'{{ name = "{name}", handler = {phases} }}' for name in names)


@pytest.mark.parametrize(
    ("names", "phases", "written"),
    [
        (["key-auth", "acl"], "{}", False),
        (["prometheus", "scim-bridge", "scim", "zipkin"], "{ log = print }", False),
        (["prometheus", "file-log"], "{ log = print }", True),
        (["a plugin that this project does not know"], "{ log = print }", True),
        ([], "{}", False),
    ],
)
def test_the_log_fields_are_set_only_where_a_plugin_may_write_them(
    node: LuaNode, names: list[str], phases: str, written: bool
) -> None:
    assert node.lua(IS_WRITTEN % plugins(names, phases)) is written
