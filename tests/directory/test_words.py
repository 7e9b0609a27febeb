"""Whatever is wrong, a sentence of this service says so, and no library's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from http import HTTPStatus
from inspect import isclass
from itertools import count
from typing import Any

import pytest
from scim2_models import AttributeBinding, Path, Resource
from scim2_server.utils import parametrize
from test_shown_values import PROVIDER

from kong_scim.directory.sqlite import SqliteDatabase
from without_http import Served

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

WRONG: list[Any] = [
    *(5, 1.5, True, None, "", " ", "not\\a date", "2020-13-45T00:00:00Z", "x" * 600),
    *([], {}, [5], [None], [[]], [{}], [True], ["a b"], {"a": 1}, {"value": 5}, {"value": {}}),
    *([{"value": 5}], [{"value": []}], [{"value": {"a": 1}}], [{"type": 7, "value": "x"}]),
    *([{"primary": "maybe", "value": "x"}], [{"value": "x", "primary": 1}]),
    [{"value": "a", "primary": True}, {"value": "b", "primary": True}],
    [{"value": "x", "display": {}, "$ref": 5}],
]

SCIM_TYPES = {
    *("invalidValue", "invalidSyntax", "invalidPath", "invalidFilter", "mutability", "noTarget"),
    *("uniqueness", "invalidCursor", "invalidCount", "tooMany", "invalidVers"),
}


THEIRS = re.compile(
    "|".join(
        [
            r"\bshould (be|have|match|start)\b|Unable to|Field required|Invalid |Error |error:",
            "pydantic|scim2|sqlalchemy|sqlite|psycopg|lark|httpx|msgpack|Traceback|<class|at 0x",
            r"validation error|Value error|Field '|Field not found|Input should|Expected \w+",
            r"\b(NoneType|dict|str|int)\b|JSONDecode|Expecting |ScimFilter|Path\[|Exception",
            "[a-z]_[a-z]",  # a Python name
            "is not valid for attribute|cannot be applied|invalid syntax|was invalid or malformed",
        ]
    )
)


def words(answer: dict[str, Any]) -> str:
    """Return the sentence of a refusal, which must be ours."""
    detail: str = answer["detail"]
    assert answer.get("scimType", "invalidValue") in SCIM_TYPES, answer
    assert not THEIRS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", detail)), detail
    assert "errors.pydantic.dev" not in json.dumps(answer)
    assert len(detail) > 15
    assert re.search(r"[a-z]{2,} [a-z]{2,}", detail), detail
    return detail


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    database = SqliteDatabase(":memory:")
    yield Served(database, PROVIDER)
    database.close()


def attributes(endpoint: str) -> Iterator[AttributeBinding]:
    """Yield every attribute and sub-attribute that the schemas of an endpoint declare."""
    model: type[Resource[Any]] | None = PROVIDER.model_for_endpoint(endpoint)  # type: ignore[assignment]
    assert model is not None
    for path in parametrize(Path, model).iter_paths():
        binding = path.resolve()
        if binding is not None and not _is_label(binding):
            yield binding
    for name in ("id", "schemas", "meta", "meta.location", "meta.created"):
        binding = parametrize(Path, model)(name).resolve()
        assert binding is not None
        yield binding


def _is_label(binding: AttributeBinding) -> bool:
    """Tell whether any text will do: ``type`` has suggestions only (RFC 7643 §2.4)."""
    return isclass(binding.target_type) and issubclass(binding.target_type, Enum)


def body(endpoint: str) -> dict[str, Any]:
    if endpoint == "/Users":
        return {"schemas": [f"{CORE}User"], "userName": "somebody"}
    return {"schemas": [f"{CORE}Group"], "displayName": "some"}


def with_value(endpoint: str, binding: AttributeBinding, value: Any) -> dict[str, Any]:
    """Return a resource that has a value in this attribute."""
    found = body(endpoint)
    name = binding.urn.removeprefix(f"{CORE}{endpoint[1:-1]}:")
    at = found
    if name.startswith("urn:"):
        urn, _, name = name.rpartition(":")
        at = found.setdefault(urn, {})
        found["schemas"] = [*found["schemas"], urn]
    head, _, part = name.partition(".")
    if part:
        value = {part: value}
        value = [value] if binding.is_multivalued else value
    at[head] = value
    return found


def name_of(binding: AttributeBinding) -> str:
    """Return the name that a refusal must show."""
    return binding.urn.rpartition(":")[2].partition(".")[0]


@pytest.mark.parametrize("endpoint", ["/Users", "/Groups"])
def test_each_wrong_value_of_each_attribute_is_refused_in_our_words(
    served: Served, endpoint: str
) -> None:
    """By POST, PUT, each operation of PATCH, and each of Bulk."""
    there = served.create(endpoint, {**body(endpoint), "externalId": "there"})
    path = f"{endpoint}/{there['id']}"
    refusals, turn = 0, count()
    for binding in attributes(endpoint):
        target = binding.urn.removeprefix(f"{CORE}{endpoint[1:-1]}:")
        for value in WRONG[next(turn) % 2 :: 2]:
            whole = with_value(endpoint, binding, value)
            patches = [
                {"op": op, "path": target, "value": value} for op in ("add", "replace", "remove")
            ]
            patches += [{"op": op, "value": {target: value}} for op in ("add", "replace")]
            if binding.is_multivalued:
                head = target.rpartition(".")[0] or target if binding.sub_field_name else target
                literal = json.dumps(value) if isinstance(value, str | int | float) else "null"
                part = f".{target.rpartition('.')[2]}" if binding.sub_field_name else ""
                selected = f"{head}[value eq {literal}]{part}"
                patches.append({"op": "replace", "path": selected, "value": value})
            sent = [("POST", endpoint, whole), ("PUT", path, whole)]
            sent += [
                ("PATCH", path, {"schemas": [PATCH], "Operations": [each]}) for each in patches
            ]
            # each value by POST, and by two of the other ways in turn, one of them in a Bulk
            first = next(turn)
            bulk = [sent[first % len(sent)]]
            for method, where, data in [sent[0], sent[1 + first % (len(sent) - 1)]]:
                status, answer = served.send(method, where, data)
                refusals += _judged(status, answer, binding, data)
                if status == HTTPStatus.CREATED:
                    served.send("DELETE", f"{endpoint}/{answer['id']}")
            operations = [
                {"method": method, "path": where, "data": data, "bulkId": str(index)}
                for index, (method, where, data) in enumerate(bulk)
            ]
            status, answer = served.send(
                "POST", "/Bulk", {"schemas": [BULK], "Operations": operations}
            )
            assert status == HTTPStatus.OK, answer
            for operation, each in zip(operations, answer["Operations"], strict=True):
                outcome = int(each["status"])
                refusals += _judged(outcome, each.get("response") or {}, binding, operation)
                if outcome == HTTPStatus.CREATED:
                    served.send("DELETE", each["location"].partition("/scim/v2")[2])
    assert refusals > 100


def _judged(status: int, answer: dict[str, Any], binding: AttributeBinding, sent: Any) -> bool:
    """Hold an answer to be right or to be refused in our words; tell whether it was refused."""
    if status < 400:
        return False
    assert status in (400, 409), (status, answer, sent)
    detail = words(answer)
    if answer.get("scimType") in ("invalidValue", "mutability"):
        names = {name_of(binding).lower(), binding.urn.rpartition(".")[2].lower(), "primary"}
        assert any(name in detail.lower() for name in names), (detail, sent)
    return True
