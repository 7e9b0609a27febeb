"""Configurations of JWT bearer tokens that are not safe, and what is said of each (RFC 8725)."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from access_support import client, plugin_with
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from scim_traffic import refused

KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}, private=True)
PEM = KEY.as_pem(private=False).decode()
with warnings.catch_warnings():  # joserfc warns of it
    warnings.simplefilter("ignore")
    WEAK = RSAKey.generate_key(1024, {"kid": "weak", "use": "sig"}, private=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"audience": []}, "audience"),
        ({"public_key": None}, "jwks_url"),
        ({"jwks_url": "https://idp.example/keys"}, "one of jwks_url and public_key"),
        ({"public_key": None, "jwks_url": "http://idp.example/keys"}, "https"),
        ({"public_key": None, "jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"public_key": "no key"}, "public_key"),
        ({"public_key": KEY.as_pem(private=True).decode()}, "public_key"),
        ({"public_key": WEAK.as_pem(private=False).decode()}, "public_key: an RSA key of 1024"),
        ({"public_key": json.dumps(WEAK.as_dict(private=False))}, "an RSA key of 1024 bits"),
        (
            {
                "public_key": json.dumps(
                    {"keys": [each.as_dict(private=False) for each in (KEY, WEAK)]}
                )
            },
            "an RSA key of 1024 bits",
        ),
        (
            {"public_key": OKPKey.generate_key("X25519").as_pem(private=False).decode()},
            "X25519",
        ),
        (
            {"public_key": ECKey.generate_key("secp256k1").as_pem(private=False).decode()},
            "secp256k1",
        ),
        ({"public_key": '{"keys": 7}'}, "public_key"),
        ({"public_key": '{"keys": [7]}'}, "public_key"),
        ({"public_key": "{" + '"a":[' * 5000}, "public_key"),
        (
            {"public_key": json.dumps(OctKey.generate_key().as_dict(private=True))},
            "public_key",
        ),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
    ],
)
def test_a_configuration_that_is_not_safe_is_a_wrong_one(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str
) -> None:
    jwt = {"issuer": "https://idp.example", "audience": ["scim"], "public_key": PEM, **settings}
    plugin, _ = plugin_with(monkeypatch, jwt=jwt)
    detail = refused(client(plugin, token="any").get("/Users"), 503)
    assert said in detail
    assert "MII" not in detail
    assert "secret" not in detail
