"""A local issuer of tokens: RS256, with a JWKS that a gateway may fetch."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER = "https://login.example.com/tenant"
"""The issuer of tokens, unless another one is named."""


@cache
def key() -> RSAKey:
    """Return the key that signs."""
    return RSAKey.generate_key(2048, {"kid": "k1"}, private=True)


def public_key() -> str:
    """Return its public half in PEM."""
    return key().as_pem(private=False).decode()


def token(issuer: str = ISSUER, *, age: int = 60, **claims: Any) -> str:
    """Return a token.

    :param age: How many seconds ago it was issued.
    """
    now = int(time.time())
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    stated = {"iss": issuer, "iat": now - age, "exp": now + 3600, "aud": "api", **claims}
    return jwt.encode(header, {k: v for k, v in stated.items() if v is not None}, key())


@contextlib.contextmanager
def running_issuer() -> Iterator[str]:
    """Serve the discovery document and the JWKS; yield the URL, which is the issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{server.server_port}"
            documents: dict[str, Any] = {
                "/.well-known/openid-configuration": {
                    "issuer": base,
                    "jwks_uri": f"{base}/jwks",
                    "authorization_endpoint": f"{base}/authorize",
                    "token_endpoint": f"{base}/token",
                },
                "/jwks": {"keys": [{**key().as_dict(private=False), "use": "sig", "alg": "RS256"}]},
            }
            found = documents.get(self.path)
            body = json.dumps(found).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
