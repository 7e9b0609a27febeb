"""Looks at Kong's Admin API: plugins, routes and Kong's own settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from kong_scim.doctor.declared import Instance, check_instances
from kong_scim.doctor.report import Report
from kong_scim.doctor.symptoms import symptom_of

_PAGES = 100
"""Pages of 1,000 entities that are read at most."""

_AUTHENTICATION = frozenset(
    {"key-auth", "basic-auth", "hmac-auth", "jwt", "ldap-auth", "oauth2", "session"}
    | {"openid-connect", "mtls-auth", "ldap-auth-advanced", "key-auth-enc", "saml", "jwt-signer"}
    | {"oauth2-introspection", "header-cert-auth", "vault-auth", "scim"}
)
"""Plugins by which a route knows who calls."""

SLOWEST_POLL = 10
"""Seconds of ``db_update_frequency`` from which on there is a warning."""

Row = Mapping[str, Any]


class _AdminApi:
    def __init__(self, url: str, transport: httpx.BaseTransport | None) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=20, transport=transport)

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def every(self, path: str) -> Iterator[Row]:
        """Yield the entities of all pages."""
        following: str | None = f"{path}?size=1000"
        for _ in range(_PAGES):
            if following is None:
                return
            page = self.get(following).raise_for_status().json()
            yield from page["data"]
            following = page.get("next")


def look_at_admin_api(
    url: str, report: Report, transport: httpx.BaseTransport | None = None
) -> bool:
    """Look at the Admin API. Return whether it answers."""
    api = _AdminApi(url, transport)
    try:
        root = api.get("/")
        if root.status_code == 500:
            report.fail(
                "admin-api",
                "GET / of the Admin API is answered 500",
                "do not set KONG_PLUGINSERVER_SCIM_START_CMD (Kong/kong#14260): let a supervisor "
                "start the plugin server",
            )
        elif root.status_code != 200:
            symptom = symptom_of(root.status_code, root.text)
            advice = symptom.advice if symptom else "is this the URL of KONG_ADMIN_LISTEN?"
            report.fail("admin-api", f"{url} is answered {root.status_code}", advice)
            return True
        plugins = list(api.every("/plugins"))
        routes = {row["id"]: row for row in api.every("/routes")}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        report.fail(
            "admin-api",
            f"The Admin API does not answer at {url}: {error}",
            "give the URL of KONG_ADMIN_LISTEN, from a machine that may reach it",
        )
        return False
    if root.status_code == 200:
        report.ok("admin-api", f"it answers at {url}")
        _settings(root.json(), report)
    check_instances(list(_instances(plugins, routes)), report)
    _guard(plugins, report)
    _routes(plugins, routes.values(), report)
    return True


def _settings(root: Row, report: Report) -> None:
    """Judge what ``GET /`` says of Kong's settings; the sandbox says nothing of them."""
    available = (root.get("plugins") or {}).get("available_on_server")
    if available is not None:
        missing = [name for name in ("scim", "scim-bridge") if not available.get(name)]
        if missing:
            report.fail(
                "plugins",
                f"Kong has not loaded {' and '.join(missing)}",
                "set KONG_PLUGINS=bundled,scim,scim-bridge, and KONG_LUA_PACKAGE_PATH to the Lua "
                "files; then restart Kong",
            )
        else:
            report.ok("plugins", "Kong has loaded scim and scim-bridge")
    poll = (root.get("configuration") or {}).get("db_update_frequency")
    if isinstance(poll, (int, float)) and poll > SLOWEST_POLL:
        report.warn(
            "guard",
            f"Other nodes of the cluster learn of a revocation after {poll + 1:g} s",
            "lower KONG_DB_UPDATE_FREQUENCY (docs/operations.md#how-soon-a-revocation-holds)",
        )


def _instances(plugins: Sequence[Row], routes: Mapping[str, Row]) -> Iterator[Instance]:
    for row in plugins:
        if row["name"] != "scim":
            continue
        route = routes.get((row.get("route") or {}).get("id", ""))
        name = str(route.get("name") or route["id"]) if route else None
        service = route.get("service") if route else row.get("service")
        yield Instance(
            config=row.get("config") or {},
            enabled=row.get("enabled", True),
            route=name,
            service=service["id"] if service else None,
        )


def _guard(plugins: Sequence[Row], report: Report) -> None:
    for row in plugins:
        if row["name"] in {"acl", "scim-bridge"} and row.get("ordering"):
            report.warn(
                "guard",
                f"The plugin {row['name']} has an order of its own",
                "take `ordering` out, or see that scim-bridge runs after authentication and "
                "before acl",
            )
    is_on = any(
        row["name"] == "scim-bridge" and row.get("enabled", True) and _is_global(row)
        for row in plugins
    )
    if not is_on:
        report.fail(
            "guard",
            "scim-bridge is not enabled for every route: a suspended person gets in",
            "POST /plugins with name=scim-bridge, on no route, service or consumer",
        )
    else:
        report.ok("guard", "scim-bridge is enabled for every route")


def _is_global(row: Row) -> bool:
    return not any(row.get(each) for each in ("route", "service", "consumer", "consumer_group"))


def _routes(plugins: Sequence[Row], routes: Any, report: Report) -> None:
    """Name the routes of an API on which nobody is asked who calls."""
    asking = [row for row in plugins if row["name"] in _AUTHENTICATION and row.get("enabled", True)]
    places = {
        (kind, row[kind]["id"]) for row in asking for kind in ("route", "service") if row.get(kind)
    }
    everywhere = any(_is_global(row) for row in asking)
    open_routes = [
        str(route.get("name") or route["id"])
        for route in routes
        if route.get("service")
        and not everywhere
        and ("route", route["id"]) not in places
        and ("service", route["service"]["id"]) not in places
    ]
    if open_routes:
        named = ", ".join(sorted(open_routes)[:10]) + (", ..." if len(open_routes) > 10 else "")
        report.warn(
            "routes",
            f"{len(open_routes)} routes have no authentication plugin, so that a disabled person "
            f"may call them as well: {named}",
            "add an authentication plugin where only known people may call",
        )
    else:
        report.ok("routes", "each route of an API has an authentication plugin")
