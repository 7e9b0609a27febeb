"""docker-compose.yml: valid, hardened, and in step with the image and with Kong."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from composition import (
    KONG,
    ONE_SHOTS,
    ROOT,
    SECRETS,
    UnsetVariableError,
    interpolated,
    kong_environment,
    mounts,
    raw,
    services,
    variables,
)
from jsonschema import Draft202012Validator

EVERY_SERVICE = sorted(raw()["services"])
RUNNING = [name for name in EVERY_SERVICE if name not in ONE_SHOTS]
NON_ROOT_IMAGES = ("kong:",)
"""Images whose own user is not root (USER kong in Kong's Dockerfile)."""


def complaints(tree: dict[str, Any]) -> list[str]:
    """What the Compose specification's schema has against a file."""
    validator = Draft202012Validator(get_builtin_schema("vendor.compose-spec"))
    return [error.message for error in validator.iter_errors(tree)]


class TestTheSpecification:
    def test_the_file_is_valid(self) -> None:
        assert complaints(raw()) == []
        assert complaints(interpolated(SECRETS)) == []

    def test_a_misspelt_key_would_be_seen(self) -> None:
        tree = deepcopy(raw())
        tree["services"]["kong"]["heathcheck"] = tree["services"]["kong"].pop("healthcheck")
        assert complaints(tree)

    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_what_a_service_refers_to_is_there(self, name: str) -> None:
        tree, service = raw(), services()[name]
        assert set(service.get("depends_on", {})) <= set(tree["services"])
        assert set(service.get("networks", [])) <= set(tree["networks"])
        for mount in mounts(name).values():
            if mount["type"] == "volume":
                assert mount["source"] in tree["volumes"]
            else:
                assert (ROOT / mount["source"]).exists()

    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_images_are_pinned_to_a_version(self, name: str) -> None:
        assert re.search(r":\d+(\.\d+)*(-[a-z]+)?$", services()[name]["image"])


class TestHardening:
    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_no_service_can_become_or_change_anything(self, name: str) -> None:
        service = services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]

    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_no_service_runs_as_root(self, name: str) -> None:
        service = services()[name]
        if "user" in service:
            uid, gid = service["user"].split(":")
            assert int(uid) > 0
            assert int(gid) > 0
        else:
            assert service["image"].startswith(NON_ROOT_IMAGES)

    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_files_of_the_host_are_mounted_read_only(self, name: str) -> None:
        for mount in mounts(name).values():
            assert mount["type"] != "bind" or mount["read_only"] is True

    def test_the_admin_api_is_published_on_loopback_only(self) -> None:
        admin = [port for port in services()["kong"]["ports"] if port.endswith(":8001")]
        assert admin == ["127.0.0.1:8001:8001"]

    def test_nothing_is_open_to_the_network_unless_asked(self) -> None:
        published = {name for name in EVERY_SERVICE if "ports" in services()[name]}
        assert published == {"kong"}
        assert all(port.startswith("127.0.0.1:") for port in services()["kong"]["ports"])

    def test_the_plugin_server_has_no_network(self) -> None:
        assert services()["plugin-server"]["network_mode"] == "none"

    def test_only_kong_reaches_the_database(self) -> None:
        on_it = {
            name for name in EVERY_SERVICE if "database" in services()[name].get("networks", [])
        }
        assert on_it == {"database", *KONG}
        assert raw()["networks"]["database"]["internal"] is True


