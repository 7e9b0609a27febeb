"""Keys of Security Event Tokens, and secrets of webhooks: what is taken, and how they change."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from joserfc import jwk

from hosts import Gateway, eventually
from in_process import CONFIG, client
from kong_scim.app import Plugin
from kong_scim.config.events import Webhook
from kong_scim.events.signing import MAX_KEYS, SigningKeyError
from kong_scim.events.webhooks.formats import FORMATS, Issuer, Secrets, SignedJson, WebhookTarget
from kong_scim.files import MAX_AGE, WatchedFile
from receiver import Receiver, receiver
from scim_traffic import new_user, refused
from secret_files import replace

EVENT: dict[str, Any] = {
    "id": "e1",
    "sequence": 1,
    "operation": "create",
    "resourceType": "User",
    "resourceId": "u1",
    "occurred": "2026-03-01T00:00:00.000000+00:00",
}
NOW = datetime(2026, 3, 1, tzinfo=UTC)

KEYS = {
    "RSA": lambda: jwk.RSAKey.generate_key(2048),
    "P-256": lambda: jwk.ECKey.generate_key("P-256"),
    "P-384": lambda: jwk.ECKey.generate_key("P-384"),
    "P-521": lambda: jwk.ECKey.generate_key("P-521"),
    "Ed25519": lambda: jwk.OKPKey.generate_key("Ed25519"),
}


def pem(key: Any, *, private: bool = True) -> str:
    text: str = key.as_pem(private=private).decode()
    return text


class ShortKey(jwk.RSAKey):
    """One that joserfc warns of."""

    @classmethod
    def generate_key(cls, *arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jwk.RSAKey.generate_key(*arguments, **options)


def dsa_pem() -> str:
    key = dsa.generate_private_key(2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def verified(token: str, served: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Verify a token by another library, and return the id of its key and its claims."""
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWKSet.from_dict(served)[header["kid"]]
    algorithms = ["RS256", "ES256", "ES384", "ES512", "EdDSA"]
    return header["kid"], jwt.decode(token, key, algorithms, options={"verify_aud": False})


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver(202) as made:
        yield made


def test_every_format_that_the_configuration_takes_can_be_built() -> None:
    assert get_args(Webhook.model_fields["format"].annotation) == tuple(FORMATS)


