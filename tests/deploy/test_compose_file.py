"""The Compose files: valid, hardened, and in step with the image and with Kong."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from composition import (
    COMPOSITIONS,
    DBLESS,
    HYBRID,
    POSTGRES,
    ROOT,
    Composition,
    UnsetVariableError,
    every,
    every_file,
)
from jsonschema import Draft202012Validator

from kong_scim.pluginserver.__main__ import _parse

KEPT_CONNECTIONS = 256
"""Idle ones that each worker of Kong keeps (``lua_socket_pool_size`` of kong_defaults.lua)."""

OTHER_THREADS = 32
"""Of the plugin server: the listener, ticks, deliveries."""

NON_ROOT_IMAGES = ("kong:",)
"""Images whose own user is not root (USER kong in Kong's Dockerfile)."""


def complaints(tree: dict[str, Any]) -> list[str]:
    """What the Compose specification's schema has against a file."""
    validator = Draft202012Validator(get_builtin_schema("vendor.compose-spec"))
    return [error.message for error in validator.iter_errors(tree)]


class TestTheSpecification:
    @every_file
    def test_the_file_is_valid(self, file: Composition) -> None:
        assert complaints(file.raw()) == []
        assert complaints(file.interpolated(file.secrets)) == []

    @every_file
    def test_a_misspelt_key_would_be_seen(self, file: Composition) -> None:
        tree = deepcopy(file.raw())
        tree["services"]["kong"]["heathcheck"] = tree["services"]["kong"].pop("healthcheck")
        assert complaints(tree)

    @every("services")
    def test_what_a_service_refers_to_is_there(self, file: Composition, name: str) -> None:
        tree, service = file.raw(), file.services[name]
        assert set(service.get("depends_on", {})) <= set(tree["services"])
        assert set(service.get("networks", [])) <= set(tree["networks"])
        for mount in file.mounts(name).values():
            if mount["type"] == "volume":
                assert mount["source"] in tree["volumes"]
            else:
                assert (ROOT / mount["source"]).exists()
        if "build" in service:
            build = service["build"]
            assert (ROOT / build["context"] / build["dockerfile"]).is_file()

    @every("services")
    def test_images_are_pinned_to_a_version(self, file: Composition, name: str) -> None:
        assert re.search(r":\d+(\.\d+)*(-[a-z]+)?$", file.services[name]["image"])

    def test_they_run_beside_each_other_without_sharing_anything(self) -> None:
        """Volumes and networks carry the project's name."""
        assert len({file.raw()["name"] for file in COMPOSITIONS}) == len(COMPOSITIONS)

    @pytest.mark.parametrize("name", ["echo", "plugin-server"])
    def test_what_needs_no_difference_has_none(self, name: str) -> None:
        with_postgres, without, hybrid = (dict(file.services[name]) for file in COMPOSITIONS)
        if name == "plugin-server":
            del without["environment"]
            without["volumes"] = without["volumes"][:1]
        assert with_postgres == without == hybrid

    def test_the_hybrid_gateway_has_the_same_database(self) -> None:
        assert HYBRID.services["database"] == POSTGRES.services["database"]

    @every_file
    def test_the_command_at_the_top_of_the_file_names_it(self, file: Composition) -> None:
        [options] = re.findall(r"docker compose (.*)up --build", file.text)
        default = file.file == "docker-compose.yml"
        assert options == ("" if default else f"--project-directory . --file {file.file} ")


class TestHardening:
    @every("services")
    def test_no_service_can_become_or_change_anything(self, file: Composition, name: str) -> None:
        service = file.services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] > 0

    @every_file
    def test_the_plugin_server_may_have_as_many_threads_as_it_needs(
        self, file: Composition
    ) -> None:
        """One for each worker, and one for each connection of Kong's, idle ones included."""
        service = file.services["plugin-server"]
        named = {f"KONG_SCIM_{name}" for name in ("WORKERS", "QUEUE")}
        assert not named & set(service.get("environment", {}))  # else they count below
        options = _parse(["--dump"])
        kong_workers = int(file.services["kong"]["environment"]["KONG_NGINX_WORKER_PROCESSES"])
        connections = kong_workers * KEPT_CONNECTIONS + options.workers + options.queue
        assert service["pids_limit"] >= options.workers + connections + OTHER_THREADS

    @every("services")
    def test_no_service_runs_as_root(self, file: Composition, name: str) -> None:
        service = file.services[name]
        if "user" in service:
            uid, gid = service["user"].split(":")
            assert int(uid) > 0
            assert int(gid) > 0
        else:
            assert service["image"].startswith(NON_ROOT_IMAGES)

    @every("services")
    def test_files_of_the_host_are_mounted_read_only(self, file: Composition, name: str) -> None:
        for mount in file.mounts(name).values():
            assert mount["type"] != "bind" or mount["read_only"] is True

    @every_file
    def test_the_admin_api_is_published_on_loopback_only(self, file: Composition) -> None:
        ports = file.services[file.with_admin_api]["ports"]
        admin = [port for port in ports if port.endswith(":8001")]
        assert admin == ["127.0.0.1:8001:8001"]

    @every_file
    def test_nothing_is_open_to_the_network_unless_asked(self, file: Composition) -> None:
        published = {name for name, service in file.services.items() if "ports" in service}
        assert published == {"kong", file.with_admin_api}
        ports = [port for name in published for port in file.services[name]["ports"]]
        assert all(port.startswith("127.0.0.1:") for port in ports)

    @every_file
    def test_the_plugin_server_has_no_network(self, file: Composition) -> None:
        assert file.services["plugin-server"]["network_mode"] == "none"

    @pytest.mark.parametrize("file", [POSTGRES, HYBRID], ids=repr)
    def test_only_kong_reaches_the_database(self, file: Composition) -> None:
        """And of a hybrid gateway no data plane."""
        services = file.services
        on_it = {name for name in services if "database" in services[name].get("networks", [])}
        assert on_it == {"database", "migrations", "configuration", file.with_admin_api}
        assert file.raw()["networks"]["database"]["internal"] is True


