"""The values for Kong's Helm chart, without the chart: the pod that it makes of them.

What the chart does was looked up at its version 3.4.1: these values go into the pod as they are.
"""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from composition import DBLESS, POSTGRES, ROOT
from test_kong_settings import is_known

from kong_scim import __version__
from kong_scim.pluginserver.__main__ import _parse
from kong_scim_sandbox.declarative import load

KUBERNETES = "1.29"
"""The oldest version that the values are for: the first with sidecars unless switched off."""

OF_THE_CHART = {
    "admin",
    "customEnv",
    "dblessConfig",
    "deployment",
    "env",
    "image",
    "ingressController",
    "manager",
    "plugins",
    "proxy",
    "replicaCount",
    "securityContext",
    "updateStrategy",
}
"""Values that the chart has. It ignores what it does not know."""

OF_THE_DEPLOYMENT = {"initContainers", "userDefinedVolumeMounts", "userDefinedVolumes"}

FILES = {"values.yaml": POSTGRES, "values.dbless.yaml": DBLESS}
every_file = pytest.mark.parametrize("name", FILES)


def values(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "kong-plugins/helm" / name).read_text())
    return found


def plugin_server(name: str) -> dict[str, Any]:
    [container] = values(name)["deployment"]["initContainers"]
    assert container["name"] == "plugin-server"
    return dict(container)


def environment(entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Environment variables, as the chart writes them from a map."""
    return [
        {"name": name.upper(), **(value if isinstance(value, dict) else {"value": str(value)})}
        for name, value in entries.items()
    ]


def deployment(name: str) -> dict[str, Any]:
    """The chart's deployment, with what these values change of it."""
    tree = values(name)
    deployed = tree["deployment"]
    kong = {
        "name": "proxy",
        "image": f"{tree['image']['repository']}:{tree['image']['tag']}",
        "env": environment({f"kong_{key}": value for key, value in tree["env"].items()})
        + environment(tree["customEnv"]),
        "volumeMounts": deployed["userDefinedVolumeMounts"],
    }
    pod = {
        "initContainers": deployed["initContainers"],
        "containers": [kong],
        "securityContext": tree["securityContext"],
        "volumes": deployed["userDefinedVolumes"],
    }
    labels = {"app": "kong"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kong"},
        "spec": {
            "replicas": tree.get("replicaCount", 1),
            "strategy": tree.get("updateStrategy", {}),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@every_file
def test_kubernetes_takes_the_pod(name: str) -> None:
    kubernetes_validate.validate(deployment(name), KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_seen() -> None:
    tree = deployment("values.yaml")
    tree["spec"]["template"]["spec"]["initContainers"][0]["startupProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="startupProb"):
        kubernetes_validate.validate(tree, KUBERNETES, strict=True)


@every_file
def test_the_chart_knows_every_value(name: str) -> None:
    tree = values(name)
    assert set(tree) <= OF_THE_CHART
    assert set(tree["deployment"]) <= OF_THE_DEPLOYMENT


@every_file
def test_every_volume_that_is_mounted_is_there(name: str) -> None:
    deployed = values(name)["deployment"]
    mounted = [*deployed["userDefinedVolumeMounts"], *plugin_server(name)["volumeMounts"]]
    assert {mount["name"] for mount in mounted} == {
        volume["name"] for volume in deployed["userDefinedVolumes"]
    }


@every_file
def test_kong_is_told_what_the_compose_file_tells_it(name: str) -> None:
    settings = {f"KONG_{key.upper()}": value for key, value in values(name)["env"].items()}
    assert [each for each in settings if not is_known(each)] == []
    of_compose = FILES[name].kong_environment("kong")
    texts = {each: value for each, value in settings.items() if isinstance(value, str)}
    assert texts == {each: of_compose[each] for each in texts} | {
        each: texts[each] for each in texts if each == "KONG_PG_HOST"
    }
    wanted = {each for each in of_compose if "PLUGINSERVER" in each or each == "KONG_DATABASE"}
    assert wanted <= set(settings)


@every_file
def test_both_plugins_are_mounted_with_their_directories(name: str) -> None:
    """The chart adds them to KONG_PLUGINS, and mounts no directory inside of one unless told."""
    mounted = {
        plugin["pluginName"]: {each["path"] for each in plugin.get("subdirectories", [])}
        for plugin in values(name)["plugins"]["configMaps"]
    }
    assert mounted == {
        plugin.name: {path.name for path in plugin.iterdir() if path.is_dir()}
        for plugin in (ROOT / "kong-plugins/kong/plugins").iterdir()
    }


@every_file
def test_the_page_makes_what_the_values_name(name: str) -> None:
    page = (ROOT / "docs/install/kubernetes.md").read_text()
    text = (ROOT / "kong-plugins/helm" / name).read_text()
    for kind, pattern in (
        ("configmap", r"^ +-? ?name: (kong-plugin-\S+)$"),
        ("secret generic", r"secretKeyRef: \{name: ([\w-]+),"),
    ):
        names = set(re.findall(pattern, text, re.MULTILINE))
        assert names
        for each in names:
            assert f"create {kind} {each} " in page
    for key in re.findall(r"secretKeyRef: \{name: [\w-]+, key: ([\w-]+)\}", text):
        assert f"--from-literal={key}=" in page
    for claim in re.findall(r"claimName: ([\w-]+)", text):
        assert f"name: {claim}" in page


@every_file
def test_the_plugin_server_is_hardened_as_its_container_is(name: str) -> None:
    container = plugin_server(name)
    security = container["securityContext"]
    user = POSTGRES.services["plugin-server"]["user"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert security["runAsNonRoot"] is security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert values(name)["securityContext"]["fsGroup"] == security["runAsGroup"]
    assert container["image"] == f"kong-scim-plugin-server:{__version__}"


@every_file
def test_its_probes_are_commands_that_it_has(name: str) -> None:
    for probe in ("startupProbe", "livenessProbe"):
        command = plugin_server(name)[probe]["exec"]["command"]
        assert command[:3] == ["python", "-m", "kong_scim.pluginserver"]
        options = _parse(command[3:])
        assert options.check
        assert str(options.socket) == values(name)["env"]["pluginserver_scim_socket"]


def test_dbless_has_one_plugin_server_at_a_time_and_a_volume() -> None:
    spec = deployment("values.dbless.yaml")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    container = plugin_server("values.dbless.yaml")
    [data] = [each["value"] for each in container["env"] if each["name"] == "KONG_SCIM_DATA"]
    assert data in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_what_needs_no_difference_has_none() -> None:
    with_postgres, without = map(values, FILES)
    for each in ("image", "plugins", "securityContext", "admin", "manager", "proxy"):
        assert with_postgres[each] == without[each]
    mine, theirs = map(plugin_server, FILES)
    for container in (mine, theirs):
        del container["env"], container["volumeMounts"]
    assert mine == theirs


def test_the_configuration_of_dbless_is_one() -> None:
    declaration = load(values("values.dbless.yaml")["dblessConfig"]["config"])
    assert {plugin.name for plugin in declaration.plugins} == {"scim", "scim-bridge"}
