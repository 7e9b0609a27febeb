"""The directory on the gateway: what Kong refuses at the commit, and what cannot work at all."""

from __future__ import annotations

from uuid import uuid4

import pytest
from scim2_models import InvalidValueException, UniquenessException
from sync_support import config

from kong_scim.bridge import Delete, Sql, Upsert, bridge_error
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Conflict
from kong_scim.protocol.resources import provider
from kong_scim.sync.gateway import GatewayDatabase
from kong_scim.tenant import check

# -- what Kong answers at the commit ---------------------------------------


class RefusingBridge:
    def __init__(self, error):
        self.error = error

    def commit(self, steps):
        raise self.error


CONSUMER = Upsert("consumers", {"id": str(uuid4()), "username": "alice"})
ACL = Upsert("acls", {"id": str(uuid4()), "group": "a"}, unless_present=True)
STATEMENT = Sql("UPDATE scim_resources SET version = 2", rows=1)


def refused(error, *steps):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the kind is what each test asks about
        GatewayDatabase(RefusingBridge(error), "postgresql").commit(steps)
    return caught.value


def test_a_name_taken_since_it_was_looked_up_is_a_409_that_names_it():
    error = bridge_error(
        "unique constraint violation", "...", code=5, step=1, fields={"username": "alice"}
    )

    answer = refused(error, STATEMENT, CONSUMER)

    assert isinstance(answer, UniquenessException)
    assert "username 'alice'" in answer.detail


@pytest.mark.parametrize(
    ("code", "step"), [(3, CONSUMER), (3, ACL), (4, ACL), (5, ACL), (6, Delete("acls", "x"))]
)
def test_an_entity_that_changed_at_the_same_moment_is_a_conflict_to_try_again(code, step):
    assert isinstance(refused(bridge_error("any", "...", code=code, step=0), step), Conflict)


def test_a_value_against_kongs_schema_is_a_400_with_kongs_own_words():
    error = bridge_error("schema violation", "schema violation (tags.1: invalid)", code=2, step=0)

    answer = refused(error, CONSUMER)

    assert isinstance(answer, InvalidValueException)
    assert "tags.1: invalid" in answer.detail


@pytest.mark.parametrize(
    "error",
    [
        bridge_error("ROW_COUNT", "...", step=0, label="version"),
        bridge_error("unique constraint violation", "...", code=5, step=0),
        bridge_error("DATABASE", "..."),
        bridge_error("READ_ONLY", "...", code=12, step=1),
    ],
)
def test_whatever_is_not_about_an_entity_is_left_to_the_directory(error):
    assert refused(error, STATEMENT, CONSUMER) is error


# -- a mapping that cannot work --------------------------------------------


def test_a_mapping_to_an_extension_that_is_served_is_accepted():
    path = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber"
    right = config(consumer={"custom_id": path})

    check(right, Kinds(provider(right)))
