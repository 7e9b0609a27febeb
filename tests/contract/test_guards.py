"""Kong's own guards before the plugin, TLS and trusted proxies, on a real Kong.

The plugins are those of the examples of ``docs/authentication.md``, word for word; so are the
settings of Kong. All run beside one another, each on a path of its own.
"""

from __future__ import annotations

import re
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from certificates import Authority
from declared import scim_plugin
from hosts import ROOT, Gateway, running_gateway
from kong_process import requires_kong
from scim_traffic import answered, refused, user_body

pytestmark = requires_kong

DOCUMENT = (ROOT / "docs/authentication.md").read_text()

INGRESS = "127.0.0.9"
"""The only address in ``trusted_ips``; other requests come from 127.0.0.1."""

TOKEN = "token-of-the-examples"
REFERENCE = "{vault://env/scim-token}"

HEADINGS = {
    "key": "Consumers of Kong",
    "basic": "HTTP Basic",
    "bounds": "Addresses, sizes and rates",
    "both": "A key and a token",
    "mutual": "Mutual TLS",
}
"""The examples, by what their paths are here."""


def block(heading: str, language: str) -> str:
    """Return the first block of code under a heading."""
    section = re.split(rf"^##+ {re.escape(heading)}$", DOCUMENT, flags=re.MULTILINE)[1]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def settings(heading: str) -> dict[str, str]:
    """Return the environment that an example sets."""
    lines = [line.partition("#")[0] for line in block(heading, "sh").splitlines()]
    return dict(line.strip().split("=", 1) for line in lines)


def examples() -> dict[str, list[Any]]:
    """Return routes and consumers of all examples, each with a path and a tenant of its own."""
    found: dict[str, list[Any]] = {"routes": [], "consumers": []}
    for name, heading in HEADINGS.items():
        example = yaml.safe_load(block(heading, "yaml"))
        [route] = example["routes"]
        [plugin] = [each for each in route["plugins"] if each["name"] == "scim"]
        # The examples require TLS, as is the default, and are reached over it.
        plugin["config"]["tenant"] = name
        found["routes"].append({**route, "name": name, "paths": [f"/{name}/scim/v2"]})
        found["consumers"] += example.get("consumers", [])
    reference = {"username": "reference", "keyauth_credentials": [{"key": REFERENCE}]}
    found["consumers"].append({**reference, "acls": [{"group": "idp"}]})
    strict = scim_plugin("tls", "scim-token", require_https=True)
    found["routes"].append({"name": "tls", "paths": ["/tls/scim/v2"], "plugins": [strict]})
    return found


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    directory = Path(tempfile.mkdtemp(prefix="scim-ca-"))
    yield Authority(directory, "provider-ca")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module", params=["kong-postgres", "kong-dbless"])
def guarded(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Gateway]:
    proxy, mutual = settings("HTTPS and ingress"), settings("Mutual TLS")
    assert proxy.pop("KONG_TRUSTED_IPS") == "10.0.0.0/8"
    assert mutual.pop("KONG_NGINX_PROXY_SSL_CLIENT_CERTIFICATE") == "/etc/kong/provider-ca.pem"
    kong = {
        **proxy,
        **mutual,
        "KONG_TRUSTED_IPS": f"{INGRESS}/32",
        "KONG_NGINX_PROXY_SSL_CLIENT_CERTIFICATE": str(authority.path),
        "SCIM_TOKEN": TOKEN,
    }
    with running_gateway(request.param, settings=kong, beside=examples()) as gateway:
        yield gateway


Client = Callable[..., httpx.Client]


@pytest.fixture
def client(guarded: Gateway) -> Iterator[Client]:
    """Return clients of one of the routes, over TLS to Kong itself unless said otherwise."""
    opened: list[httpx.Client] = []

    def make(
        path: str,
        *,
        plain: bool = False,
        certificate: tuple[str, str] | None = None,
        source: str | None = None,
        **headers: str,
    ) -> httpx.Client:
        kong = guarded.host.kong  # type: ignore[attr-defined]
        trusting = ssl.create_default_context()
        trusting.check_hostname = False  # Kong's own certificate is self-signed
        trusting.verify_mode = ssl.CERT_NONE
        if certificate:
            trusting.load_cert_chain(*certificate)
        made = httpx.Client(
            base_url=f"{kong.proxy_url if plain else kong.tls_url}/{path}/scim/v2",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            transport=httpx.HTTPTransport(verify=trusting, local_address=source, trust_env=False),
            timeout=30,
        )
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()


