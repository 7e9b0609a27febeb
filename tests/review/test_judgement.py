"""Who gets through on a route, by Kong's rules on which plugin takes effect and what it asks."""

from __future__ import annotations

from typing import Any

import pytest

from kong_scim.review.configuration import AnonymousConsumer, KongConfiguration
from kong_scim.review.judgement import Person, RouteRule, rule_of

KEYS = frozenset({"keyauth_credentials"})
NOBODY = AnonymousConsumer("nobody", frozenset())


def plugin(name: str, **fields: Any) -> dict[str, Any]:
    places = {
        place: fields.pop(place, None)
        for place in ("route", "service", "consumer", "consumer_group")
    }
    return {"id": str(fields), "name": name, "enabled": True, "config": fields, **places}


def rule(*plugins: dict[str, Any], anonymous: AnonymousConsumer | None = None) -> RouteRule:
    """Return the rule of route ``r`` of service ``s``."""
    configuration = KongConfiguration.read(
        [{"id": "s", "name": "api", "enabled": True}],
        [{"id": "r", "name": "route", "service": "s", "protocols": ["https"]}],
        plugins,
    )
    named = {} if anonymous is None else {anonymous.name: anonymous}
    return rule_of(configuration, configuration.routes[0], named)


def status(found: RouteRule, *groups: str, held: frozenset[str] = KEYS, **fields: Any) -> int:
    assert found.not_judged is None
    person = Person("c", frozenset(groups), held=held, **fields)
    return found.judge(person).status


KEY_AUTH = plugin("key-auth")
GUARD = plugin("scim-bridge")

PLACES: list[dict[str, str]] = [
    {},
    {"service": "s"},
    {"route": "r"},
    {"consumer": "c"},
    {"route": "r", "service": "s"},
    {"service": "s", "consumer": "c"},
    {"route": "r", "consumer": "c"},
    {"route": "r", "service": "s", "consumer": "c"},
]
"""From the place that gives way to all, to the one that wins."""


@pytest.mark.parametrize("winner", range(1, len(PLACES)))
def test_of_several_acl_plugins_the_one_closest_to_the_request_wins(winner: int) -> None:
    below = [plugin("acl", allow=[f"g{index}"], **PLACES[index]) for index in range(winner + 1)]
    found = rule(KEY_AUTH, *below)
    assert status(found, f"g{winner}") == 200
    assert status(found, *(f"g{index}" for index in range(winner))) == 403


def test_a_plugin_that_is_off_or_elsewhere_has_no_effect() -> None:
    elsewhere = plugin("acl", allow=["x"], route="other")
    off = {**plugin("acl", allow=["x"], route="r"), "enabled": False}
    assert status(rule(KEY_AUTH, elsewhere, off)) == 200


@pytest.mark.parametrize(
    ("config", "groups", "expected"),
    [
        ({"allow": ["a", "b"]}, ["b"], 200),
        ({"allow": ["a"]}, ["b"], 403),
        ({"allow": ["a"]}, [], 403),
        ({"allow": ["a"]}, ["A"], 403),
        ({"deny": ["a"]}, ["b"], 200),
        ({"deny": ["a"]}, [], 200),
        ({"deny": ["a"]}, ["a", "b"], 403),
        ({"deny": []}, ["b"], 403),  # which Kong takes for an empty list of `allow`
        ({"allow": ["a"], "hide_groups_header": True}, ["a"], 200),
        ({"allow": ["a"], "always_use_authenticated_groups": True}, ["a"], 200),
    ],
)
def test_acl_allows_or_denies_by_the_groups(
    config: dict[str, Any], groups: list[str], expected: int
) -> None:
    assert status(rule(KEY_AUTH, plugin("acl", **config)), *groups) == expected


def test_groups_that_another_plugin_sets_are_not_judged() -> None:
    acl = plugin("acl", allow=["a"], always_use_authenticated_groups=True)
    reason = rule(KEY_AUTH, acl, plugin("pre-function")).not_judged
    assert reason == "acl takes the groups that pre-function sets, and not those of the consumer"


