"""JWT bearer tokens: whose count, and each attack on them by name (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from access_support import Calls, challenge, client, plugin_with
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

from in_process import Client
from scim_traffic import answered, refused

ISSUER = "https://idp.example/oauth2/default"
AUDIENCE = "https://gw.example/scim/v2"
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}, private=True)
OTHER = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
PEM = KEY.as_pem(private=False).decode()

Scim = Callable[..., tuple[Client, Calls]]


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    fresh = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 300,
        "iat": now,
        "sub": "0oa-client",
        "scope": "scim:users",
    }
    return {name: value for name, value in {**fresh, **changes}.items() if value is not None}


def signed(
    key: Key = KEY, header: dict[str, Any] | None = None, alg: str = "RS256", **changes: Any
) -> str:
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    named = {"alg": alg, "kid": "k1", **(header or {})}
    return jwt.encode(named, claims(**changes), key, registry=registry)


def by_hand(header: dict[str, Any], secret: bytes | None) -> str:
    """Return a JWT that no library makes: unsigned, or with an HMAC over a public key."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims())
    ]
    text = ".".join(parts)
    mac = hmac.digest(secret, text.encode(), hashlib.sha256) if secret is not None else b""
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.fixture
def scim(monkeypatch: pytest.MonkeyPatch) -> Scim:
    """A client that sends a JWT to a plugin with that key pinned."""

    def with_jwt(token: str, **config: Any) -> tuple[Client, Calls]:
        settings = {"issuer": ISSUER, "audience": [AUDIENCE], "public_key": PEM, **config}
        plugin, directory = plugin_with(monkeypatch, jwt=settings)
        return client(plugin, token=token), directory

    return with_jwt


def is_401_and_reaches_nothing(
    scim: Scim, token: str, description: str | None = None, **config: Any
) -> None:
    sender, directory = scim(token, **config)
    response = sender.get("/Users")
    detail = refused(response, 401)
    assert 'error="invalid_token"' in challenge(response)
    if description:
        assert f'error_description="{description}"' in challenge(response)
        assert detail == description
    assert directory.reached == []


# -- Who gets in -----------------------------------------------------------


def test_a_jwt_of_the_issuer_gets_in_with_the_scopes_it_names(scim: Scim) -> None:
    sender, _ = scim(signed())
    answered(sender.get("/Users"), 200)
    assert "scim:groups" in refused(sender.post("/Groups", json={"displayName": "g"}), 403)


@pytest.mark.parametrize(
    ("claim", "value", "scopes"),
    [
        ("scp", ["scim:users", "openid"], {}),  # Okta
        ("roles", ["Provision.All"], {"Provision.All": ["scim:users"]}),  # Entra
        ("scope", "openid Provision.All", {"Provision.All": ["scim:users"]}),
    ],
)
def test_scopes_come_from_the_claim_that_is_configured(
    scim: Scim, claim: str, value: Any, scopes: dict[str, Any]
) -> None:
    token = signed(**{"scope": None, claim: value})
    sender, _ = scim(token, scope_claim=claim, scopes=scopes)
    answered(sender.get("/Users"), 200)


@pytest.mark.parametrize("value", [None, "", "openid", 7, {"scim:users": 1}, [["scim:users"]]])
def test_a_jwt_without_a_scope_of_ours_may_do_nothing(scim: Scim, value: Any) -> None:
    sender, directory = scim(signed(scope=value))
    refused(sender.get("/Users"), 403)
    assert directory.reached == []


def test_the_log_names_the_client_and_nothing_that_could_break_a_line(scim: Scim) -> None:
    sender, _ = scim(signed(azp='cli"\n' + "x" * 100))
    sender.delete("/Users/nobody")
    [line] = sender.last.logged
    assert json.loads(line.removeprefix("scim "))["token"] == "jwt:cli__" + "x" * 59


def test_an_elliptic_key_works_as_well(scim: Scim) -> None:
    key = ECKey.generate_key("P-256", private=True)
    sender, _ = scim(signed(key, alg="ES256"), public_key=key.as_pem(private=False).decode())
    answered(sender.get("/Users"), 200)


