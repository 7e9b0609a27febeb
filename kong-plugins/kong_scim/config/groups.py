"""The part of the configuration that says which ACL groups a provider may fill, and how they are
named.

:mod:`kong_scim.config.plugin` puts the parts together.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from kong_scim.config.auth import StrictRecord
from kong_scim.spelling import format_character, has_control, one_spelling

Kind: TypeAlias = Literal["acl", "consumer_group", "both"]


class TargetPattern(StrictRecord):
    """What those groups are in Kong whose names match a regular expression."""

    pattern: Annotated[
        str,
        Field(min_length=1, max_length=512, json_schema_extra={"kong": {"is_regex": True}}),
    ] = Field(description="Regular expression (Python) for the whole name of a group in Kong.")
    target: Kind = Field(description="What a group with such a name is in Kong.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return value


class TargetChoice(StrictRecord):
    """What a group is in Kong: an ACL group, a consumer group, or both.

    The choice follows the name in Kong, so it is the same for groups, roles and entitlements. The
    map comes first, then the patterns in their order, then the default.
    """

    map: dict[str, Kind] = Field(
        default_factory=dict,
        description="Name of a group in Kong, after mapping and prefix, to what it is there; tried "
        "first.",
    )
    patterns: Annotated[list[TargetPattern], Field(min_length=0, max_length=64)] = Field(
        default=[], description="Tried in their order where `map` has not the name."
    )
    default: Kind = Field(
        default="acl",
        description="What all other groups are in Kong: an ACL group (`acl`), a consumer group "
        "(`consumer_group`, which only Kong Enterprise has), or `both`.",
    )

    def of(self, name: str) -> Kind:
        """Return what a group is in Kong, by its name there."""
        chosen = self.map.get(name)
        if chosen is not None:
            return chosen
        for each in self.patterns:
            if re.fullmatch(each.pattern, name):
                return each.target
        return self.default

    def has(self, name: str, kind: Kind) -> bool:
        """Tell whether a group is of a kind in Kong, alone or among others."""
        return self.of(name) in (kind, "both")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that groups may be of."""
        chosen = {self.default, *self.map.values(), *(each.target for each in self.patterns)}
        return frozenset({"acl", "consumer_group"} if "both" in chosen else chosen)


class GroupMapping(StrictRecord):
    """Which ACL groups a tenant's provider may fill, and how a displayName becomes a group's name.

    The map comes first, then the pattern, then the name as it is; then the prefix.
    """

    map: dict[str, str] = Field(
        default_factory=dict,
        description="displayName to ACL group; tried first. Blanks at the ends do not count, and "
        "several together are one.",
    )
    pattern: str | None = Field(
        default=None,
        description="Regular expression (Python, whole name). Where it matches, `replacement` is "
        "the ACL group's name.",
        json_schema_extra={"kong": {"is_regex": True}},
    )
    replacement: str = Field(
        default=r"\1", description="What a match of `pattern` becomes; `\\1` is the first bracket."
    )
    prefix: Annotated[str, Field(max_length=128)] = Field(
        default="",
        description="Put before the name of every ACL group that this tenant gives, those of roles "
        "and entitlements included, but not before a name that `map` gives: with one of its own "
        "for each tenant no provider can name the group of another.",
        json_schema_extra={"kong": {"match": "^[^%c,]*$"}},
    )
    allow: Annotated[
        list[
            Annotated[
                str,
                Field(
                    min_length=1,
                    max_length=512,
                    json_schema_extra={"kong": {"is_regex": True}},
                ),
            ]
        ],
        Field(min_length=0, max_length=256),
    ] = Field(
        default=[],
        description="ACL groups that this tenant may give although somebody else gives them too: "
        "another tenant, an administrator by hand, or, with `auth: kong`, `group_scopes`. Names, "
        "or regular expressions (Python) for whole names, after mapping and prefix.",
    )
    unmatched: Literal["keep", "refuse", "ignore"] = Field(
        default="keep",
        description="What becomes of a name that `allow` does not have, or, where `allow` is "
        "empty, that neither `map` nor `pattern` matches. `keep`: it is an ACL group. `refuse`: "
        "the group cannot be created, nor renamed so (400). `ignore`: it stays a SCIM group and "
        "opens nothing in Kong.",
    )
    targets: TargetChoice = Field(
        default_factory=TargetChoice,
        description="Whether a group is an ACL group in Kong, a consumer group, or both. The same "
        "rules hold for roles and entitlements.",
    )

    @field_validator("map")
    @classmethod
    def _keys_are_told_apart(cls, value: dict[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, group in value.items():
            if found.setdefault(one_spelling(name), group) != group:
                raise ValueError(f"two entries for {one_spelling(name)!r}, which differ in blanks")
        return found

    @field_validator("prefix")
    @classmethod
    def _prefix_fits_into_a_header(cls, value: str) -> str:
        if "," in value or has_control(value) or format_character(value):
            raise ValueError("no commas and no control or format characters")
        return value

    @field_validator("allow")
    @classmethod
    def _allowed_compile(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                re.compile(each)
            except re.error as error:
                raise ValueError(
                    f"{each!r} is no regular expression: {error}; put a backslash before what is "
                    "meant as it is"
                ) from error
        return value

    @model_validator(mode="after")
    def _pattern_compiles(self) -> GroupMapping:
        if self.pattern:
            try:
                pattern = re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern: {error}") from error
            try:
                pattern.sub(self.replacement, "")  # checks the replacement even without a match
            except (re.error, IndexError) as error:
                raise ValueError(f"replacement: {error}; is its bracket in pattern?") from error
        return self

    def allows(self, name: str) -> bool:
        """Tell whether :attr:`allow` lists or matches the name of an ACL group."""
        return any(name == each or re.fullmatch(each, name) for each in self.allow)


class RoleMapping(StrictRecord):
    """Whether a user's roles and entitlements become ACL groups too, and under which names."""

    enabled: bool = Field(
        default=True, description="Turn `roles` and `entitlements` into ACL groups."
    )
    roles_prefix: str = Field(default="role:", description="Put before a role's value.")
    entitlements_prefix: str = Field(
        default="entitlement:", description="Put before an entitlement's value."
    )
