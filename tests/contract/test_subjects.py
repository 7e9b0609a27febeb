"""People whom Kong knows by a token only: who is disabled is refused, whatever the token says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import issuer
from declared import scim_plugin
from hosts import Gateway, eventually, running_gateway
from issuer import ISSUER
from scim_traffic import new_user, patch, refused, user_body
from variants import another_route

SUBJECTS = [
    {"issuer": ISSUER, "claim": "oid", "attribute": "externalId"},
    {"issuer": ISSUER, "claim": "email", "attribute": "emails.value", "ignore_case": True},
    {"issuer": ISSUER, "claim": "person.name", "attribute": "userName"},
]

TOKENS_ONLY: dict[str, Any] = {
    "name": "tokens",
    "paths": ["/tokens"],
    "service": "echo",
    "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}],
}
"""A route for everybody with a token of the issuer: all of them are one consumer."""

OPEN: dict[str, Any] = {"name": "open", "paths": ["/open"], "service": "echo"}
"""A route where nobody has to say who they are."""


@pytest.fixture(scope="module")
def shared(host_name: str) -> Iterator[Gateway]:
    pem = issuer.public_key()
    everybody = {
        "username": "everybody-with-a-token",
        "jwt_secrets": [{"key": ISSUER, "algorithm": "RS256", "rsa_public_key": pem}],
    }
    with running_gateway(
        host_name,
        bridge={"claims": ["jwt", "kong-oidc"]},
        beside={"routes": [TOKENS_ONLY, OPEN], "consumers": [everybody]},
        subjects=SUBJECTS,
    ) as gateway:
        yield gateway


@pytest.fixture
def people(shared: Gateway) -> Gateway:
    """A gateway whose users are deleted; the consumer of all tokens stays."""
    for user in shared.scim.get("/Users").json().get("Resources", []):
        shared.scim.delete(f"/Users/{user['id']}").raise_for_status()
    return shared


def call(gateway: Gateway, token: str, path: str = "/tokens", **headers: str) -> httpx.Response:
    return gateway.api.get(path, headers={"Authorization": f"Bearer {token}", **headers})


def call_at_once(gateway: Gateway, token: str, node: int = 0) -> httpx.Response:
    """Call an API on a node, without waiting until a data plane has its configuration."""
    url = f"{gateway.host.proxy_urls[node]}/tokens"
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(url, headers=headers, verify=False, trust_env=False)


def set_active(gateway: Gateway, user: dict[str, Any], active: bool) -> None:
    answer = patch(
        gateway.scim, f"/Users/{user['id']}", {"op": "replace", "value": {"active": active}}
    )
    assert answer.status_code in {200, 204}, answer.text


def person(gateway: Gateway, number: str) -> dict[str, Any]:
    """Make a user whose externalId, address and name end in a number."""
    return new_user(
        gateway.scim,
        f"Ann-{number}",
        externalId=f"oid-{number}",
        emails=[{"value": f"Ann-{number}@example.com", "primary": True}],
    )


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    """A number of the test's own, since what was refused once stays refused."""
    return str(abs(hash(request.node.nodeid)) % 10**9)


def test_a_disabled_person_is_refused_from_the_next_request_on(
    people: Gateway, number: str
) -> None:
    ann, token = person(people, number), issuer.token(sub="x", oid=f"oid-{number}")
    assert call(people, token).status_code == 200
    set_active(people, ann, False)
    answers = [call_at_once(people, token) for _ in range(6)]
    assert [each.status_code for each in answers] == [403] * 6
    assert answers[0].json() == {"message": "This account is suspended"}
    assert call(people, issuer.token(oid="somebody else")).status_code == 200


