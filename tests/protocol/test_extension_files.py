"""Extensions of resources are schema files: served, validated and stored without code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from in_process import CONFIG, client
from kong_scim.app import Plugin
from kong_scim.config.plugin import ConfigurationError, parse
from kong_scim.protocol.resources import provider
from scim_traffic import CORE_USER, get, new_user, patched_user, refused, user_body
from without_kong import serve_from_memory

ACME = "urn:example:params:scim:schemas:extension:acme:2.0:User"


def attribute(name: str, kind: str = "string", **others: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "multiValued": False, "description": name, **others}


def schema(**changes: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": ACME,
        "name": "Acme",
        "description": "What Acme knows of people",
        "attributes": [
            attribute("badge", caseExact=True, uniqueness="server"),
            attribute("contractor", "boolean"),
            attribute("since", "dateTime"),
            attribute("level", "integer"),
            attribute("sites", multiValued=True),
            attribute(
                "desk", "complex", subAttributes=[attribute("floor", "integer"), attribute("value")]
            ),
            attribute("region", mutability="readOnly"),
        ],
        **changes,
    }


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KONG_SCIM_SCHEMAS", str(tmp_path))
    return tmp_path


@pytest.fixture
def scim(directory: Path, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    (directory / "acme.json").write_text(json.dumps(schema()))
    serve_from_memory(monkeypatch)
    return client(Plugin(CONFIG))


def test_it_is_announced(scim: httpx.Client) -> None:
    extensions = get(scim, "/ResourceTypes/User")["schemaExtensions"]
    assert {"schema": ACME, "required": False} in extensions
    served = get(scim, f"/Schemas/{ACME}")
    assert served["name"] == "Acme"
    assert [each["name"] for each in served["attributes"]] == [
        each["name"] for each in schema()["attributes"]
    ]


def test_it_is_stored_and_found_and_changed(scim: httpx.Client) -> None:
    value = {
        "badge": "B-1",
        "contractor": "True",
        "since": "2024-05-01T00:00:00Z",
        "level": 3,
        "sites": ["berlin", "paris"],
        "desk": {"floor": 2, "value": "2.14"},
        "region": "forged",
    }
    user = new_user(scim, **{ACME: value})
    assert user["schemas"] == [CORE_USER, ACME]
    assert user[ACME] == {
        **{name: item for name, item in value.items() if name != "region"},
        "contractor": True,
    }
    for expression in (
        f'{ACME}:badge eq "B-1"',
        f"{ACME}:level gt 2",
        f'{ACME}:sites eq "paris"',
        f"{ACME}:desk.floor eq 2",
        f'{ACME}:contractor eq "True"',
    ):
        assert get(scim, "/Users", filter=expression)["totalResults"] == 1
    changed = patched_user(
        scim,
        user["id"],
        {"op": "Replace", "path": f"{ACME}:contractor", "value": "False"},
        {"op": "Add", "path": f"{ACME}:desk", "value": "3.01"},
        {"op": "Replace", "value": {f"{ACME}:level": 4}},
    )
    assert changed[ACME]["contractor"] is False
    assert changed[ACME]["desk"] == {"floor": 2, "value": "3.01"}
    assert changed[ACME]["level"] == 4


@pytest.mark.parametrize(
    ("name", "value"), [("level", "high"), ("since", "yesterday"), ("badge", 1), ("sites", [1])]
)
def test_it_is_validated(scim: httpx.Client, name: str, value: Any) -> None:
    detail = refused(
        scim.post("/Users", json=user_body(**{ACME: {name: value}})), 400, "invalidValue"
    )
    assert name in detail


def test_a_group_can_be_extended_too(directory: Path) -> None:
    urn = "urn:example:params:scim:schemas:extension:acme:2.0:Group"
    (directory / "g.json").write_text(json.dumps(schema(id=urn)))
    types = {each.name: each for each in provider(parse(CONFIG)).resource_types}
    assert [each.schema_ for each in types["Group"].schema_extensions or []] == [urn]


def test_json_that_is_no_scim_schema_is_left_alone(directory: Path) -> None:
    (directory / "config.schema.json").write_text('{"$schema": "https://json-schema.org/"}')
    (directory / "list.json").write_text("[]")
    names = {each.name for each in provider(parse(CONFIG)).schemas}
    assert names == {"User", "EnterpriseUser", "Group", "Event"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        (json.dumps(schema(id="urn:example:schemas:acme:2.0:User")), "id: name an extension"),
        (json.dumps(schema(id=ACME.replace("User", "Shoe"))), "User or Group"),
        (json.dumps(schema(id=12)), "id: name an extension"),
        (
            json.dumps(schema(id="urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")),
            "taken",
        ),
        (json.dumps(schema(name="EnterpriseUser")), "taken"),
        (json.dumps(schema(name="user_name")), "a name of the User itself"),
        (json.dumps(schema(name=None)), "name"),
        (json.dumps(schema(attributes=[])), "at least one attribute"),
        (json.dumps(schema(attributes="badge")), "attributes"),
        (json.dumps(schema(attributes=[{"type": "string"}])), "no attribute name"),
        (json.dumps(schema(attributes=[attribute("a b")])), "no attribute name"),
        (json.dumps(schema(attributes=[{"name": "badge"}])), "badge: type is missing"),
        (json.dumps(schema(attributes=[attribute("badge", "varchar")])), "type"),
        (json.dumps(schema(attributes=[attribute("badge", mutability="never")])), "mutability"),
        (json.dumps(schema(attributes=[attribute("desk", "complex")])), "at least one attribute"),
        (json.dumps(schema(attributes=[attribute("a"), attribute("A")])), "same attribute"),
        (json.dumps(schema(surprise=1)), "surprise"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_broken_file_is_refused_with_its_name_and_the_reason(
    directory: Path, content: str, reason: str
) -> None:
    (directory / "acme.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"^schemas/acme\.json: ") as caught:
        provider(parse(CONFIG))
    assert reason in str(caught.value)


def test_a_directory_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONG_SCIM_SCHEMAS", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="absent"):
        provider(parse(CONFIG))


def test_a_file_that_changes_counts_at_the_next_start(directory: Path) -> None:
    (directory / "acme.json").write_text(json.dumps(schema()))
    before = provider(parse(CONFIG)).model_for(ACME)
    (directory / "acme.json").write_text(json.dumps(schema(attributes=[attribute("other")])))
    after = provider(parse(CONFIG)).model_for(ACME)
    assert before is not None
    assert after is not None
    assert "badge" in before.model_fields
    assert "badge" not in after.model_fields
