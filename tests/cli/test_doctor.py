"""``kong-scim doctor`` names the fault of each broken set-up, and finds nothing on a good one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from certificates import Authority
from declared import scim_plugin
from hosts import ROOT, Gateway, SandboxHost, scim_client
from kong_process import requires_kong
from kong_scim.cli.main import main
from kong_scim.doctor.examination import Subject, examine
from kong_scim.doctor.providers import providers
from kong_scim.doctor.report import CHECKS, Finding, Report, State
from kong_scim.doctor.symptoms import symptoms, with_table
from outbox import events, run
from ports import free_port
from scim_traffic import new_group, new_user
from variants import variant

ADMIN = "token-of-an-administrator"
IDP = {"name": "idp", "value": "{vault://env/scim-token-a}"}


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


TOKENS: list[dict[str, Any]] = [
    IDP,
    {"name": "admin", "sha256": digest(ADMIN), "scopes": ["scim:admin"]},
]


@pytest.fixture(scope="module")
def host(_gateways: Callable[[str], Gateway]) -> Gateway:
    """The sandbox of all tests: a fault is the same on each host."""
    return _gateways("sandbox")


@pytest.fixture
def kong_with_postgres(_gateways: Callable[[str], Gateway]) -> Gateway:
    return _gateways("kong-postgres")


@pytest.fixture(scope="module")
def good(host: Gateway) -> Iterator[Gateway]:
    """A gateway as one should set it up."""
    with variant(host, tokens=TOKENS) as gateway:
        gateway.scim.get("/Users").raise_for_status()
        yield gateway


def look(url: str, **more: Any) -> Report:
    report, _ = examine(Subject(url, more.pop("token", ADMIN), **more))
    return report


def wrong(report: Report) -> dict[str, str]:
    """Return what is found wrong, by check."""
    return {each.check: each.found for each in report.findings() if each.mend}


def finding(report: Report, check: str) -> Finding:
    """Return the finding about a check; each fault has a sentence that mends it."""
    found = next(each for each in report.findings() if each.check == check)
    assert found.mend, f"nothing is wrong with {check}: {found.found}"
    return found


def failed(report: Report, check: str) -> str:
    found = finding(report, check)
    assert found.state is State.FAILED
    assert report.exit_status() == 1
    return found.found


class Telling(httpx.HTTPTransport):
    """The gateway, with something else in one of its JSON answers."""

    def __init__(self, path: str, change: Callable[[Any], Any]) -> None:
        super().__init__(trust_env=False)
        self._path, self._change = path, change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if not request.url.path.endswith(self._path):
            return answer
        body = json.loads(answer.read()) if answer.status_code == 200 else {}
        return httpx.Response(200, json=self._change(body) or body)


def answering(status: int, body: Any, **headers: str) -> httpx.MockTransport:
    """A gateway that answers each request alike."""
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body, headers=headers))


# -- A good one -----------------------------------------------------------------


def test_nothing_is_found_wrong_with_a_good_set_up(good: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "kong.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "plugins": [{"name": "scim-bridge"}],
                "routes": [{"name": "scim", "plugins": [scim_plugin("a", "scim-token")]}],
            }
        )
    )
    listening = plugin_socket(good)
    report = look(good.scim_base, config=file, socket=listening)
    assert wrong(report) == {}
    assert report.exit_status(strict=True) == 0
    assert [each.check for each in report.findings()] == list(CHECKS)
    fine = {each.check for each in report.findings() if each.state is State.OK}
    assert {"token", "guard", "service", "versions", "clock", "last-request", "socket"} <= fine


def plugin_socket(gateway: Gateway) -> Path:
    """Return the socket of the plugin server that the sandbox started."""
    command = gateway.host.plugin_server().cmdline()
    return Path(command[command.index("--socket") + 1])


def test_a_provider_s_token_tells_what_it_can(good: Gateway) -> None:
    report = look(good.scim_base, token=good.token)
    assert wrong(report) == {}
    states = {each.check: each.state for each in report.findings()}
    assert states["scopes"] is State.OK
    assert states["versions"] is State.SKIPPED


# -- What the network and the front say ------------------------------------------


def test_a_name_without_an_address_could_not_be_looked_at() -> None:
    report = look("https://no such host/scim/v2".replace(" ", "-") + ".invalid")
    assert finding(report, "address").state is State.FAILED
    assert report.exit_status() == 2


def test_a_port_where_nobody_listens() -> None:
    report = look(f"http://127.0.0.1:{free_port()}/scim/v2")
    assert "Nothing answers" in finding(report, "address").found
    assert report.exit_status() == 2


def test_a_port_without_tls(good: Gateway) -> None:
    assert "No TLS" in failed(look(good.scim_base.replace("http:", "https:")), "tls")


@contextlib.contextmanager
def tls_in_front(gateway: Gateway, context: ssl.SSLContext) -> Iterator[str]:
    """A proxy that ends TLS before the gateway, and tells it nothing; yields the base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    base = httpx.URL(gateway.scim_base)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with contextlib.suppress(OSError):
                    secured = context.wrap_socket(client, server_side=True)
                    inner = socket.create_connection((base.host, base.port or 80))
                    for pair in ((secured, inner), (inner, secured)):
                        threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    port = listening.getsockname()[1]
    yield str(base.copy_with(scheme="https", host="localhost", port=port))
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path / "authority", "doctor")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