def test_a_reactivation_revives_no_token_and_a_new_one_is_let_in(
    people: Gateway, number: str
) -> None:
    ann, old = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    set_active(people, ann, True)
    answer = call(people, old)
    assert answer.status_code == 403
    assert "log in again" in answer.json()["message"]
    assert call(people, issuer.token(oid=f"oid-{number}", iat=None)).status_code == 403
    later = issuer.token(oid=f"oid-{number}", age=-2)
    assert call(people, later).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ANN-{}@Example.com"},
        {"person": {"name": "Ann-{}"}},
        {"oid": "oid-{}", "email": "somebody@example.com"},
    ],
)
def test_any_claim_of_the_configuration_names_a_person(
    people: Gateway, number: str, claims: dict[str, Any]
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        return value.format(number)

    ann, token = person(people, number), issuer.token(**filled(claims))
    assert call(people, token).status_code == 200
    set_active(people, ann, False)
    assert call(people, token).status_code == 403


def test_a_deleted_person_stays_refused_and_whoever_has_the_name_next_logs_in_anew(
    people: Gateway, number: str
) -> None:
    ann, old = person(people, number), issuer.token(oid=f"oid-{number}")
    assert people.scim.delete(f"/Users/{ann['id']}").status_code == 204
    assert call(people, old).status_code == 403
    person(people, number)
    assert call(people, old).status_code == 403
    assert call(people, issuer.token(oid=f"oid-{number}", age=-2)).status_code == 200


def test_a_name_that_a_disabled_person_had_is_refused_too(people: Gateway, number: str) -> None:
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    value = {"externalId": f"other-{number}"}
    patch(people.scim, f"/Users/{ann['id']}", {"op": "replace", "value": value})
    assert call(people, token).status_code == 403
    assert call(people, issuer.token(oid=f"other-{number}")).status_code == 403


def test_two_people_cannot_be_meant_by_one_token(people: Gateway, number: str) -> None:
    person(people, number)
    same = user_body(
        f"bob-{number}", emails=[{"value": f"ann-{number}@EXAMPLE.com"}], externalId=f"b{number}"
    )
    detail = refused(people.scim.post("/Users", json=same), 409, "uniqueness")
    assert "by which tokens would mean this one" in detail
    query = {"filter": f'userName eq "bob-{number}"'}
    assert people.scim.get("/Users", params=query).json()["totalResults"] == 0


def test_forged_headers_neither_let_in_nor_lock_out(people: Gateway, number: str) -> None:
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    good = issuer.token(oid="somebody else")
    for name in ("X-Userinfo", "x_userinfo", "X-ID-Token"):
        # Who is let in is not locked out by the name of another one, and the header goes nowhere.
        answer = call(people, good, **{name: token})
        assert answer.status_code == 200
        assert not {"x-userinfo", "x_userinfo", "x-id-token"} & set(answer.json()["headers"])
        assert people.api.get("/open", headers={name: token}).status_code == 200
        # Who is refused is not let in by it.
        assert call(people, token, **{name: good}).status_code == 403


def test_a_token_that_nobody_verified_names_nobody(people: Gateway, number: str) -> None:
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    assert call(people, token, "/open").status_code == 200


def test_after_a_restart_whoever_was_refused_is_refused(people: Gateway, number: str) -> None:
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    good = issuer.token(oid="somebody else")
    people.host.stop()
    people.host.start()

    def is_let_in() -> bool:
        assert call(people, token).status_code in {403, 503}
        return call(people, good).status_code == 200

    eventually(is_let_in, "tokens to be let in")
    assert call(people, token).status_code == 403
    people.wait()


def test_a_configuration_that_is_loaded_anew_lets_nobody_in(people: Gateway, number: str) -> None:
    if not people.host.dbless:
        pytest.skip("a Kong with a database loads none")
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    people.declare()
    assert call(people, token).status_code == 403


def test_two_nodes_refuse_within_the_bound_of_a_cluster(people: Gateway, number: str) -> None:
    ann, token = person(people, number), issuer.token(oid=f"oid-{number}")
    set_active(people, ann, False)
    for node in range(len(people.host.proxy_urls)):

        def refuses(node: int = node) -> bool:
            return call_at_once(people, token, node).status_code == 403

        eventually(refuses, "each node to refuse", 10)


def test_who_was_disabled_before_subjects_were_configured_is_refused_too(
    people: Gateway, number: str
) -> None:
    """The users of another tenant, whose plugin gets subjects only now."""
    ann = new_user(people.other_scim, f"ann-{number}", externalId=f"late-{number}", active=False)
    bob = new_user(people.other_scim, f"bob-{number}", externalId=f"here-{number}")
    tokens = [issuer.token(oid=f"{name}-{number}") for name in ("late", "here")]
    assert [call(people, each).status_code for each in tokens] == [200, 200]
    plugin = scim_plugin("b", "scim-token-b", subjects=SUBJECTS)
    with another_route(people, "late-subjects", "/late/scim/v2", [plugin]):
        eventually(lambda: call(people, tokens[0]).status_code == 403, "the user to be refused")
        assert call(people, tokens[1]).status_code == 200
    for user in (ann, bob):
        people.other_scim.delete(f"/Users/{user['id']}").raise_for_status()