def of_kong(answer: httpx.Response, status: int) -> str:
    """Return what Kong says in a refusal of its own, which is no SCIM error."""
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (
        status,
        "application/json",
    )
    body = answer.json()
    assert set(body) - {"request_id"} == {"message"}
    message: str = body["message"]
    return message


def bearer(token: str = TOKEN) -> str:
    return f"Bearer {token}"


# -- TLS and trusted proxies -----------------------------------------------


def test_over_tls_to_kong_itself_a_user_is_made_and_its_location_is_https(
    guarded: Gateway, client: Client
) -> None:
    scim = client("tls", Authorization=bearer())
    answer = scim.post("/Users", json=user_body())
    user = answered(answer, 201)
    assert urlsplit(answer.headers["Location"]).scheme == "https"
    assert guarded.consumer(user["userName"]) is not None
    assert scim.delete(f"/Users/{user['id']}").status_code == 204


@pytest.mark.parametrize("token", [TOKEN, "wrong", None], ids=["right", "wrong", "none"])
def test_over_plain_http_everybody_gets_the_same_403_before_anything_is_read(
    guarded: Gateway, client: Client, token: str | None
) -> None:
    before = guarded.consumers()
    headers = {"Authorization": bearer(token)} if token else {}
    scim = client("tls", plain=True, **headers)
    for content in (b'{"userName": "x"}', b"no JSON", b"x" * 2_000_000):
        assert "Use https" in refused(scim.post("/Users", content=content), 403)
    assert guarded.consumers() == before


@pytest.mark.parametrize("proto", ["https", "HTTPS", "https, http"])
def test_a_stranger_who_claims_tls_is_refused(client: Client, proto: str) -> None:
    claims = {"X_Forwarded_Proto": proto, "Forwarded": "proto=https", "X_Forwarded_Port": "443"}
    scim = client("tls", plain=True, Authorization=bearer(), **claims)
    assert "Use https" in refused(scim.get("/Users"), 403)


def test_an_ingress_in_trusted_ips_says_that_tls_ended_there(client: Client) -> None:
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "gw.example.com"}
    scim = client("tls", plain=True, source=INGRESS, Authorization=bearer(), **forwarded)
    answer = scim.post("/Users", json=user_body())
    answered(answer, 201)
    location = urlsplit(answer.headers["Location"])
    assert (location.scheme, location.netloc) == ("https", "gw.example.com")
    path = location.path.removeprefix("/tls/scim/v2")
    assert scim.delete(path).status_code == 204


@pytest.mark.parametrize("proto", [None, "http", "ftp", ""])
def test_an_ingress_that_does_not_say_https_is_refused(client: Client, proto: str | None) -> None:
    """The other half of the symptom: Kong trusts the ingress, which does not send the header."""
    headers = {} if proto is None else {"X_Forwarded_Proto": proto}
    scim = client("tls", plain=True, source=INGRESS, Authorization=bearer(), **headers)
    assert "Use https" in refused(scim.get("/Users"), 403)


# -- Credentials of Kong's -------------------------------------------------


def test_a_key_of_kongs_is_enough_with_auth_kong_and_may_do_what_its_group_may(
    client: Client,
) -> None:
    scim = client("key", apikey="a-long-random-key")
    user = answered(scim.post("/Users", json=user_body()), 201)
    assert scim.delete(f"/Users/{user['id']}").status_code == 204
    assert "scim:events" in refused(scim.get("/Events"), 403)


def test_without_a_key_or_with_a_wrong_one_key_auth_refuses(client: Client) -> None:
    answer = client("key", Authorization=bearer()).get("/Users")
    assert of_kong(answer, 401) == "No API key found in request"
    assert answer.headers["WWW-Authenticate"].startswith("Key")
    assert of_kong(client("key", apikey="wrong").get("/Users"), 401) == "Unauthorized"


def test_a_vault_reference_as_a_key_is_the_key_itself_as_the_page_warns(client: Client) -> None:
    answered(client("key", apikey=REFERENCE).get("/Users"), 200)
    assert of_kong(client("key", apikey=TOKEN).get("/Users"), 401) == "Unauthorized"


def test_who_is_in_no_group_for_it_is_refused_by_the_plugin(client: Client) -> None:
    refused(client("key", apikey="another-long-random-key").get("/Users"), 403)


