"""Wrong credentials and too many requests: counted, bounded, and no means against anybody else."""

from __future__ import annotations

import threading
import time

import pytest
from access_support import client, plugin_with

from kong_scim.auth import rate_limit as module
from kong_scim.auth.authenticator import Authenticator
from kong_scim.auth.rate_limit import BURST, MAX_ENTRIES, WINDOW, RateLimits, network_of
from scim_traffic import answered, refused

TOKENS = [{"name": "t", "value": "right"}, {"name": "new", "value": "never used"}]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> RateLimits:
    """The counters of the plugin, on a clock of the test's, and without real pauses."""
    counters = RateLimits(clock)
    monkeypatch.setattr(Authenticator.__init__, "__defaults__", (counters,))
    monkeypatch.setattr(counters, "slow_down", lambda _: None)
    return counters


def test_too_many_wrong_credentials_are_429_until_the_window_ends(
    counted: RateLimits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, directory = plugin_with(monkeypatch, tokens=TOKENS, limits={"failed_attempts": 4})
    for number in range(4):
        refused(client(plugin, token=f"guess {number}").get("/Users"), 401)
    clock.now += 10
    response = client(plugin, token="guess").get("/Users")
    assert "Too many wrong credentials" in refused(response, 429)
    assert response.headers["Retry-After"] == str(int(WINDOW) - 10)
    assert directory.reached == []
    clock.now += 50
    refused(client(plugin, token="guess").get("/Users"), 401)


@pytest.mark.parametrize("token", ["right", "never used"])
def test_a_right_token_passes_whatever_was_guessed_before_its_first_use(
    counted: RateLimits, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """As after a start of the plugin server, or with a token that was just rotated."""
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits={"failed_attempts": 2})
    for _ in range(5):
        client(plugin, token="guess").get("/Users")
    answered(client(plugin, token=token).get("/Users"), 200)
    refused(client(plugin, token="guess").get("/Users"), 429)


def test_a_right_token_that_expired_or_comes_from_elsewhere_is_no_guess(
    counted: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"name": "old", "value": "old", "expires": "2020-01-01T00:00:00Z"}
    bound = {"name": "bound", "value": "bound", "networks": ["203.0.113.0/24"]}
    plugin, _ = plugin_with(
        monkeypatch, tokens=[*TOKENS, old, bound], limits={"failed_attempts": 2}
    )
    for _ in range(5):
        assert "expired" in refused(client(plugin, token="old").get("/Users"), 401)
        assert "address" in refused(client(plugin, token="bound").get("/Users"), 403)
    refused(client(plugin, token="guess").get("/Users"), 401)


def test_another_address_is_not_concerned(
    counted: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits={"failed_attempts": 2})
    for _ in range(3):
        client(plugin, token="guess").get("/Users")
    refused(client(plugin, token="guess").get("/Users"), 429)
    refused(client(plugin, token="guess", client_ip="192.0.2.2").get("/Users"), 401)


def test_a_token_that_was_taken_away_is_no_longer_right_for_having_been(
    counted: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS)
    answered(client(plugin, token="right").get("/Users"), 200)
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS[1:])
    refused(client(plugin, token="right").get("/Users"), 401)


def test_requests_without_credentials_are_no_guesses(
    counted: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits={"failed_attempts": 2})
    for _ in range(5):
        refused(client(plugin).get("/Users", headers={"Authorization": ""}), 401)
    answered(client(plugin, token="right").get("/Users"), 200)


def test_requests_of_a_token_are_limited_and_those_of_another_are_not(
    counted: RateLimits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits={"requests_per_minute": 60})
    for _ in range(int(BURST)):
        answered(client(plugin, token="right").get("/Users"), 200)
    response = client(plugin, token="right").get("/Users")
    assert "too many requests" in refused(response, 429)
    assert response.headers["Retry-After"] == "1"
    answered(client(plugin, token="never used").get("/Users"), 200)
    clock.now += 1
    answered(client(plugin, token="right").get("/Users"), 200)
    refused(client(plugin, token="right").get("/Users"), 429)


def test_zero_is_no_limit(counted: RateLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"failed_attempts": 0, "requests_per_minute": 0}
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits=limits)
    for _ in range(50):
        refused(client(plugin, token="guess").get("/Users"), 401)
        answered(client(plugin, token="right").get("/Users"), 200)


def test_an_attack_from_many_addresses_takes_a_bounded_amount_of_memory(clock: Clock) -> None:
    rate_limits = RateLimits(clock)
    for number in range(2 * MAX_ENTRIES):
        rate_limits.failed(f"address {number}", 10)
        rate_limits.over_limit(f"token {number}", 60)
    assert MAX_ENTRIES * 0.99 < len(rate_limits._failures) <= MAX_ENTRIES
    assert MAX_ENTRIES * 0.99 < len(rate_limits._buckets) <= MAX_ENTRIES


def test_a_source_that_goes_on_guessing_is_counted_through_an_attack_from_many_others(
    clock: Clock,
) -> None:
    rate_limits = RateLimits(clock)
    for number in range(2 * MAX_ENTRIES):
        clock.now += 0.001
        rate_limits.failed(f"address {number}", 10)
        if not number % 100:
            rate_limits.failed("the one", 10)
    assert rate_limits.blocked("the one", 200) is not None


def test_answers_are_slowed_from_half_of_the_limit_on(clock: Clock) -> None:
    rate_limits = RateLimits(clock)
    delays = [rate_limits.failed("a", 10) for _ in range(10)]
    assert delays[:5] == [0] * 5
    assert delays[5:] == sorted(delays[5:])
    assert 0 < delays[5] <= delays[9] == module.LONGEST_DELAY


def test_at_most_one_worker_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    rate_limits = RateLimits()
    asleep, wake = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        asleep.set()
        wake.wait(30)

    monkeypatch.setattr(time, "sleep", sleep)
    first = threading.Thread(target=rate_limits.slow_down, args=(0.5,))
    first.start()
    assert asleep.wait(30)
    rate_limits.slow_down(0.5)  # comes back, though nobody woke it
    wake.set()
    first.join(30)


def test_counting_is_right_for_many_threads(clock: Clock) -> None:
    rate_limits = RateLimits(clock)
    threads = [
        threading.Thread(target=lambda: [rate_limits.failed("a", 0) for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rate_limits.blocked("a", 4000) is not None
    assert rate_limits.blocked("a", 4001) is None


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unix:", "unix:"),
    ],
)
def test_a_source_is_an_address_or_a_64(address: str, source: str) -> None:
    assert network_of(address) == source
