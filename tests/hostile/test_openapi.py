"""The OpenAPI description: what it says is so, and what it allows and forbids is never a 5xx."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from effort import examples
from hosts import Gateway
from scim_traffic import answered, new_user

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def document(gateway: Gateway) -> dict[str, Any]:
    answer = gateway.scim.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_every_resource_type_is_described_with_its_attributes_and_extensions(
    gateway: Gateway, document: dict[str, Any]
) -> None:
    components = document["components"]["schemas"]
    for schema in answered(gateway.scim.get("/Schemas"), 200)["Resources"]:
        name, urn = schema["name"], schema["id"]
        extended = [
            each["properties"][urn] for each in components.values() if urn in each["properties"]
        ]
        [described] = extended or [components[name]]
        names = {attribute["name"] for attribute in schema["attributes"]}
        assert names <= set(described["properties"]), urn
    assert document["servers"] == [{"url": gateway.scim_base}]


def test_it_takes_get_only(gateway: Gateway) -> None:
    assert gateway.scim.post("/openapi.json").status_code == 405


@pytest.mark.hypothesis
@pytest.mark.timeout(300)
def test_generated_requests_are_answered_as_it_says(
    gateway: Gateway, document: dict[str, Any]
) -> None:
    new_user(gateway.scim)
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {gateway.token}"}
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=examples(6),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            response = case.call(base_url=gateway.scim_base, headers=headers)
            if response.status_code != 501:
                case.validate_response(response, checks=CHECKS)

        answers()