def test_tokens_and_jwts_count_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, _ = plugin_with(
        monkeypatch,
        tokens=[{"name": "t", "value": "static.with.dots"}],
        jwt={"issuer": ISSUER, "audience": [AUDIENCE], "public_key": PEM},
    )
    for token in ("static.with.dots", signed()):
        answered(client(plugin, token=token).get("/Users"), 200)


def test_a_right_jwt_passes_whatever_was_guessed_and_a_forged_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin, directory = plugin_with(
        monkeypatch,
        jwt={"issuer": ISSUER, "audience": [AUDIENCE], "public_key": PEM},
        limits={"failed_attempts": 2},
    )
    forged = signed(OTHER)
    for _ in range(2):
        refused(client(plugin, token=forged).get("/Users"), 401)
    refused(client(plugin, token=forged).get("/Users"), 429)
    assert directory.reached == []
    answered(client(plugin, token=signed()).get("/Users"), 200)


def test_headers_that_the_rfc_lets_be_ignored_are(scim: Scim) -> None:
    sender, _ = scim(signed(header={"x5t": "abc", "nonce": "n", "x5c": ["A" * 2000]}))
    answered(sender.get("/Users"), 200)


# -- Who does not ----------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_an_unsigned_jwt_is_refused(scim: Scim, alg: str) -> None:
    is_401_and_reaches_nothing(scim, by_hand({"alg": alg, "typ": "JWT"}, None))


@pytest.mark.parametrize("secret", [PEM.encode(), PEM.strip().encode(), b""])
def test_an_hmac_with_the_public_key_as_its_secret_is_refused(scim: Scim, secret: bytes) -> None:
    """Key confusion (RFC 8725 §2.1)."""
    is_401_and_reaches_nothing(scim, by_hand({"alg": "HS256", "kid": "k1"}, secret))


def test_an_algorithm_that_is_not_on_the_list_is_refused(scim: Scim) -> None:
    is_401_and_reaches_nothing(scim, signed(alg="RS512"))
    sender, _ = scim(signed(alg="RS512"), algorithms=["RS512"])
    answered(sender.get("/Users"), 200)


def test_a_jwt_of_another_key_is_refused(scim: Scim) -> None:
    is_401_and_reaches_nothing(scim, signed(OTHER))


def test_a_key_that_the_jwt_brings_along_is_not_used(scim: Scim) -> None:
    header = {"jwk": OTHER.as_dict(private=False), "jku": "https://evil.example/jwks"}
    is_401_and_reaches_nothing(scim, signed(OTHER, header=header))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_jwt_with_one_changed_byte_is_refused(scim: Scim, part: int) -> None:
    parts = signed().split(".")
    middle = len(parts[part]) // 2
    changed = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + changed + parts[part][middle + 1 :]
    is_401_and_reaches_nothing(scim, ".".join(parts))


@pytest.mark.parametrize("issuer", [None, "https://evil.example", ISSUER + "/", [ISSUER]])
def test_a_wrong_issuer_is_refused(scim: Scim, issuer: Any) -> None:
    is_401_and_reaches_nothing(scim, signed(iss=issuer))


@pytest.mark.parametrize("audience", [None, "https://other.example", [], ["a", "b"], 7])
def test_a_wrong_audience_is_refused(scim: Scim, audience: Any) -> None:
    is_401_and_reaches_nothing(scim, signed(aud=audience))


def test_an_expired_jwt_is_401_with_a_description(scim: Scim) -> None:
    is_401_and_reaches_nothing(scim, signed(exp=int(time.time()) - 61), "The token expired")


@pytest.mark.parametrize("expiry", [None, "soon", True, [1]])
def test_a_jwt_that_never_expires_is_refused(scim: Scim, expiry: Any) -> None:
    is_401_and_reaches_nothing(scim, signed(exp=expiry))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_jwt_from_the_future_is_refused(scim: Scim, claim: str) -> None:
    is_401_and_reaches_nothing(scim, signed(**{claim: int(time.time()) + 120}))