class TestSecrets:
    @pytest.mark.parametrize(
        ("file", "name"), [(file, name) for file in COMPOSITIONS for name in file.secrets], ids=str
    )
    @pytest.mark.parametrize(
        "left", [{}, {"SCIM_TOKEN": "", "POSTGRES_PASSWORD": ""}], ids=["unset", "empty"]
    )
    def test_compose_refuses_to_start_without_one(
        self, file: Composition, name: str, left: dict[str, str]
    ) -> None:
        others = {other: value for other, value in file.secrets.items() if other != name}
        with pytest.raises(UnsetVariableError, match=rf"{name}: .*\.env\.example"):
            file.interpolated({**left, **others})

    def test_without_a_database_the_token_is_the_only_one(self) -> None:
        assert set(DBLESS.secrets) == {"SCIM_TOKEN"}
        for file in (POSTGRES, HYBRID):
            assert set(file.secrets) == {"SCIM_TOKEN", "POSTGRES_PASSWORD"}

    def test_the_example_names_every_variable_and_gives_no_secret(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        named = dict(
            line.lstrip("# ").split("=", 1) for line in lines if re.match(r"^#? ?[A-Z_]+=", line)
        )
        assert set(named) == {name for file in COMPOSITIONS for name in file.variables()}
        secrets = {name for file in COMPOSITIONS for name in file.secrets}
        assert {name for name, value in named.items() if not value} == secrets

    @every_file
    def test_no_secret_stands_in_the_file(self, file: Composition) -> None:
        for service in file.raw()["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
                    assert value.startswith(("${", "/"))  # or the path of a file


class TestHealth:
    @every("services")
    def test_what_runs_is_checked_and_restarted(self, file: Composition, name: str) -> None:
        service = file.services[name]
        if name in file.one_shots:
            assert service["restart"] == "no"
            return
        dockerfile = (ROOT / "kong-plugins/Dockerfile").read_text()
        assert "healthcheck" in service or ("build" in service and "\nHEALTHCHECK " in dockerfile)
        assert service["restart"] == "unless-stopped"

    @every("services")
    def test_a_service_waits_until_what_it_needs_is_ready(
        self, file: Composition, name: str
    ) -> None:
        for needed, how in file.services[name].get("depends_on", {}).items():
            ended = "service_completed_successfully"
            assert how["condition"] == (ended if needed in file.one_shots else "service_healthy")

    @every_file
    def test_kong_starts_last(self, file: Composition) -> None:
        needed = {"plugin-server", "echo"}
        database = {"database", "configuration"}
        if file is POSTGRES:
            needed |= database
        if file is HYBRID:
            needed |= {"control-plane"}
            control_plane = file.services["control-plane"]["depends_on"]
            assert set(control_plane) == {"certificate", *database}
        if file is not DBLESS:
            assert "migrations" in file.services["configuration"]["depends_on"]
        assert set(file.services["kong"]["depends_on"]) == needed


@every_file
class TestThePluginServersSocket:
    def test_it_is_on_a_volume_of_its_own(self, file: Composition) -> None:
        """Kong deletes sockets in its prefix (docs/kong.md#sockets-in-the-prefix-are-deleted)."""
        settings = file.kong_environment("kong")
        directory = "/run/kong-scim"
        assert settings["KONG_PLUGINSERVER_SCIM_SOCKET"] == f"{directory}/scim.socket"
        assert settings["KONG_PLUGINSERVER_SCIM_QUERY_CMD"] == f"cat {directory}/scim.json"
        assert not directory.startswith(settings["KONG_PREFIX"])
        mounted = [file.mounts(name)[directory] for name in ("kong", "plugin-server")]
        assert mounted[0]["source"] == mounted[1]["source"]
        assert f"SOCKET_DIRECTORY={directory}" in (ROOT / "kong-plugins/Dockerfile").read_text()

    def test_kong_is_in_its_group_and_nobody_else(self, file: Composition) -> None:
        uid, gid = file.services["plugin-server"]["user"].split(":")
        volume = file.raw()["volumes"][file.mounts("plugin-server")["/run/kong-scim"]["source"]]
        assert f"uid={uid},gid={gid},mode=0750" in volume["driver_opts"]["o"]
        assert file.services["kong"]["group_add"] == [gid]
        assert f"USER {uid}:{gid}" in (ROOT / "kong-plugins/Dockerfile").read_text()

    def test_kong_does_not_start_the_plugin_server(self, file: Composition) -> None:
        """With a start command, GET / of the Admin API answers 500 (Kong/kong#14260)."""
        assert not [name for name in file.kong_environment("kong") if name.endswith("_START_CMD")]


class TestKong:
    @every("kong")
    def test_its_prefix_is_writable(self, file: Composition, name: str) -> None:
        prefix = file.kong_environment(name)["KONG_PREFIX"]
        assert f"{prefix}:mode=1777" in file.services[name]["tmpfs"]

    @every("kong")
    def test_it_finds_the_lua_plugins(self, file: Composition, name: str) -> None:
        pattern = file.kong_environment(name)["KONG_LUA_PACKAGE_PATH"].split(";")[0]
        for plugin in ("scim", "scim-bridge"):
            module = pattern.replace("?", f"kong/plugins/{plugin}/handler")
            mount = file.mounts(name)["/opt/kong-scim/kong"]
            assert (ROOT / mount["source"] / module.removeprefix("/opt/kong-scim/kong/")).is_file()
            assert plugin in file.kong_environment(name)["KONG_PLUGINS"].split(",")

    @every_file
    def test_it_has_the_token_that_the_configuration_refers_to(self, file: Composition) -> None:
        content = str(yaml.safe_load((ROOT / "kong.yml").read_text()))  # without its comments
        references = re.findall(r"\{vault://env/([\w-]+)\}", content)
        assert references
        for reference in references:
            assert reference.upper().replace("-", "_") in file.services["kong"]["environment"]

    @every_file
    def test_the_echo_service_is_where_the_configuration_says(self, file: Composition) -> None:
        assert "url: http://echo:8080" in (ROOT / "kong.yml").read_text()
        assert "listen 8080;" in file.services["echo"]["environment"]["NGINX_CONF"]
        assert set(file.services["echo"]["networks"]) <= set(file.services["kong"]["networks"])

    @every_file
    def test_it_is_given_kong_yml(self, file: Composition) -> None:
        with_it = "kong" if file is DBLESS else "configuration"
        path = "/etc/kong-scim/kong.yml"
        assert file.mounts(with_it)[path]["source"] == "./kong.yml"
        if file is not DBLESS:
            assert file.services[with_it]["command"] == ["kong", "config", "db_import", path]
        else:
            assert file.kong_environment(with_it)["KONG_DECLARATIVE_CONFIG"] == path
        for name in file.kong:
            is_data_plane = file is HYBRID and name == "kong"
            database = "off" if is_data_plane else file.database
            assert file.kong_environment(name)["KONG_DATABASE"] == database


class TestTheHybridGateway:
    def test_both_kinds_of_nodes_have_the_certificate_and_the_channel(self) -> None:
        for name in ("control-plane", "kong"):
            settings = HYBRID.kong_environment(name)
            assert settings["KONG_CLUSTER_RPC"] == "on"
            mount = HYBRID.mounts(name)["/run/kong-cluster"]
            assert mount == HYBRID.mounts("certificate")["/run/kong-cluster"]
            script = HYBRID.services["certificate"]["command"][2]
            for setting in ("KONG_CLUSTER_CERT", "KONG_CLUSTER_CERT_KEY"):
                assert settings[setting] in script
        trusted = HYBRID.kong_environment("kong")["KONG_LUA_SSL_TRUSTED_CERTIFICATE"]
        assert trusted.split(",")[-1] == HYBRID.kong_environment("kong")["KONG_CLUSTER_CERT"]

    def test_the_data_plane_finds_its_control_plane(self) -> None:
        host, port = HYBRID.kong_environment("kong")["KONG_CLUSTER_CONTROL_PLANE"].split(":")
        assert HYBRID.kong_environment(host)["KONG_CLUSTER_LISTEN"].endswith(f":{port}")
        networks = [set(HYBRID.services[name]["networks"]) for name in (host, "kong")]
        assert networks[0] & networks[1] == {"cluster"}


class TestWhatLastsWithoutADatabase:
    """SCIM resources, and the credentials of consumers, in the plugin server's store."""

    def test_it_is_on_a_volume_that_only_the_plugin_server_has(self) -> None:
        path = DBLESS.services["plugin-server"]["environment"]["KONG_SCIM_DATA"]
        volume = DBLESS.mounts("plugin-server")[path]
        assert volume["type"] == "volume"
        assert DBLESS.raw()["volumes"][volume["source"]] == {}  # on disk, under Docker's care
        for name in DBLESS.services:
            sources = [mount["source"] for mount in DBLESS.mounts(name).values()]
            assert (volume["source"] in sources) == (name == "plugin-server")

    def test_the_image_gives_it_an_owner(self) -> None:
        """A new volume takes owner and mode of the directory that the image has there."""
        path = DBLESS.services["plugin-server"]["environment"]["KONG_SCIM_DATA"]
        uid, gid = DBLESS.services["plugin-server"]["user"].split(":")
        made = f"install --directory --owner={uid} --group={gid} --mode=0700 {path}\n"
        assert made in (ROOT / "kong-plugins/Dockerfile").read_text()

    def test_with_a_database_there_is_none(self) -> None:
        assert "environment" not in POSTGRES.services["plugin-server"]