class TestKeys:
    @pytest.mark.parametrize("kind", [each for each in KEYS if each != "Ed25519"])
    @pytest.mark.parametrize("form", ["pem", "jwk", "set"])
    def test_of_any_kind_and_form_sign_what_another_library_verifies(
        self, kind: str, form: str
    ) -> None:
        key = KEYS[kind]()
        one = key.as_dict(private=True)
        text = {"pem": pem(key), "jwk": json.dumps(one), "set": json.dumps({"keys": [one]})}[form]
        issuer = Issuer(text, "https://gw")
        served = issuer.keys()
        assert set(served["keys"][0]).isdisjoint({"d", "p", "q", "dp", "dq", "qi"})
        _, claims = verified(issuer.token(EVENT, "https://hr", NOW), served)
        assert (claims["iss"], claims["jti"]) == ("https://gw", "e1")

    def test_ed25519_too(self) -> None:
        """PyJWT knows its signatures by the older name, EdDSA; the bytes are the same."""
        key = KEYS["Ed25519"]()
        token = Issuer(pem(key), "https://gw").token(EVENT, "https://hr", NOW)
        assert jwt.get_unverified_header(token)["alg"] == "Ed25519"
        head, _, signature = token.rpartition(".")
        signed = base64.urlsafe_b64decode(signature + "==")
        key.public_key.verify(signed, head.encode())

    @pytest.mark.parametrize("form", ["pem", "set"])
    def test_the_first_of_several_signs_and_all_are_served(self, form: str) -> None:
        new, old = KEYS["P-256"](), KEYS["RSA"]()
        text = {
            "pem": pem(new) + pem(old, private=False),
            "set": json.dumps({"keys": [new.as_dict(private=True), old.as_dict(private=False)]}),
        }[form]
        issuer = Issuer(text, "x")
        assert [each["kid"] for each in issuer.keys()["keys"]] == [
            new.thumbprint(),
            old.thumbprint(),
        ]
        kid, _ = verified(issuer.token(EVENT, "x", NOW), issuer.keys())
        assert kid == new.thumbprint()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "0 keys"),
            ("s3cret", "0 keys"),
            ("{", "no key"),
            ('{"keys": []}', "0 keys"),
            ('{"keys": ["s3cret"]}', "no key"),
            ('{"keys": 5}', "no key"),
            (json.dumps({"kty": "oct", "k": "czNjcmV0"}), "no key"),
            (pem(KEYS["P-256"](), private=False), "public"),
            (pem(KEYS["P-256"]()).replace("M", "s3cret", 1), "no key"),
            ("".join(pem(KEYS["P-256"]()) for _ in range(MAX_KEYS + 1)), f"{MAX_KEYS + 1} keys"),
            (pem(jwk.OKPKey.generate_key("X25519")), "X25519"),
            (pem(jwk.OKPKey.generate_key("X448")), "X448"),
            (pem(jwk.OKPKey.generate_key("Ed448")), "Ed448"),
            (pem(jwk.ECKey.generate_key("secp256k1")), "secp256k1"),
            (pem(ShortKey.generate_key(1024)), "1024 bits"),
            (json.dumps(jwk.OKPKey.generate_key("X25519").as_dict(private=True)), "X25519"),
            (pem(KEYS["P-256"]()) + pem(ShortKey.generate_key(1024), private=False), "1024 bits"),
            (dsa_pem(), "no key"),
        ],
        ids=range(18),
    )
    def test_what_cannot_sign_is_refused_without_a_word_of_it(self, text: str, words: str) -> None:
        with pytest.raises(SigningKeyError) as refusal:
            Issuer(text, "x")
        assert words in str(refusal.value)
        assert "s3cret" not in str(refusal.value)


