"""Tells which provider sent a request, by what it says of itself."""

from __future__ import annotations

import re
from functools import lru_cache

ENTRA = "Entra ID"

_PROVIDERS = (
    ("okta", "Okta"),
    ("azure", ENTRA),
    ("microsoft", ENTRA),
    ("entra", ENTRA),
    ("pingone", "PingOne"),
    ("pingfederate", "PingFederate"),
    ("pingidentity", "Ping Identity"),
    ("onelogin", "OneLogin"),
    ("jumpcloud", "JumpCloud"),
    ("google", "Google Workspace"),
    ("sailpoint", "SailPoint"),
    ("keycloak", "Keycloak"),
    ("authentik", "authentik"),
)
"""What the User-Agent of each provider has in it, in lower case, and the provider's name."""

PROVIDERS = frozenset(name for _, name in _PROVIDERS)
"""The names of the providers that are known."""

_ENTRA_FLAG = "aadOptscim062020"
"""The flag that an administrator of Entra ID appends to the URL (docs/providers/entra.md)."""

_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def provider_of(user_agent: str, query: str) -> str:
    """Return the name of a provider, or of the program that sent a request; empty if neither says.

    :param user_agent: The header, which anybody may write: the name is for the reader only.
    """
    return ENTRA if _ENTRA_FLAG in query else _named(user_agent[:200])


@lru_cache(maxsize=256)
def _named(user_agent: str) -> str:
    lower = user_agent.lower()
    for part, name in _PROVIDERS:
        if part in lower:
            return name
    product = _PRODUCT.match(user_agent)
    return product.group() if product else ""