def test_http_basic_is_enough_with_auth_kong(client: Client) -> None:
    scim = client("basic")
    right = httpx.BasicAuth("idp", "a-long-random-password")
    user = answered(scim.post("/Users", json=user_body(), auth=right), 201)
    assert scim.delete(f"/Users/{user['id']}", auth=right).status_code == 204
    wrong = scim.get("/Users", auth=httpx.BasicAuth("idp", "a-long-random-passwore"))
    assert of_kong(wrong, 401) == "Unauthorized"
    assert of_kong(scim.get("/Users"), 401) == "Unauthorized"
    assert wrong.headers["WWW-Authenticate"].startswith('Basic realm="service"')


def test_with_key_auth_before_tokens_a_request_needs_both(client: Client) -> None:
    key = {"apikey": "another-long-random-key"}
    answered(client("both", Authorization=bearer(), **key).get("/Users"), 200)
    refused(client("both", **key).get("/Users"), 401)
    refused(client("both", Authorization=bearer("wrong"), **key).get("/Users"), 401)
    of_kong(client("both", Authorization=bearer()).get("/Users"), 401)


def test_a_token_by_vault_reference_is_what_the_vault_has_and_not_the_reference(
    client: Client,
) -> None:
    answered(client("tls", Authorization=bearer()).get("/Users"), 200)
    for wrong in (REFERENCE, TOKEN + "x", TOKEN[:-1]):
        answer = client("tls", Authorization=bearer(wrong)).get("/Users")
        refused(answer, 401)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


# -- Addresses, sizes and rates --------------------------------------------


def allowed(client: Client, **options: str) -> httpx.Client:
    """Return a client that the ingress says is within the example's network."""
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "203.0.113.7"}
    return client(
        "bounds", plain=True, source=INGRESS, Authorization=bearer(), **forwarded, **options
    )


def test_ip_restriction_judges_the_address_that_a_trusted_ingress_names(client: Client) -> None:
    answered(allowed(client).get("/Users"), 200)
    direct = client("bounds", Authorization=bearer(), X_Forwarded_For="203.0.113.7").get("/Users")
    assert of_kong(direct, 403) == "IP address not allowed: 127.0.0.1"
    elsewhere = allowed(client)
    elsewhere.headers["X-Forwarded-For"] = "203.0.113.7, 198.51.100.7"
    assert of_kong(elsewhere.get("/Users"), 403) == "IP address not allowed: 198.51.100.7"


def test_a_large_body_is_refused_by_request_size_limiting_and_a_smaller_one_by_the_plugin(
    client: Client,
) -> None:
    scim = allowed(client)
    message = of_kong(scim.post("/Users", content=b"x" * (2 * 1024 * 1024 + 1)), 413)
    assert message == "Request size limit exceeded"
    refused(scim.post("/Users", content=b"x" * (1024 * 1024 + 1)), 413)


def test_rate_limiting_refuses_at_its_limit_with_retry_after(client: Client) -> None:
    """Within a minute, or at most one change of the minute, one of these is over the limit."""
    scim = allowed(client)
    scim.headers["X-Forwarded-For"] = "203.0.113.8"  # its own count
    served = 0
    while (answer := scim.get("/ServiceProviderConfig")).status_code == 200:
        assert int(answer.headers["X-RateLimit-Limit-Minute"]) == 600
        served += 1
        assert served <= 2 * 600
    assert of_kong(answer, 429) == "API rate limit exceeded"
    assert served >= 600
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    answered(allowed(client).get("/Users"), 200)


# -- Client certificates ---------------------------------------------------


def test_with_a_certificate_of_the_authority_and_the_token_a_request_is_served(
    client: Client, authority: Authority
) -> None:
    certificate = authority.client("okta")
    answered(client("mutual", certificate=certificate, Authorization=bearer()).get("/Users"), 200)
    refused(client("mutual", certificate=certificate).get("/Users"), 401)


def test_without_a_certificate_the_route_refuses_and_other_routes_do_not(client: Client) -> None:
    refusal = of_kong(client("mutual", Authorization=bearer()).get("/Users"), 403)
    assert refusal == "A client certificate is required"
    of_kong(client("mutual", plain=True, Authorization=bearer()).get("/Users"), 403)
    answered(client("tls", Authorization=bearer()).get("/Users"), 200)


def test_a_certificate_of_another_authority_is_refused_by_nginx(
    client: Client, authority: Authority
) -> None:
    stranger = Authority(authority.directory, "another-ca").client("stranger")
    answer = client("mutual", certificate=stranger, Authorization=bearer()).get("/Users")
    assert answer.status_code == 400
    assert "The SSL certificate error" in answer.text
