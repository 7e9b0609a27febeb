"""A slice of ``make fuzz``: what comes back from receivers and issuers."""

from __future__ import annotations

from strangers import Strangers


def test_receivers_and_issuers_may_answer_anything_at_any_speed() -> None:
    """Nothing raises what nobody foresaw, and each exchange ends in its time."""
    strangers = Strangers(5)
    strangers.exchanges(600)
    assert strangers.failures == []
    assert strangers.outcomes["no whole answer within 0.5 s"] > 0
    assert strangers.outcomes["answered 503"] > 0
    assert strangers.outcomes["fetched True"] > 0


def test_an_issuer_may_publish_anything() -> None:
    strangers = Strangers(5)
    strangers.keys(300)
    assert strangers.failures == []
    assert {"taken", "InvalidKeyIdError", "KeysUnavailableException"} <= set(strangers.outcomes)


def test_a_token_may_be_anything() -> None:
    strangers = Strangers(5)
    strangers.tokens(500)
    assert strangers.failures == []
    assert {"taken", "InvalidTokenException"} <= set(strangers.outcomes)