class TestSecrets:
    @pytest.mark.parametrize("name", sorted(SECRETS))
    @pytest.mark.parametrize(
        "left", [{}, {"SCIM_TOKEN": "", "POSTGRES_PASSWORD": ""}], ids=["unset", "empty"]
    )
    def test_compose_refuses_to_start_without_one(self, name: str, left: dict[str, str]) -> None:
        others = {other: value for other, value in SECRETS.items() if other != name}
        with pytest.raises(UnsetVariableError, match=rf"{name}: .*\.env\.example"):
            interpolated({**left, **others})

    def test_the_example_names_every_variable_and_gives_no_secret(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        named = dict(
            line.lstrip("# ").split("=", 1) for line in lines if re.match(r"^#? ?[A-Z_]+=", line)
        )
        assert set(named) == set(variables())
        assert {name for name, value in named.items() if not value} == set(SECRETS)

    def test_no_secret_stands_in_the_file(self) -> None:
        for service in raw()["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
                    assert value.startswith("${")


class TestHealth:
    @pytest.mark.parametrize("name", RUNNING)
    def test_what_runs_is_checked_and_restarted(self, name: str) -> None:
        service = services()[name]
        dockerfile = (ROOT / "kong-plugins/Dockerfile").read_text()
        assert "healthcheck" in service or ("build" in service and "\nHEALTHCHECK " in dockerfile)
        assert service["restart"] == "unless-stopped"

    @pytest.mark.parametrize("name", sorted(ONE_SHOTS))
    def test_what_ends_is_not_restarted(self, name: str) -> None:
        assert services()[name]["restart"] == "no"

    @pytest.mark.parametrize("name", EVERY_SERVICE)
    def test_a_service_waits_until_what_it_needs_is_ready(self, name: str) -> None:
        for needed, how in services()[name].get("depends_on", {}).items():
            ended = "service_completed_successfully"
            assert how["condition"] == (ended if needed in ONE_SHOTS else "service_healthy")

    def test_kong_starts_last(self) -> None:
        assert set(services()["kong"]["depends_on"]) >= {
            "configuration",
            "plugin-server",
            "database",
        }
        assert "migrations" in services()["configuration"]["depends_on"]


class TestThePluginServersSocket:
    def test_it_is_on_a_volume_of_its_own(self) -> None:
        """Kong's entrypoint deletes sockets in its prefix (kong-facts 10)."""
        settings = kong_environment("kong")
        directory = "/run/kong-scim"
        assert settings["KONG_PLUGINSERVER_SCIM_SOCKET"] == f"{directory}/scim.socket"
        assert settings["KONG_PLUGINSERVER_SCIM_QUERY_CMD"] == f"cat {directory}/scim.json"
        assert not directory.startswith(settings["KONG_PREFIX"])
        assert mounts("kong")[directory]["source"] == mounts("plugin-server")[directory]["source"]
        assert f"SOCKET_DIRECTORY={directory}" in (ROOT / "kong-plugins/Dockerfile").read_text()

    def test_kong_is_in_its_group_and_nobody_else(self) -> None:
        uid, gid = services()["plugin-server"]["user"].split(":")
        volume = raw()["volumes"][mounts("plugin-server")["/run/kong-scim"]["source"]]
        assert f"uid={uid},gid={gid},mode=0750" in volume["driver_opts"]["o"]
        assert services()["kong"]["group_add"] == [gid]
        assert f"USER {uid}:{gid}" in (ROOT / "kong-plugins/Dockerfile").read_text()

    def test_kong_does_not_start_the_plugin_server(self) -> None:
        """With a start command, GET / of the Admin API answers 500 (Kong/kong#14260)."""
        assert not [name for name in kong_environment("kong") if name.endswith("_START_CMD")]


class TestKong:
    @pytest.mark.parametrize("name", KONG)
    def test_its_prefix_is_writable(self, name: str) -> None:
        prefix = kong_environment(name)["KONG_PREFIX"]
        assert f"{prefix}:mode=1777" in services()[name]["tmpfs"]

    @pytest.mark.parametrize("name", KONG)
    def test_it_finds_the_lua_plugins(self, name: str) -> None:
        pattern = kong_environment(name)["KONG_LUA_PACKAGE_PATH"].split(";")[0]
        for plugin in ("scim", "scim-bridge"):
            module = pattern.replace("?", f"kong/plugins/{plugin}/handler")
            mount = mounts(name)["/opt/kong-scim/kong"]
            assert (ROOT / mount["source"] / module.removeprefix("/opt/kong-scim/kong/")).is_file()
            assert plugin in kong_environment(name)["KONG_PLUGINS"].split(",")

    def test_it_has_the_token_that_the_configuration_refers_to(self) -> None:
        references = re.findall(r"\{vault://env/([\w-]+)\}", (ROOT / "kong.yml").read_text())
        assert references
        for reference in references:
            assert reference.upper().replace("-", "_") in services()["kong"]["environment"]

    def test_the_echo_service_is_where_the_configuration_says(self) -> None:
        assert "url: http://echo:8080" in (ROOT / "kong.yml").read_text()
        assert "listen 8080;" in services()["echo"]["environment"]["NGINX_CONF"]
        assert set(services()["echo"]["networks"]) <= set(services()["kong"]["networks"])