def test_plain_http_behind_a_proxy_that_kong_does_not_trust(
    host: Gateway, authority: Authority
) -> None:
    with (
        variant(host, tokens=TOKENS, require_https=True) as strict,
        tls_in_front(strict, authority.server("localhost")) as url,
    ):
        assert "Use https" in failed(look(url), "https")


def test_plain_http_behind_a_proxy_where_the_plugin_allows_it(
    good: Gateway, authority: Authority
) -> None:
    with tls_in_front(good, authority.server("localhost")) as url:
        report = look(url)
    assert "sees plain HTTP" in failed(report, "https")
    assert "TLS ends before Kong" in failed(report, "base-url")
    # The certificate of this authority lasts for a day.
    assert set(wrong(report)) == {"https", "base-url", "tls"}


def test_a_certificate_that_nobody_trusts(good: Gateway, tmp_path: Path) -> None:
    context = Authority(tmp_path, "unknown").server("localhost")
    with tls_in_front(good, context) as url:
        assert "not trusted" in failed(look(url), "tls")


def test_a_url_that_is_not_the_route_s(good: Gateway) -> None:
    assert "no Route matched" in failed(look(good.proxy_url + "/skim/v2"), "route")


def test_a_service_that_answers_in_place_of_the_plugin() -> None:
    report = look("http://gw.example/scim/v2", transport=answering(200, {"hello": "world"}))
    assert failed(report, "route")


def test_a_plugin_in_front_that_refuses_the_provider(host: Gateway) -> None:
    with variant(host, in_front=[{"name": "key-auth"}], tokens=TOKENS) as gateway:
        assert "No API key found" in failed(look(gateway.scim_base), "front")


def test_a_gateway_that_calls_itself_something_else(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, base_url="http://gw.example/scim/v2") as gateway:
        report = look(gateway.scim_base)
    assert finding(report, "base-url").state is State.WARNING
    assert report.exit_status() == 0
    assert report.exit_status(strict=True) == 1


# -- Tokens ----------------------------------------------------------------------


def test_a_wrong_token(good: Gateway) -> None:
    assert set(wrong(look(good.scim_base, token="wrong"))) == {"token"}
    assert set(wrong(look(good.scim_base, token=None))) == {"token"}


EXPIRED = {"name": "old", "sha256": digest("old"), "expires": "2020-01-01T00:00:00Z"}


def test_an_expired_token(host: Gateway) -> None:
    with variant(host, tokens=[*TOKENS, EXPIRED]) as gateway:
        assert "expired at 2020" in failed(look(gateway.scim_base, token="old"), "expiry")
        assert "old expired at 2020" in failed(look(gateway.scim_base), "expiry")


def test_a_token_that_expires_soon(good: Gateway) -> None:
    ends = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"

    def change(facts: Any) -> None:
        facts["tokens"][0]["expires"] = ends

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, "expiry").state is State.WARNING


