"""What the sandbox does not do is refused by name, with its place in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kong_scim_sandbox.declarative import Declaration, DeclarationError, load
from kong_scim_sandbox.gateway import default_config

ROOT = Path(__file__).resolve().parents[2]

SCIM = """
routes:
  - name: scim
    paths: [/scim/v2]
    plugins:
      - name: scim
        config:
          tokens: [{name: idp, value: "{vault://env/scim-token}"}]
"""


def read(text: str) -> Declaration:
    return load('_format_version: "3.0"\n' + text)


def refusal(text: str) -> str:
    with pytest.raises(DeclarationError) as refused:
        read(text)
    return str(refused.value)


class TestWhatIsRefused:
    def test_an_entity_that_the_sandbox_has_not(self) -> None:
        message = refusal("services: []\nupstreams:\n  - name: u\n")
        assert "kong.yml:3: in upstreams: this sandbox has no upstreams" in message

    @pytest.mark.parametrize(
        "text",
        [
            "plugins:\n  - name: rate-limiting\n",
            "routes:\n  - paths: [/]\n    plugins:\n      - name: rate-limiting\n",
            "services:\n  - host: h\n    plugins:\n      - name: rate-limiting\n"
            "    routes:\n      - paths: [/]\n",
        ],
    )
    def test_a_plugin_that_the_sandbox_has_not_wherever_it_stands(self, text: str) -> None:
        text += "routes:\n  - paths: [/]\n" if text.startswith("plugins") else ""
        message = refusal(text)
        assert "rate-limiting" in message
        assert (
            "only acl, file-log, jwt, key-auth, ldap-auth, prometheus, scim, scim-bridge" in message
        )

    def test_a_plugin_that_the_sandbox_has_not_where_no_route_uses_it(self) -> None:
        message = refusal("plugins:\n  - name: rate-limiting\n")
        assert message.startswith("kong.yml:3: in plugins[0].name")

    def test_a_credential_that_the_sandbox_has_not(self) -> None:
        message = refusal("consumers:\n  - username: a\n    hmacauth_credentials: []\n")
        wrong = "in consumers[0].hmacauth_credentials: hmacauth_credentials: unknown"
        assert message.startswith(f"kong.yml:4: {wrong}")

    def test_a_setting_of_a_plugin_that_the_sandbox_has_not(self) -> None:
        message = refusal(
            "routes:\n  - paths: [/]\n    plugins:\n      - name: key-auth\n"
            "        config:\n          key_in_body: true\n"
        )
        assert "kong.yml:7: in routes[0].plugins[0].config.key_in_body" in message

    def test_an_acl_with_neither_list_or_both(self) -> None:
        acl = "routes:\n  - paths: [/]\n    plugins:\n      - name: acl\n        config: "
        assert "exactly one of" in refusal(acl + "{}")
        assert "exactly one of" in refusal(acl + "{allow: [a], deny: [b]}")

    def test_a_regular_expression_as_path(self) -> None:
        assert "no ~ regex paths" in refusal('routes:\n  - paths: ["~/a$"]\n')

    @pytest.mark.parametrize("url", ["echo:8080", "ftp://h", "http://", "http://h:99999", "/path"])
    def test_a_service_that_goes_nowhere(self, url: str) -> None:
        assert "in services[0]" in refusal(f"services:\n  - url: {url}\n")

    def test_a_route_that_matches_nothing(self) -> None:
        assert "must set one of" in refusal("routes:\n  - name: nothing\n")

    @pytest.mark.parametrize(
        "text",
        [
            "plugins:\n  - name: acl\n    route: nowhere\n    config: {allow: [a]}\n",
            "routes:\n  - paths: [/]\n    service: nowhere\n",
            "acls:\n  - group: g\n    consumer: nobody\n",
        ],
    )
    def test_a_reference_to_nothing(self, text: str) -> None:
        assert "there is no such" in refusal(text)

    @pytest.mark.parametrize(
        ("version", "text"),
        [('"1.1"', ""), ("3.0", ""), ('"3.0"', "services: {}\n"), ('"3.0"', "plugins: [3]\n")],
    )
    def test_a_file_of_another_shape(self, version: str, text: str) -> None:
        with pytest.raises(DeclarationError):
            load(f"_format_version: {version}\n{text}")

    @pytest.mark.parametrize("text", ["", "a: [", "- a\n", "\x00"])
    def test_what_is_no_declarative_file_at_all(self, text: str) -> None:
        with pytest.raises(DeclarationError):
            load(text)


class TestTheConfigurationOfScim:
    @pytest.mark.parametrize(
        ("setting", "place"),
        [
            ("on_deactivate: forget", "on_deactivate"),
            ("max_body_size: 1", "max_body_size"),
            ("max_results: many", "max_results"),
            ("nosuch: 1", "nosuch: unknown field"),
            ("consumer: {nosuch: 1}", "consumer.nosuch"),
            ("tenant: a/b", "tenant"),
        ],
    )
    def test_is_refused_with_the_name_of_the_field(self, setting: str, place: str) -> None:
        message = refusal(SCIM + f"          {setting}\n")
        assert "in routes[0].plugins[0].config." in message
        assert place in message

    def test_without_a_token_is_left_to_the_instance(self) -> None:
        """There may be JWTs, or consumers of Kong, and Kong's schema cannot say which of them."""
        text = "routes:\n  - paths: [/]\n    plugins:\n      - name: scim\n"
        [route] = read(text).routes
        assert route.plugins[0].config == {}

    def test_is_left_to_the_instance_where_kongs_schema_could_not_say_it(self) -> None:
        """Kong would start with it, and the plugin would answer 503 with the reason."""
        [route] = read(SCIM + "          groups: {pattern: '('}\n").routes
        assert route.plugins[0].config["groups"]["pattern"] == "("

    def test_has_its_defaults_filled_in(self) -> None:
        [route] = read(SCIM).routes
        assert route.plugins[0].config["on_deactivate"] == "revoke"
        assert route.plugins[0].config["consumer"]["username"] == "userName"

    def test_keeps_references_unresolved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCIM_TOKEN", "sekret")
        assert "sekret" not in repr(read(SCIM))


