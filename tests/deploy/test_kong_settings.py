"""Every setting in the Compose files and in the docs is one that Kong knows.

Kong ignores a variable it does not know, so a misspelt one would silently not be set.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from composition import ROOT, Composition, every, every_file

from kong_process import kong_binary, requires_kong

KNOWN = {
    "admin_access_log",
    "admin_error_log",
    "admin_gui_listen",
    "admin_listen",
    "anonymous_reports",
    "cluster_cert",
    "cluster_cert_key",
    "cluster_control_plane",
    "cluster_incremental_sync",
    "cluster_listen",
    "cluster_rpc",
    "database",
    "db_update_frequency",
    "declarative_config",
    "lua_package_path",
    "lua_ssl_trusted_certificate",
    "nginx_http_client_max_body_size",
    "nginx_http_lua_shared_dict",
    "nginx_worker_processes",
    "pg_database",
    "pg_host",
    "pg_password",
    "pg_user",
    "plugins",
    "pluginserver_names",
    "prefix",
    "proxy_access_log",
    "proxy_error_log",
    "proxy_listen",
    "real_ip_header",
    "real_ip_recursive",
    "role",
    "ssl_cert",
    "ssl_cert_key",
    "status_listen",
    "trusted_ips",
}
"""Settings of Kong 3.9 that this project uses (kong/templates/kong_defaults.lua at 3.9.3)."""

PATTERNS = (
    r"pluginserver_scim_(socket|start_cmd|query_cmd)",
    r"nginx_proxy_ssl_(client_certificate|verify_client)",  # directives of Nginx, injected
)
"""Names with a name in them (kong/conf_loader/init.lua)."""

DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))

OURS = {
    "KONG_SCIM_BODIES",
    "KONG_SCIM_DATA",
    "KONG_SCIM_KONG",
    "KONG_SCIM_PROCESSES",
    "KONG_SCIM_QUEUE",
    "KONG_SCIM_SCHEMAS",
    "KONG_SCIM_WORKERS",
}
"""Begin like settings of Kong and are this project's own."""


def is_known(name: str) -> bool:
    """Whether an environment variable is a setting of Kong."""
    setting = name.removeprefix("KONG_").lower()
    return setting in KNOWN or any(re.fullmatch(pattern, setting) for pattern in PATTERNS)


@every("kong")
def test_docker_compose_uses_names_that_kong_has(file: Composition, name: str) -> None:
    assert [each for each in file.kong_environment(name) if not is_known(each)] == []


def test_a_misspelt_name_would_be_seen() -> None:
    assert not is_known("KONG_PLUGIN_SERVER_NAMES")
    assert not is_known("KONG_PLUGINSERVER_SCIM_QUERYCMD")


@pytest.mark.parametrize("document", ["README.md", *DOCUMENTS])
def test_the_docs_use_names_that_kong_has(document: str) -> None:
    used = set(re.findall(r"\bKONG_[A-Z][A-Z_]+\b", (ROOT / document).read_text())) - OURS
    assert {name for name in used if not is_known(name)} == set()


def cluster_certificate(directory: Path) -> list[str]:
    """Have Kong make the certificate of a cluster; return its path and that of its key."""
    paths = [str(directory / name) for name in ("cluster.crt", "cluster.key")]
    command = [kong_binary(), "hybrid", "gen_cert", *paths]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return paths


@requires_kong
class TestARealKong:
    def prepared(self, prefix: Path, settings: dict[str, str]) -> dict[str, str]:
        """What Kong makes of settings: it writes those it knows into its prefix."""
        subprocess.run(
            [kong_binary(), "prepare"],
            env={"PATH": "/usr/bin:/bin", **settings, "KONG_PREFIX": str(prefix)},
            check=True,
            capture_output=True,
            timeout=60,
        )
        lines = (prefix / ".kong_env").read_text().splitlines()
        return dict(line.split(" = ", 1) for line in lines if " = " in line)

    @every_file
    def test_it_takes_the_settings_of_docker_compose(
        self, file: Composition, tmp_path: Path
    ) -> None:
        certificate, key = cluster_certificate(tmp_path)
        here = {
            "KONG_CLUSTER_CERT": certificate,
            "KONG_CLUSTER_CERT_KEY": key,
            "KONG_LUA_SSL_TRUSTED_CERTIFICATE": certificate,
            "KONG_LUA_PACKAGE_PATH": f"{ROOT}/kong-plugins/?.lua;;",
            "KONG_PG_HOST": "127.0.0.1",
            "KONG_DECLARATIVE_CONFIG": str(ROOT / "kong.yml"),
        }
        settings = file.kong_environment("kong")
        settings |= {name: value for name, value in here.items() if name in settings}
        taken = self.prepared(tmp_path, settings)
        for name in settings:
            assert name.removeprefix("KONG_").lower() in taken
        assert taken["plugins"] == settings["KONG_PLUGINS"]
        assert taken["pluginserver_scim_socket"] == settings["KONG_PLUGINSERVER_SCIM_SOCKET"]
        assert taken["pluginserver_scim_query_cmd"] == settings["KONG_PLUGINSERVER_SCIM_QUERY_CMD"]

    def test_it_knows_every_name_of_the_list(self, tmp_path: Path) -> None:
        certificate, key = cluster_certificate(tmp_path)
        # those that Kong writes down only when they are set
        values = {
            "cluster_cert": certificate,
            "cluster_cert_key": key,
            "declarative_config": str(ROOT / "kong.yml"),
            "nginx_http_lua_shared_dict": "scim_subjects 64m",
            "pg_password": "x",
            "pluginserver_names": "scim",
            "pluginserver_scim_query_cmd": "true",
            "trusted_ips": "10.0.0.0/8",
            "misspelt": "x",
        }
        settings = {f"KONG_{name.upper()}": value for name, value in values.items()}
        taken = self.prepared(tmp_path, settings)
        assert set(taken) >= KNOWN
        assert "misspelt" not in taken