def test_clocks_may_differ_by_the_skew(scim: Scim) -> None:
    late = signed(exp=int(time.time()) - 30, nbf=int(time.time()) - 60)
    answered(scim(late)[0].get("/Users"), 200)
    is_401_and_reaches_nothing(scim, late, clock_skew=0)


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "a.b",
        "e30.e30.e30",
        f"{'A' * 20000}.A.A",
        "eyJhbGciOiJSUzI1NiJ9..",
        "bnVsbA.e30.A",
    ],
)
def test_what_is_no_jwt_is_refused(scim: Scim, token: str) -> None:
    is_401_and_reaches_nothing(scim, token)


@pytest.mark.parametrize("kid", [7, None, [], {"a": 1}])
def test_a_key_id_that_is_no_text_is_refused(scim: Scim, kid: Any) -> None:
    sender, _ = scim(by_hand({"alg": "RS256", "kid": kid}, b"x"))
    refused(sender.get("/Users"), 401)


def nested(depth: int) -> str:
    """Return a JWT with a header so deep."""
    header = '{"alg":"RS256","x":' + "[" * depth + "]" * depth + "}"
    part = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    return f"{part}.e30.AAAA"


HOSTILE_HEADERS = [
    "null",
    "7",
    "[]",
    '"alg"',
    "{}",
    '{"alg":null}',
    '{"alg":[]}',
    '{"alg":{}}',
    '{"alg":"RS256","kid":{"a":1}}',
    '{"alg":"RS256","crit":7}',
    '{"alg":"RS256","crit":null}',
    '{"alg":"RS256","crit":[]}',
    '{"alg":"RS256","crit":[[]]}',
    '{"alg":"RS256","crit":["exp"],"exp":1}',
    '{"alg":"RS256","b64":false}',
    '{"alg":"RS256","b64":false,"crit":["b64"]}',
    '{"alg":"RS256","jku":7,"x5c":{},"typ":[]}',
    '{"alg":"RS256","n":' + "9" * 5000 + "}",
    '{"alg":"RS256","n":1e999,"m":NaN}',
    '{"alg":"RS256","kid":"\\ud800"}',
    "\ufeff{}",
    "{",
    "\x00",
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=range(len(HOSTILE_HEADERS)))
def test_whatever_its_header_is_a_wrong_jwt_is_401(scim: Scim, header: str) -> None:
    part = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    is_401_and_reaches_nothing(scim, f"{part}.e30.AAAA")


@pytest.mark.parametrize("depth", [900, 2000, 3000])
def test_a_jwt_with_a_deep_header_is_401_and_counted_as_a_guess(
    monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    settings = {"issuer": ISSUER, "audience": [AUDIENCE], "public_key": PEM}
    plugin, directory = plugin_with(monkeypatch, jwt=settings, limits={"failed_attempts": 2})
    statuses = [client(plugin, token=nested(depth)).get("/Users").status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]
    assert directory.reached == []


@pytest.mark.parametrize(
    "payload",
    [
        *(b"null", b"7", b"[]", b'"x"', b"{", b"\xff", b"", b"{}", b"[" * 5000),
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"exp":' + b"9" * 5000 + b"}",
        b'{"iss":{},"aud":{},"exp":{},"nbf":{},"iat":{}}',
        b'{"iss":"x","aud":[[]],"exp":-1e999}',
        b'{"exp":NaN,"iss":null,"aud":0}',
    ],
    ids=range(14),
)
def test_whatever_the_issuer_signed_a_jwt_without_good_claims_is_401(
    scim: Scim, payload: bytes
) -> None:
    token = jws.serialize_compact({"alg": "RS256", "kid": "k1"}, payload, KEY)
    sender, directory = scim(token)
    refused(sender.get("/Users"), 401)
    assert directory.reached == []


@pytest.mark.parametrize(
    "header",
    [{"crit": []}, {"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": True}],
    ids=["empty", "unknown", "b64"],
)
def test_a_jwt_with_a_critical_extension_is_refused_though_its_signature_holds(
    scim: Scim, header: dict[str, Any]
) -> None:
    """RFC 7515 §4.1.11: none is understood here, and an empty list must not be."""
    named = {"alg": "RS256", "kid": "k1", **header}
    parts = [json.dumps(named).encode(), json.dumps(claims()).encode()]
    text = ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
    raw = KEY.private_key
    assert raw is not None
    mac = raw.sign(text.encode(), PKCS1v15(), SHA256())
    signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    is_401_and_reaches_nothing(scim, f"{text}.{signature}")
