"""The entities of a declarative file as they are written, checked as Kong's schemas check them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class DeclaredRow(BaseModel):
    """The fields that every entity has."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str | None = None
    tags: list[str] | None = None


class Foreign(BaseModel):
    """A reference to another entity, written as an object."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str | None = None
    id: str | None = None


Reference: TypeAlias = str | Foreign | None


class PluginRow(DeclaredRow):
    """An entry of ``plugins``, at the top or in a service or route."""

    name: str
    config: dict[str, Any] | None = None
    instance_name: str | None = None
    enabled: bool = True
    protocols: list[str] | None = None
    service: Reference = None
    route: Reference = None


class RouteRow(DeclaredRow):
    """An entry of ``routes``. Timeouts and buffering are read and have no effect here."""

    name: str | None = None
    paths: Annotated[list[str], Field(min_length=1)] | None = None
    hosts: Annotated[list[str], Field(min_length=1)] | None = None
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    protocols: list[Literal["http", "https"]] = ["http", "https"]
    strip_path: bool = True
    preserve_host: bool = False
    path_handling: Literal["v0"] = "v0"
    https_redirect_status_code: Literal[426] = 426
    regex_priority: int = 0
    request_buffering: bool = True
    response_buffering: bool = True
    service: Reference = None
    plugins: list[PluginRow] = []

    @field_validator("paths")
    @classmethod
    def _paths_are_prefixes(cls, paths: list[str] | None) -> list[str] | None:
        for path in paths or ():
            if not path.startswith("/"):
                raise ValueError(
                    f"{path!r}: a path starts with / (this sandbox has no ~ regex paths)"
                )
        return paths

    @model_validator(mode="after")
    def _matches_something(self) -> RouteRow:
        if not (self.paths or self.hosts or self.methods):
            raise ValueError("must set one of 'methods', 'hosts', 'paths'")
        return self


class ServiceRow(DeclaredRow):
    """An entry of ``services``. Retries are read and have no effect here."""

    name: str | None = None
    url: str | None = None
    protocol: Literal["http", "https"] = "http"
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    path: str | None = None
    retries: int = 5
    connect_timeout: Annotated[int, Field(gt=0)] = 60_000
    write_timeout: Annotated[int, Field(gt=0)] = 60_000
    read_timeout: Annotated[int, Field(gt=0)] = 60_000
    enabled: bool = True
    routes: list[RouteRow] = []
    plugins: list[PluginRow] = []

    @model_validator(mode="after")
    def _goes_somewhere(self) -> ServiceRow:
        if self.url is None and self.host is None:
            raise ValueError("host: required field missing")
        if self.url is not None:
            url = urlsplit(self.url)
            if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
                raise ValueError(f"url: {self.url!r} is no URL such as http://host:port/path")
        return self


class KeyRow(DeclaredRow):
    """An entry of ``keyauth_credentials``."""

    key: str | None = None
    consumer: str | None = None


class AclRow(DeclaredRow):
    """An entry of ``acls``."""

    group: str
    consumer: str | None = None


class JwtRow(DeclaredRow):
    """An entry of ``jwt_secrets``: the issuer of tokens, and its public key."""

    key: str
    algorithm: Literal["RS256"]
    rsa_public_key: str


class ConsumerRow(DeclaredRow):
    """An entry of ``consumers``, with its credentials and groups."""

    username: str | None = None
    custom_id: str | None = None
    keyauth_credentials: list[KeyRow] = []
    jwt_secrets: list[JwtRow] = []
    acls: list[AclRow] = []

    @model_validator(mode="after")
    def _has_a_name(self) -> ConsumerRow:
        if not (self.username or self.custom_id):
            raise ValueError(
                "at least one of these fields must be non-empty: 'custom_id', 'username'"
            )
        return self


class File(BaseModel):
    """A whole declarative file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format_version: Literal["3.0"] = Field(alias="_format_version")
    transform: bool = Field(True, alias="_transform")
    comment: str | None = Field(None, alias="_comment")
    info: dict[str, Any] | None = Field(None, alias="_info")
    services: list[ServiceRow] = []
    routes: list[RouteRow] = []
    plugins: list[PluginRow] = []
    consumers: list[ConsumerRow] = []
    keyauth_credentials: list[KeyRow] = []
    acls: list[AclRow] = []