def test_each_plugin_without_anonymous_wants_its_own_credential() -> None:
    both = rule(KEY_AUTH, plugin("jwt"))
    assert status(both) == 401
    assert status(both, held=KEYS | {"jwt_secrets"}) == 200
    either = rule(
        plugin("key-auth", anonymous="nobody"),
        plugin("jwt", anonymous="nobody"),
        plugin("acl", allow=["a"]),
        anonymous=NOBODY,
    )
    assert status(either, "a") == status(either, "a", held=frozenset({"jwt_secrets"})) == 200
    assert status(either, "a", held=frozenset()) == 401


@pytest.mark.parametrize(
    ("acl", "groups", "expected"),
    [
        ({"allow": ["a"]}, [], 401),
        ({"allow": ["a"]}, ["b"], 403),
        ({"deny": ["b"]}, ["b"], 403),
        ({"allow": ["a"]}, ["a"], None),
        ({"deny": ["b"]}, [], None),
    ],
)
def test_without_a_credential_the_anonymous_consumer_is_judged(
    acl: dict[str, Any], groups: list[str], expected: int | None
) -> None:
    anonymous = AnonymousConsumer("nobody", frozenset(groups))
    found = rule(plugin("key-auth", anonymous="nobody"), plugin("acl", **acl), anonymous=anonymous)
    if expected is None:
        assert "anybody reaches it" in str(found.not_judged)
    else:
        assert status(found, held=frozenset()) == expected


def test_an_anonymous_consumer_that_is_not_there_is_said() -> None:
    found = rule(plugin("key-auth", anonymous="who"), GUARD)
    assert found.remarks == ("there is no consumer who, which key-auth names as anonymous",)
    assert status(found, held=frozenset()) == 500


def test_the_guard_refuses_suspended_people_where_it_is_on() -> None:
    assert status(rule(KEY_AUTH, GUARD), suspended=True) == 403
    off = rule(KEY_AUTH, {**GUARD, "enabled": False})
    assert status(off, suspended=True) == 200
    assert off.remarks == ("scim-bridge is not enabled here: suspended people are not refused",)


@pytest.mark.parametrize(
    ("plugins", "reason"),
    [
        ([], "no plugin authenticates"),
        ([plugin("acl", allow=["a"])], "acl is without a plugin that authenticates"),
        ([KEY_AUTH, plugin("openid-connect")], "openid-connect decides by a rule of its own"),
        ([plugin("our-login")], "our-login: not known here whether it authenticates"),
        ([plugin("pre-function")], "pre-function: not known here"),
        ([plugin("session")], "only session authenticates"),
        ([plugin("scim", route="r")], "the plugin scim answers here"),
    ],
)
def test_what_is_not_judged_says_why(plugins: list[dict[str, Any]], reason: str) -> None:
    assert str(rule(GUARD, *plugins).not_judged).startswith(reason)


@pytest.mark.parametrize(
    ("other", "remark"),
    [
        (plugin("ip-restriction"), "ip-restriction refuses clients by their address"),
        (plugin("our-rule"), "our-rule is not known here, and may refuse more"),
        (plugin("mtls-auth"), "who has a certificate for mtls-auth is not known to Kong"),
        (
            plugin("acl", allow=["a"], consumer_group="g"),
            "acl has another configuration for a consumer group, which is not judged",
        ),
    ],
)
def test_what_may_decide_besides_is_said_beside_the_lines(
    other: dict[str, Any], remark: str
) -> None:
    found = rule(KEY_AUTH, GUARD, other)
    assert found.remarks == (remark,)
    assert status(found) == 200


def test_no_consumer_gets_through_nowhere() -> None:
    assert rule(KEY_AUTH).judge(Person(None)).status == 401


def test_a_route_of_a_disabled_service_and_a_stream_are_not_judged() -> None:
    configuration = KongConfiguration.read(
        [{"id": "s", "enabled": False}],
        [{"id": "r", "service": "s"}, {"id": "t", "protocols": ["tcp"]}],
        [KEY_AUTH],
    )
    reasons = [rule_of(configuration, each, {}).not_judged for each in configuration.routes]
    assert reasons == [
        "its service is disabled: Kong answers 404 to everybody",
        "it passes streams, and the plugins that authenticate are for HTTP",
    ]