class TestWhatIsRead:
    def test_plugins_run_in_kongs_order(self) -> None:
        [route] = read(
            "plugins:\n  - name: scim-bridge\n"
            "routes:\n  - paths: [/]\n    plugins:\n"
            "      - {name: acl, config: {allow: [a]}}\n      - name: key-auth\n"
        ).routes
        assert [plugin.name for plugin in route.plugins] == ["key-auth", "scim-bridge", "acl"]

    def test_a_routes_plugin_goes_before_its_services_before_the_global_one(self) -> None:
        text = (
            "plugins:\n  - {name: key-auth, config: {realm: global}}\n"
            "  - {name: key-auth, service: s, config: {realm: service}}\n"
            "  - {name: key-auth, route: r, config: {realm: route}}\n"
            "services:\n  - name: s\n    host: h\n    routes:\n"
            "      - {name: r, paths: [/r]}\n      - {name: other, paths: [/o]}\n"
            "routes:\n  - {name: alone, paths: [/a]}\n"
        )
        realms = {route.name: route.plugins[0].config.realm for route in read(text).routes}
        assert realms == {"r": "route", "other": "service", "alone": "global"}

    def test_a_disabled_plugin_does_not_run(self) -> None:
        text = "plugins:\n  - {name: key-auth, enabled: false}\nroutes:\n  - paths: [/]\n"
        assert read(text).routes[0].plugins == ()

    def test_ids_are_the_same_at_each_start(self) -> None:
        assert read(SCIM).routes[0].id == read(SCIM).routes[0].id

    def test_consumers_may_have_their_credentials_apart(self) -> None:
        [consumer] = read(
            "consumers: [{username: a, acls: [{group: x}]}]\nacls: [{group: y, consumer: a}]\n"
            "keyauth_credentials: [{key: k, consumer: a}]\n"
        ).consumers
        assert [row.group for row in consumer.acls] == ["x", "y"]
        assert [row.key for row in consumer.keyauth_credentials] == ["k"]


def test_the_sandboxs_own_file_is_the_repositorys_but_for_https_and_scopes() -> None:
    def essence(text: str) -> dict[str, Any]:
        declared = {}
        for route in load(text).routes:
            plugins = {plugin.name: plugin.config for plugin in route.plugins}
            if "scim" in plugins:
                (token,) = plugins["scim"]["tokens"]
                tokens = [{**token, "scopes": None}]
                plugins["scim"] = {**plugins["scim"], "require_https": None, "tokens": tokens}
            where = route.service and (route.service.host, route.service.port)
            declared[route.paths] = (where, plugins)
        return declared

    assert essence(default_config()) == essence((ROOT / "kong.yml").read_text())
    assert "require_https: false" in default_config()
    assert "require_https" not in yaml.safe_dump(yaml.safe_load((ROOT / "kong.yml").read_text()))
