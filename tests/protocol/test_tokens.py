"""Who may call (interop 20): the tokens of the configuration, by value and by vault reference."""

from __future__ import annotations

import pytest
from scim2_models import UnauthorizedException

from kong_scim.access.tokens import Authenticator, InvalidTokenException
from kong_scim.config import Token

REFERENCE = "{vault://env/scim-token}"


@pytest.fixture
def authenticator() -> Authenticator:
    tokens = [
        Token(name="old", value="value-of-old"),
        Token(name="new", value="value-of-new"),
        Token(name="vault", value="stale"),
    ]
    return Authenticator(tokens, {"vault": REFERENCE})


@pytest.mark.parametrize("name", ["old", "new"])
def test_any_token_is_accepted_and_named(authenticator: Authenticator, name: str) -> None:
    assert authenticator.authenticate(f"Bearer value-of-{name}", {}).token == name


@pytest.mark.parametrize(
    "header",
    ["bearer value-of-old", "BEARER value-of-old", "  Bearer   value-of-old  "],
)
def test_the_scheme_is_matched_without_regard_to_case(
    authenticator: Authenticator, header: str
) -> None:
    """RFC 9110 §11.1."""
    assert authenticator.authenticate(header, {}).token == "old"


def test_a_referenced_token_is_the_live_value_and_not_the_one_at_the_start(
    authenticator: Authenticator,
) -> None:
    assert authenticator.secrets == [REFERENCE]
    live = {REFERENCE: "rotated\n"}
    assert authenticator.authenticate("Bearer rotated", live).token == "vault"
    with pytest.raises(InvalidTokenException):
        authenticator.authenticate("Bearer stale", live)


@pytest.mark.parametrize("live", [None, "", "  "])
@pytest.mark.parametrize("given", ["stale", "", "None", REFERENCE])
def test_a_reference_without_a_value_lets_nobody_in(
    authenticator: Authenticator, live: str | None, given: str
) -> None:
    with pytest.raises(InvalidTokenException):
        authenticator.authenticate(f"Bearer {given}", {REFERENCE: live})


@pytest.mark.parametrize(
    "header",
    [
        "value-of-old",
        "Bearer",
        "Bearer ",
        "Basic value-of-old",
        "Bearer value-of-ol",
        "Bearer value-of-old2",
        "Bearer VALUE-OF-OLD",
        "Bearer value-of-old value-of-new",
        "Bearer \udcff",
        "Bearer ü",
    ],
)
def test_anything_else_is_refused(authenticator: Authenticator, header: str) -> None:
    with pytest.raises(InvalidTokenException):
        authenticator.authenticate(header, {})


@pytest.mark.parametrize("header", [None, "", "   "])
def test_no_credentials_are_told_from_wrong_ones(
    authenticator: Authenticator, header: str | None
) -> None:
    with pytest.raises(UnauthorizedException) as caught:
        authenticator.authenticate(header, {})
    assert not isinstance(caught.value, InvalidTokenException)