def test_too_few_scopes(host: Gateway) -> None:
    readers = [{"name": "idp", "sha256": digest("reader"), "scopes": ["scim:read"]}, TOKENS[1]]
    with variant(host, tokens=[*readers, {**IDP, "name": "t", "scopes": ["scim:groups"]}]) as of:
        reader = look(of.scim_base, token="reader")
        assert "scim:groups and scim:users" in failed(reader, "scopes")
    with variant(host, tokens=[{**IDP, "scopes": ["scim:users", "scim:admin"]}]) as of:
        report = look(of.scim_base, token=of.token)
        assert "has the scope scim:admin" in finding(report, "scopes").found


def test_no_token_that_may_provision(good: Gateway) -> None:
    def change(facts: Any) -> None:
        for token in facts["tokens"]:
            token["scopes"] = ["scim:read"]

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert "No token may write" in failed(report, "scopes")


def test_a_secret_in_clear(host: Gateway) -> None:
    clear = {"name": "clear", "value": "a secret in clear"}
    with variant(host, tokens=[*TOKENS, clear]) as gateway:
        report = look(gateway.scim_base)
        assert "config.tokens[clear].value" in failed(report, "secrets")
        assert "a secret in clear" not in json.dumps(
            [each.to_json() for each in report.findings() if each.check != "secrets"]
        )


# -- What the gateway tells of itself ----------------------------------------------


def test_the_guard_is_missing(host: Gateway, good: Gateway) -> None:
    host.set_guard(False)
    try:
        report = look(good.scim_base, admin_url=host.host.admin_url)
    finally:
        host.set_guard(True)
        host.wait()
    assert failed(report, "guard")


def test_a_service_on_the_route(host: Gateway) -> None:
    assert isinstance(host.host, SandboxHost)
    (service,) = host.content["services"]
    route = {
        "name": "with-service",
        "paths": ["/with-service/scim/v2"],
        "plugins": [scim_plugin("with-service", "scim-token-a")],
    }
    service["routes"].append(route)
    host.host.configure(host.content)
    try:
        base = host.proxy_url + "/with-service/scim/v2"
        report = look(base, token=host.token, admin_url=host.host.admin_url)
    finally:
        service["routes"].remove(route)
        host.host.configure(host.content)
    assert "with-service" in failed(report, "service")


def test_a_configuration_that_cannot_work(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, consumer={"username": "nothingLikeThat"}) as gateway:
        assert "nothingLikeThat" in failed(look(gateway.scim_base), "configuration")


def test_a_dry_run_that_was_left_on(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, dry_run=True) as gateway:
        assert "nothing changes" in finding(look(gateway.scim_base), "dry-run").found


def _set(*path: str, to: Any) -> Callable[[Any], None]:
    def change(facts: Any) -> None:
        for name in path[:-1]:
            facts = facts[name]
        facts[path[-1]] = to

    return change


TOLD: dict[str, tuple[str, Callable[[Any], None], State]] = {
    "another release of Kong": (
        "versions",
        _set("versions", "kong", to="3.4.2"),
        State.WARNING,
    ),
    "Lua files of an older release": (
        "versions",
        _set("versions", "scimBridge", to="0.0.9"),
        State.FAILED,
    ),
    "old migrations": (
        "migrations",
        _set("migrations", to={"missing": ["007_names"], "pending": [], "unknown": []}),
        State.FAILED,
    ),
    "migrations that are not finished": (
        "migrations",
        _set("migrations", to={"missing": [], "pending": ["007_names"], "unknown": []}),
        State.WARNING,
    ),
    "a database of a newer release": (
        "migrations",
        _set("migrations", to={"missing": [], "pending": [], "unknown": ["008_next"]}),
        State.FAILED,
    ),
    "a guard that runs after acl": (
        "guard",
        _set("guard", "priorities", "acl", to=970),
        State.FAILED,
    ),
    "a guard that is optional and off": ("guard", _set("guard", "enabled", to=False), State.FAILED),
    "a body buffer that is too small": (
        "body-size",
        _set("limits", "clientBodyBufferSize", to=1024),
        State.WARNING,
    ),
    "Nginx takes less than the plugin": (
        "body-size",
        _set("limits", "clientMaxBodySize", to=65536),
        State.FAILED,
    ),
    "Kong gives statements less time than the plugin": (
        "body-size",
        _set("limits", "pgTimeout", to=2000),
        State.WARNING,
    ),
    "a data plane": ("node", _set("node", "channel", to="off"), State.FAILED),
    "a DB-less Kong that was just started": (
        "memory",
        _set("memoryComplete", to=False),
        State.FAILED,
    ),
    "a database that does not answer": (
        "database",
        _set("deliveries", to={"error": "The gateway's database does not answer"}),
        State.FAILED,
    ),
}