class TestFromAFile:
    def test_a_key_is_rotated_while_receivers_know_both(
        self, gateway_with: Callable[..., Gateway], hook: Receiver, tmp_path: Path
    ) -> None:
        old, new = KEYS["P-256"](), KEYS["RSA"]()
        path = tmp_path / "keys.pem"
        path.write_text(pem(old))
        gateway = gateway_with(
            events={
                "webhooks": [{"name": "set", "url": hook.url, "format": "set"}],
                "signing_key_file": str(path),
                "allow_http": True,
                "allow_hosts": ["127.0.0.1"],
            }
        )

        def served() -> dict[str, Any]:
            found: dict[str, Any] = httpx.get(f"{gateway.scim_base}/jwks.json").json()
            return found

        def signer() -> str:
            """Return the id of the key by which the next token is signed, once it is verified."""
            user = new_user(gateway.scim)["id"]

            def posts() -> list[str]:
                return [
                    post.body.decode()
                    for post in hook.taken()
                    if jwt.decode(post.body, options={"verify_signature": False})["sub_id"]["uri"]
                    == f"/Users/{user}"
                ]

            eventually(lambda: bool(posts()), "the token")
            return verified(posts()[0], served())[0]

        def kids() -> list[str]:
            return [each["kid"] for each in served()["keys"]]

        both = [old.thumbprint(), new.thumbprint()]
        assert (kids(), signer()) == (both[:1], both[0])
        replace(path, pem(old) + pem(new))  # receivers learn the new one
        assert (kids(), signer()) == (both, both[0])
        replace(path, pem(new) + pem(old, private=False))  # it signs, the old one is known yet
        assert (kids(), signer()) == (both[::-1], both[1])
        replace(path, pem(new))
        assert (kids(), signer()) == (both[1:], both[1])
        replace(path, "nothing")
        assert kids() == []

    def test_a_webhooks_secret_is_rotated_while_both_sign(
        self, gateway_with: Callable[..., Gateway], hook: Receiver, tmp_path: Path
    ) -> None:
        path = tmp_path / "secret"
        path.write_text("old\n")
        gateway = gateway_with(
            events={
                "webhooks": [{"name": "hr", "url": hook.url, "secret_file": str(path)}],
                "allow_http": True,
                "allow_hosts": ["127.0.0.1"],
            }
        )

        def signers() -> list[str]:
            user = new_user(gateway.scim)["id"].encode()
            eventually(lambda: any(user in post.body for post in hook.taken()), "the event")
            (post,) = (post for post in hook.taken() if user in post.body)
            given = post.headers["webhook-signature"].split(" ")
            event = json.loads(post.body)["data"]
            at = datetime.fromtimestamp(int(post.headers["webhook-timestamp"]), UTC)
            by = {
                SignedJson()
                .build(event, WebhookTarget("hr", hook.url), Secrets({"hr": each}), at)
                .headers["webhook-signature"]: each
                for each in ("old", "new")
            }
            return [by[each] for each in given]

        assert signers() == ["old"]
        replace(path, "new\nold\n")
        assert signers() == ["new", "old"]
        replace(path, "new\n")
        assert signers() == ["new"]

    def test_a_file_that_is_not_there_is_named_once_and_read_when_it_comes(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "key"
        file = WatchedFile(str(path), "signing key file", str)
        assert [file.get(), file.get()] == [None, None]
        assert caplog.text.count("signing key file") == 1
        path.write_text("here")
        assert file.get() == "here"
        assert MAX_AGE <= 1


class TestTheConfiguration:
    @pytest.mark.parametrize(
        "key",
        [
            "s3cret",
            pem(jwk.OKPKey.generate_key("X25519")),
            pem(jwk.OKPKey.generate_key("Ed448")),
            pem(jwk.ECKey.generate_key("secp256k1")),
            pem(ShortKey.generate_key(1024)),
        ],
        ids=["none", "X25519", "Ed448", "secp256k1", "RSA of 1024 bits"],
    )
    def test_a_key_that_cannot_sign_is_refused_at_the_start_by_name(self, key: str) -> None:
        plugin = Plugin({**CONFIG, "events": {"signing_key": key}})
        detail = refused(client(plugin).get("/Users"), 503)
        assert "config.events.signing_key: it holds" in detail
        assert "s3cret" not in detail

    def test_one_that_a_vault_may_change_at_any_time_is_not_used_and_stops_nothing_else(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Else a wrong key of webhooks, put there later, would keep people from being revoked."""
        events = {"signing_key": "wrong", "$refs": {"signing_key": "{vault://env/key}"}}
        plugin = Plugin({**CONFIG, "events": events})
        served = client(plugin).get("/jwks.json")
        assert (served.status_code, served.json()) == (200, {"keys": []})
        assert plugin._event_worker.issuer({"{vault://env/key}": "wrong"}) is None
        assert "events.signing_key: it holds 0 keys" in caplog.text

    @pytest.mark.parametrize(
        ("events", "field"),
        [
            ({"signing_key": "s3cret", "signing_key_file": "/run/k"}, "signing_key_file"),
            (
                {
                    "signing_key": None,
                    "$refs": {"signing_key": "{vault://env/k}"},
                    "signing_key_file": "/run/k",
                },
                "signing_key_file",
            ),
            ({"signing_key_file": "relative"}, "signing_key_file"),
            (
                {
                    "webhooks": [
                        {
                            "name": "a",
                            "url": "https://x",
                            "secret": "s3cret",
                            "secret_file": "/run/s",
                        }
                    ]
                },
                "secret_file",
            ),
        ],
        ids=["both", "reference and file", "relative", "secret and file"],
    )
    def test_two_places_for_one_secret_are_refused_by_name(
        self, events: dict[str, Any], field: str
    ) -> None:
        plugin = Plugin({**CONFIG, "events": events})
        detail = refused(client(plugin).get("/Users"), 503)
        assert "config.events" in detail
        assert field in detail
        assert "s3cret" not in detail
