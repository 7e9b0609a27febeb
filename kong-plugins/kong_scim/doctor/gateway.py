"""Judges what the gateway tells of itself: its answers, and ``GET /Doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from kong_scim import __version__
from kong_scim.doctor.report import Report
from kong_scim.doctor.route import Answer, is_loopback

Facts = Mapping[str, Any]

SKEW = (5, 60)
"""Seconds by which clocks may differ, before a warning and before a failure. JWTs may be a minute
off by default (``jwt.clock_skew``)."""

SMALLEST_BUFFER = 8 * 1024
"""Bytes of a body that should stay in memory, as most people's do: Kong's own default."""

OF_FACTS = frozenset(
    {"versions", "migrations", "guard", "service", "body-size", "memory", "https", "node"}
    | {"dry-run", "secrets"}
)
"""The checks that need ``GET /Doctor``."""


def check_clock(answer: Answer, facts: Facts | None, report: Report) -> None:
    """Compare this machine's clock with the gateway's."""
    told = [answer.date] if facts is None else [moment(facts["now"]), moment(facts["kongNow"])]
    clocks = [each for each in told if each is not None]
    if not clocks:
        report.skip("clock", "the answer has no date")
        return
    sent, received = answer.between
    second = timedelta(seconds=1)  # the header Date is cut to a second
    skew = max(
        max((sent - second - clock), (clock - received - second), timedelta()).total_seconds()
        for clock in clocks
    )
    if skew <= SKEW[0]:
        report.ok("clock", "the gateway's clock and this one agree")
        return
    found = f"The gateway's clock and this machine's differ by {skew:.0f} s"
    mend = "let NTP set both: tokens, sessions and revocations are judged by the time"
    (report.fail if skew > SKEW[1] else report.warn)("clock", found, mend)


def check_base_url(config: Answer, url: str, report: Report) -> None:
    """Compare the URL that is used with what the gateway calls itself in ``meta.location``."""
    location = str((config.body.get("meta") or {}).get("location", ""))
    own = httpx.URL(location.removesuffix("/ServiceProviderConfig") or url)
    used = httpx.URL(url)
    if str(own).rstrip("/") == str(used).rstrip("/"):
        report.ok("base-url", f"the gateway calls itself {url}")
        return
    found = f"The gateway calls itself {own}, and you call it {url}"
    mend = (
        "set config.base_url of the plugin to the public URL; behind a load balancer set "
        "KONG_TRUSTED_IPS, and let it send X-Forwarded-Proto, -Host and -Port "
        "(docs/operations.md#behind-a-load-balancer-that-ends-tls)"
    )
    if own.scheme != used.scheme:
        report.fail("base-url", found + ": TLS ends before Kong, and Kong does not know", mend)
    else:
        report.warn("base-url", found + "; providers follow meta.location", mend)


def check_facts(facts: Facts, url: httpx.URL, report: Report) -> None:
    """Judge the answer of ``GET /Doctor``."""
    for check in (_versions, _migrations, _guard, _service, _body_size, _memory):
        check(facts, report)
    _https(facts, url, report)
    _others(facts, report)


def _versions(facts: Facts, report: Report) -> None:
    versions = facts["versions"]
    kong, written_for = str(versions["kong"]), str(versions["writtenFor"])
    ours = {name: versions[name] for name in ("pluginServer", "scim", "scimBridge")}
    if len(set(ours.values())) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in ours.items())
        report.fail(
            "versions",
            f"The parts are of several releases: {listed}",
            "install the Lua files and the plugin server from one release, then restart both",
        )
    if not kong.startswith(f"{written_for}."):
        report.warn(
            "versions",
            f"This is Kong {kong}, and the plugins were written for Kong {written_for}",
            f"use Kong {written_for}, or try this one before you rely on it: private functions of "
            "Kong are used",
        )
    if versions["pluginServer"] != __version__:
        report.warn(
            "versions",
            f"This kong-scim is {__version__}, and the gateway's is {versions['pluginServer']}",
            "use the command line of the gateway's release",
        )
    report.ok("versions", f"Kong {kong}, all parts of Kong SCIM {versions['pluginServer']}")


def _migrations(facts: Facts, report: Report) -> None:
    found = facts["migrations"]
    if found is None:
        report.skip("migrations", "this Kong has no database")
    elif "error" in found:
        report.fail("migrations", f"They cannot be read: {found['error']}", "see Kong's error log")
    elif found["missing"]:
        report.fail(
            "migrations",
            f"The database lacks {', '.join(found['missing'])}",
            "run `kong migrations up`, and `kong migrations finish` when all nodes are new",
        )
    elif found["unknown"]:
        report.fail(
            "migrations",
            f"The database is of a newer release, which has {', '.join(found['unknown'])}",
            "install that release on this node too",
        )
    elif found["pending"]:
        report.warn(
            "migrations",
            f"These are not finished: {', '.join(found['pending'])}",
            "run `kong migrations finish` when all nodes are new",
        )
    else:
        report.ok("migrations", "all were run")


def _guard(facts: Facts, report: Report) -> None:
    guard = facts["guard"]
    own, acl = (guard["priorities"].get(name) for name in ("scim-bridge", "acl"))
    if not guard["enabled"]:
        report.fail(
            "guard",
            "scim-bridge is not enabled for every route: a suspended person gets in",
            "enable it globally: POST /plugins with name=scim-bridge, or `plugins: [{name: "
            "scim-bridge}]` in kong.yml",
        )
    elif own is None or (acl is not None and own <= acl):
        report.fail(
            "guard",
            f"scim-bridge (priority {own}) does not run before acl (priority {acl})",
            "take out what changes the priority of a plugin: the guard belongs between "
            "authentication and acl",
        )
    else:
        report.ok("guard", "scim-bridge is enabled for every route, and runs before acl")


def _service(facts: Facts, report: Report) -> None:
    service = facts["route"]["service"]
    if service is None:
        report.ok("service", f"the route {facts['route']['name']} has none")
    else:
        report.fail(
            "service",
            f"The SCIM route {facts['route']['name']} has the service {service}: if the plugin "
            "fails, requests with tokens and personal data go there",
            "remove the service from the route",
        )


def _body_size(facts: Facts, report: Report) -> None:
    limits = facts["limits"]
    nginx, plugin = limits["clientMaxBodySize"], limits["maxBodySize"]
    buffer = limits["clientBodyBufferSize"]
    if nginx and nginx < plugin:
        report.fail(
            "body-size",
            f"Nginx refuses bodies over {nginx} bytes, and the plugin takes {plugin}: what is "
            "between gets a 413 that is no SCIM error",
            "raise KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE, or lower config.max_body_size",
        )
    if limits["bodies"] < plugin:
        report.warn(
            "body-size",
            f"The plugin server holds {limits['bodies']} bytes of large bodies, less than one of "
            f"config.max_body_size ({plugin})",
            "raise --bodies of the plugin server, or lower config.max_body_size",
        )
    if buffer is not None and buffer < SMALLEST_BUFFER:
        report.warn(
            "body-size",
            f"Nginx keeps {buffer} bytes of a body in memory (client_body_buffer_size), so almost "
            "each request of a provider waits for a file",
            "set KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE to 16k",
        )
    seconds, timeout = limits["statementSeconds"], limits["pgTimeout"]
    if timeout and seconds * 1000 > 0.9 * timeout:
        report.warn(
            "body-size",
            f"limits.statement_seconds is {seconds}, and Kong's pg_timeout of {timeout} ms ends "
            "statements earlier",
            "raise KONG_PG_TIMEOUT, or lower limits.statement_seconds",
        )
    report.ok("body-size", f"bodies up to {plugin} bytes are taken")


def _memory(facts: Facts, report: Report) -> None:
    complete = facts["memoryComplete"]
    if complete is None:
        report.skip("memory", "this Kong has a database")
    elif complete is True:
        report.ok("memory", "Kong has all that is stored")
    else:
        error = complete["error"] if isinstance(complete, dict) else None
        report.fail(
            "memory",
            f"Whether Kong has SCIM's consumers cannot be told: {error}"
            if error
            else "Kong is being given SCIM's consumers again, and refuses them until then",
            "wait, and read the plugin server's log: docs/operations.md#life-after-a-restart",
        )


def _https(facts: Facts, url: httpx.URL, report: Report) -> None:
    request = facts["request"]
    balancer = "docs/operations.md#behind-a-load-balancer-that-ends-tls"
    if url.scheme == "https" and not request["https"]:
        report.fail(
            "https",
            f"The request left here over TLS, and Kong sees plain HTTP from {request['clientIp']}",
            f"set KONG_TRUSTED_IPS to the balancer's addresses ({balancer})",
        )
    elif not facts["requireHttps"] and not is_loopback(url.host):
        report.warn(
            "https",
            "config.require_https is off: tokens may come in plain HTTP",
            f"turn it on, and set KONG_TRUSTED_IPS where TLS ends before Kong ({balancer})",
        )
    else:
        report.ok("https", "over TLS" if request["https"] else "plain HTTP is allowed, from here")


def _others(facts: Facts, report: Report) -> None:
    channel, database = facts["node"]["channel"], facts["node"]["database"]
    if channel in {"off", "konnect"}:
        report.fail(
            "node",
            "This node is a data plane that cannot write on its control plane",
            "set cluster_rpc = on on all nodes of a hybrid gateway; Konnect is not supported "
            "(docs/deployments.md#hybrid)",
        )
    elif channel == "cluster":
        report.ok("node", "a data plane that writes on its control plane")
    else:
        report.ok("node", f"it writes here, database {database}")
    if facts["dryRun"]:
        report.warn(
            "dry-run",
            "config.dry_run is true: answers report success, and nothing changes",
            "turn it off when the provider shall really provision (docs/safety.md#dry-run)",
        )
    else:
        report.ok("dry-run", "changes are made")
    for field in facts["secretsInClear"]:
        report.fail("secrets", f"{field} is a secret in clear", IN_CLEAR)
    report.ok("secrets", "all are references, files or digests")


IN_CLEAR = (
    "put the value into a vault, such as {vault://env/scim-token}, or use `sha256` or `file`; then "
    "change the secret, because whoever read the configuration knows it"
)


def moment(text: str) -> datetime:
    """Return a time as the gateway writes it."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