@pytest.mark.parametrize("fault", TOLD)
def test_each_fault_that_the_gateway_tells_is_named(good: Gateway, fault: str) -> None:
    check, change, state = TOLD[fault]
    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, check).state is state
    assert set(wrong(report)) == {check}


@pytest.mark.parametrize("facts", [{"limits": None}, {"x": 1}, {"now": 7, "versions": []}])
def test_facts_of_another_release_are_a_sentence(good: Gateway, facts: dict[str, Any]) -> None:
    report = look(good.scim_base, transport=Telling("/Doctor", lambda _: facts))
    assert "does not understand" in failed(report, "versions")


def test_a_clock_that_is_off(good: Gateway) -> None:
    def ahead(seconds: int) -> Report:
        return look(good.scim_base, now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))

    assert "differ by" in failed(ahead(-600), "clock")
    assert failed(ahead(3600), "clock")
    assert finding(ahead(20), "clock").state is State.WARNING


# -- The tenant ------------------------------------------------------------------


def test_deliveries_that_were_given_up(good: Gateway) -> None:
    user = new_user(good.scim)["id"]
    with scim_client(good.scim_base, ADMIN) as admin:
        event = events(good, user, scim=admin)[-1]["id"]
    run(
        good,
        "INSERT INTO scim_deliveries (workspace, tenant, target, event_id, resource_id, state, "
        "attempts, created, due, leased) SELECT workspace, tenant, 'hr', id, id, 'dead', 9, "
        f"'2026-01-01', '', '' FROM scim_resources WHERE id = '{event}'",
    )
    try:
        assert "1 deliveries" in failed(look(good.scim_base), "deliveries")
    finally:
        run(good, f"DELETE FROM scim_deliveries WHERE event_id = '{event}'")
        good.clear()


def test_a_quarantine(host: Gateway) -> None:
    few = {"users": 1, "at_least": 1}
    admin = {**IDP, "scopes": ["scim:users", "scim:groups", "scim:bulk", "scim:admin"]}
    with variant(host, tokens=[admin, TOKENS[1]], quarantine=few) as gateway:
        people = [new_user(gateway.scim)["id"] for _ in range(3)]
        run(gateway, "UPDATE scim_resources SET created = '2020' WHERE type = 'User'")
        for user in people:
            gateway.scim.patch(
                f"/Users/{user}",
                json={
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{"op": "replace", "value": {"active": False}}],
                },
            )
        assert "quarantined" in failed(look(gateway.scim_base), "quarantine")


def test_a_provider_that_went_silent(good: Gateway) -> None:
    def change(facts: Any) -> None:
        facts["tokens"][0]["lastUsed"] = "2026-01-01T00:00:00Z"

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, "last-request").state is State.WARNING


def test_drift_and_failed_requests_where_the_gateway_tells_them(good: Gateway) -> None:
    drift = Telling("/Drift", lambda _: {"total": 2, "byKind": {"group_missing": 2}})
    assert "2 group_missing" in finding(look(good.scim_base, transport=drift), "drift").found
    request = {
        "method": "POST",
        "path": "/Users",
        "status": 409,
        "error": "The username a belongs to a consumer that SCIM did not create",
        "token": "idp",
    }
    requests = Telling("/Requests", lambda _: {"requests": [request] * 3})
    found = finding(look(good.scim_base, transport=requests), "requests")
    assert "3 of the provider's last requests" in found.found
    assert "adopt: link" in found.mend


# -- Symptoms ----------------------------------------------------------------------


ANSWERED = [each for each in symptoms() if each.status and each.texts]


@pytest.mark.parametrize("symptom", ANSWERED, ids=lambda each: each.symptom[:40])
def test_each_symptom_of_an_answer_names_its_check(symptom: Any) -> None:
    text = symptom.symptom.split("`")[1].replace("...", "something")
    said = symptom.texts[0].pattern.replace(".*", " something ").replace("\\", "")
    detail = text if symptom.texts[0].search(text) else said
    error = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": detail}
    report = look("http://gw.example/scim/v2", transport=answering(symptom.status, error))
    found = finding(report, symptom.check)
    assert detail[:20] in found.found
    assert found.mend


