"""What the service says of itself (RFC 7644 §4)."""

from __future__ import annotations

import httpx

from scim_traffic import CORE_GROUP, CORE_USER, ENTERPRISE, KONG, get, new_user, refused


def test_resource_types_name_their_schemas_and_extensions(scim: httpx.Client) -> None:
    types = {each["id"]: each for each in get(scim, "/ResourceTypes")["Resources"]}
    assert set(types) == {"User", "Group"}
    assert types["User"]["schema"] == CORE_USER
    assert types["User"]["endpoint"] == "/Users"
    assert types["Group"]["schema"] == CORE_GROUP
    extensions = {each["schema"] for each in types["User"]["schemaExtensions"]}
    assert ENTERPRISE in extensions
    assert KONG not in extensions  # a client meets it only where it asks for it
    assert get(scim, "/ResourceTypes/User") == types["User"]


def test_every_schema_is_served_by_its_id(scim: httpx.Client) -> None:
    schemas = get(scim, "/Schemas")["Resources"]
    assert {CORE_USER, CORE_GROUP, ENTERPRISE, KONG} <= {each["id"] for each in schemas}
    for schema in schemas:
        assert get(scim, f"/Schemas/{schema['id']}") == schema
        assert schema["attributes"]


def test_what_the_gateway_writes_is_read_only_in_the_schema(scim: httpx.Client) -> None:
    schema = get(scim, f"/Schemas/{KONG}")
    names = {"consumerId", "username", "accessGroups", "suspended", "revokedAt", "lastChange"}
    assert {each["name"] for each in schema["attributes"]} == names
    assert {each["mutability"] for each in schema["attributes"]} == {"readOnly"}


def test_what_the_gateway_writes_is_shown_to_who_asks_for_it(scim: httpx.Client) -> None:
    path = f"/Users/{new_user(scim)['id']}"
    assert KONG not in str(get(scim, path))
    shown = get(scim, path, attributes=KONG)
    assert shown[KONG]["consumerId"] == shown["id"]
    assert KONG in shown["schemas"]
    (found,) = get(scim, "/Users", attributes=f"userName,{KONG}")["Resources"]
    assert found[KONG] == shown[KONG]
    one = get(scim, path, attributes=f"{KONG}:suspended")
    assert one[KONG] == {"suspended": False}


def test_what_the_gateway_writes_is_ignored_from_a_client(scim: httpx.Client) -> None:
    forged = {"consumerId": "forged", "suspended": True, "accessGroups": ["admin"]}
    user = new_user(scim, **{KONG: forged})
    path = f"/Users/{user['id']}"
    assert "forged" not in str(get(scim, path, attributes=KONG))
    assert "admin" not in str(get(scim, path, attributes=KONG))
    answer = scim.put(path, json={**user, KONG: forged})
    assert answer.status_code == 200
    assert "forged" not in answer.text
    for operation in (
        {"op": "replace", "path": f"{KONG}:consumerId", "value": "forged"},
        {"op": "remove", "path": f"{KONG}:consumerId"},
        {"op": "remove", "path": KONG},
    ):
        refused(scim.patch(path, json={"Operations": [operation]}), 400, "mutability")
    operation = {"op": "replace", "value": {KONG: forged}}
    assert "forged" not in scim.patch(path, json={"Operations": [operation]}).text


def test_discovery_is_not_filtered(scim: httpx.Client) -> None:
    for path in ("/ResourceTypes", "/Schemas", "/ServiceProviderConfig"):
        refused(scim.get(path, params={"filter": 'id eq "User"'}), 403)


def test_me_is_nobody(scim: httpx.Client) -> None:
    assert "/Users/" in refused(scim.get("/Me"), 501)
