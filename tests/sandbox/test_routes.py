"""Requests find their route as in Kong."""

from __future__ import annotations

import pytest
import yaml

from kong_scim_sandbox.declarative import load
from kong_scim_sandbox.router import Router, normalized


def router(*routes: dict[str, object]) -> Router:
    return Router(load(yaml.safe_dump({"_format_version": "3.0", "routes": list(routes)})).routes)


def found(router: Router, method: str = "GET", host: str = "gw", path: str = "/") -> str | None:
    match = router.match(method, host, path)
    return match.route.name if match else None


def test_the_longest_path_wins_whatever_the_order() -> None:
    short, long = {"name": "short", "paths": ["/a"]}, {"name": "long", "paths": ["/a/b"]}
    for routes in ([short, long], [long, short]):
        assert found(router(*routes), path="/a/b/c") == "long"
        assert found(router(*routes), path="/a/c") == "short"


def test_a_path_is_a_prefix_of_characters_not_of_segments() -> None:
    assert found(router({"name": "a", "paths": ["/a"]}), path="/ab") == "a"


def test_no_route_matches_another_path() -> None:
    assert found(router({"name": "a", "paths": ["/a"]}), path="/b") is None


def test_a_route_with_more_conditions_goes_before_a_longer_path() -> None:
    routes = router(
        {"name": "long", "paths": ["/a/b/c"]},
        {"name": "narrow", "paths": ["/a"], "hosts": ["gw"]},
    )
    assert found(routes, path="/a/b/c") == "narrow"
    assert found(routes, path="/a/b/c", host="other") == "long"


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("gw.example", "gw.example", True),
        ("gw.example", "GW.EXAMPLE", True),
        ("gw.example", "x.gw.example", False),
        ("*.example", "gw.example", True),
        ("*.example", "example", False),
        ("gw.*", "gw.example", True),
    ],
)
def test_hosts_match_exactly_or_by_wildcard(pattern: str, host: str, matches: bool) -> None:
    assert (found(router({"name": "a", "hosts": [pattern]}), host=host) == "a") is matches


def test_methods_narrow_a_route() -> None:
    routes = router({"name": "a", "paths": ["/"], "methods": ["POST"]})
    assert found(routes, "POST") == "a"
    assert found(routes, "GET") is None


@pytest.mark.parametrize(
    ("strip", "path", "upstream"),
    [
        (True, "/a/b%2Fc", "/b%2Fc"),
        (True, "/a", "/"),
        (True, "/ab", "/b"),
        (False, "/a/b", "/a/b"),
    ],
)
def test_the_matched_path_is_stripped_unless_told_otherwise(
    strip: bool, path: str, upstream: str
) -> None:
    match = router({"paths": ["/a"], "strip_path": strip}).match("GET", "gw", path)
    assert match is not None
    assert match.upstream_path == upstream


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", "/"),
        ("/a//b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/%61", "/a"),
        ("/a%2fb", "/a%2Fb"),
        ("/%2e%2e/a", "/a"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_paths_are_normalized_before_they_are_matched(path: str, seen: str) -> None:
    assert normalized(path) == seen