def test_each_symptom_has_a_check_that_there_is_and_the_page_has_them_all() -> None:
    assert {each.check for each in symptoms()} <= set(CHECKS)
    page = (ROOT / "docs/operations.md").read_text()
    assert with_table(page) == page, "run `make docs`"


def test_symptoms_in_logs_are_found(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text(
        "2026/01/01 [error] plugin 'scim' is enabled but not installed\n"
        "WARNING token file /run/token: others may write it\n"
        "nothing to see\n"
    )
    report, _ = examine(Subject(logs=[log]))
    assert set(wrong(report)) == {"plugins", "token"}


# -- The machine, the Admin API and the file -----------------------------------------


@pytest.mark.parametrize(
    ("mode", "found"), [(0o600, "only"), (0o666, "everybody"), (0o660, "Nobody answers")]
)
def test_a_socket_that_kong_may_not_open_or_where_nobody_answers(
    tmp_path: Path, mode: int, found: str
) -> None:
    path = tmp_path / "scim.socket"
    tmp_path.chmod(0o755)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
    path.chmod(mode)
    report, _ = examine(Subject(socket=path))
    assert any(found in each for each in wrong(report).values())
    assert report.exit_status() == 1


def test_no_plugin_server() -> None:
    report, _ = examine(Subject(socket=Path("/nowhere/scim.socket")))
    assert failed(report, "socket")


def test_the_admin_api_answers_500_with_a_start_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kong_scim.doctor import admin

    report = Report()
    kong = answering(500, {"message": "An unexpected error occurred"})
    assert not admin.look_at_admin_api("http://kong.example:8001", report, kong)
    assert any("_START_CMD" in each.mend for each in report.findings())


def test_the_admin_api_tells_open_routes_and_missing_plugins() -> None:
    from kong_scim.doctor import admin

    rows = {
        "/": {
            "plugins": {"available_on_server": {"scim": True}},
            "configuration": {"db_update_frequency": 60},
        },
        "/plugins": {"data": [{"name": "scim", "config": {"tokens": [IDP]}, "route": {"id": "r"}}]},
        "/routes": {"data": [{"id": "r", "service": None}, {"id": "open", "service": {"id": "s"}}]},
    }
    report = Report()
    kong = httpx.MockTransport(lambda request: httpx.Response(200, json=rows[request.url.path]))
    admin.look_at_admin_api("http://kong.example:8001", report, kong)
    assert {"plugins", "guard", "routes"} == set(wrong(report))


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "no guard": ("guard", {"plugins": []}),
    "a guard on a route only": ("guard", {"plugins": [{"name": "scim-bridge", "route": "scim"}]}),
    "a secret in clear": (
        "secrets",
        {"routes": [{"plugins": [scim_plugin("a", "x", tokens=[{**IDP, "value": "clear"}])]}]},
    ),
    "no plugin": ("configuration", {"routes": []}),
    "a wrong field": (
        "configuration",
        {"routes": [{"plugins": [scim_plugin("a", "x", on_deactivate="forget")]}]},
    ),
    "a service": (
        "service",
        {
            "routes": [],
            "services": [{"name": "s", "routes": [{"plugins": [scim_plugin("a", "x")]}]}],
        },
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_each_fault_of_a_declarative_file_is_named(tmp_path: Path, fault: str) -> None:
    check, change = FILES[fault]
    content = {
        "plugins": [{"name": "scim-bridge"}],
        "routes": [{"name": "scim", "paths": ["/x"], "plugins": [scim_plugin("a", "x")]}],
        **change,
    }
    path = tmp_path / "kong.yml"
    path.write_text(yaml.safe_dump(content))
    report, _ = examine(Subject(config=path))
    assert set(wrong(report)) == {check}


# -- A provider's first requests --------------------------------------------------------


def test_each_provider_would_succeed_on_each_host_and_nothing_is_written(
    gateway_with: Callable[..., Gateway],
) -> None:
    good = gateway_with(tokens=TOKENS)
    user = new_user(good.scim)["id"]
    group = new_group(good.scim)["id"]
    before = [good.scim.get(path).json() for path in (f"/Users/{user}", f"/Groups/{group}")]
    for name in providers():
        report, steps = examine(Subject(good.scim_base, ADMIN, provider=name))
        assert wrong(report) == {}, name
        assert {each.state for each in steps} == {State.OK}
    after = [good.scim.get(path).json() for path in (f"/Users/{user}", f"/Groups/{group}")]
    assert after == before
    assert good.scim.get("/Users").json()["totalResults"] == 1


@requires_kong
def test_a_real_kong_tells_that_the_database_is_old_or_new(kong_with_postgres: Gateway) -> None:
    kong = kong_with_postgres
    change = "UPDATE schema_meta SET executed = {} WHERE subsystem = 'scim-bridge'"
    for put, back, found in (
        ("array_remove(executed, '007_names')", "array_append(executed, '007_names')", "lacks"),
        ("array_append(executed, '999_next')", "array_remove(executed, '999_next')", "newer"),
    ):
        run(kong, change.format(put))
        try:
            report = look(kong.scim_base, token=kong.token, admin_url=kong.host.admin_url)
        finally:
            run(kong, change.format(back))
        assert found in failed(report, "migrations")
        assert "keyed" not in str(wrong(report))


def test_without_a_user_what_needs_one_is_skipped(good: Gateway) -> None:
    good.clear()
    _, steps = examine(Subject(good.scim_base, ADMIN, provider="okta"))
    assert {each.state for each in steps} == {State.OK, State.SKIPPED}


def test_no_write_is_sent_to_a_gateway_that_knows_no_dry_run() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return httpx.Response(200, json={"schemas": [], "Resources": [], "totalResults": 0})

    from kong_scim.doctor.providers import play
    from kong_scim.doctor.route import Route

    report = Report()
    route = Route("http://gw.example/scim/v2", "t", httpx.MockTransport(answer))
    assert play("okta", route, {"limits": {"maxBodySize": 1}}, report) == []
    assert set(sent) == {"GET"}
    assert failed(report, "provider")


def test_what_a_provider_would_be_refused_is_shown(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, groups={"pattern": "^team-(.+)$"}) as gateway:
        new_user(gateway.scim)
        report, steps = examine(Subject(gateway.scim_base, ADMIN, provider="entra"))
        assert all(each.status for each in steps if each.state is State.FAILED)
        assert report.exit_status() in {0, 1}


# -- A dry run of one request -------------------------------------------------------------

DRY = {"Kong-SCIM-Dry-Run": "true"}


def test_only_an_administrator_may_ask_for_a_dry_run(good: Gateway) -> None:
    admin = {**DRY, "Authorization": f"Bearer {ADMIN}"}
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "dry"}
    refused = good.scim.post("/Users", json=body, headers=DRY)
    assert (refused.status_code, "scim:admin" in refused.text) == (403, True)
    wanted = good.scim.post("/Users", json=body, headers=admin)
    assert (wanted.status_code, wanted.headers["Kong-SCIM-Dry-Run"]) == (201, "true")
    odd = good.scim.post("/Users", json=body, headers={**admin, "Kong-SCIM-Dry-Run": "1"})
    assert odd.status_code == 400
    decision = good.scim.post("/Quarantine", json={"decision": "lift"}, headers=admin)
    assert (decision.status_code, "no dry run" in decision.text) == (400, True)
    assert good.scim.get("/Users").json()["totalResults"] == 0
    assert "Kong-SCIM-Dry-Run" not in good.scim.get("/Users").headers


# -- The command ------------------------------------------------------------------------------


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_command_prints_a_table_or_json_and_ends_with_the_status(good: Gateway) -> None:
    options = ("--url", good.scim_base, "--token", ADMIN)
    table = command(*options, "--provider", "okta")
    assert table.exit_code == 0, table.output
    assert "connection test:" in table.stdout
    found = json.loads(command(*options, "--json").stdout)
    assert {each["check"] for each in found["checks"]} == set(CHECKS)
    assert found["exitStatus"] == 0
    bad = command("--url", good.scim_base, "--token", "wrong")
    assert bad.exit_code == 1
    assert "-> " in bad.stdout


def test_the_command_needs_something_to_look_at() -> None:
    assert command().exit_code == 2
    assert command("--url", "gw.example/scim/v2").exit_code == 2
    assert command("--provider", "okta", "--config", "kong.yml").exit_code == 2
