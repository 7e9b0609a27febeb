"""The resource type ``Event``: the audit trail, which clients read and never write."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from scim2_models import URN, CaseExact, ComplexAttribute, Mutability, Resource

EVENT = "urn:ietf:params:scim:schemas:kong:2.0:Event"

_Text = Annotated[str | None, Mutability.read_only, CaseExact.true]
_Texts = Annotated[list[str] | None, Mutability.read_only, CaseExact.true]
_Number = Annotated[int | None, Mutability.read_only]


class EventValue(ComplexAttribute):
    attribute: _Text = None
    """The name of the attribute, with the URN of its extension."""

    value: _Text = None
    """Its new value, as JSON where it is no text."""


class EventUser(ComplexAttribute):
    value: _Text = None
    """The id of the user."""

    consumer: _Text = None
    """The id of its consumer in Kong."""

    added: _Texts = None
    """The access groups the consumer got."""

    removed: _Texts = None
    """The access groups the consumer lost."""

    suspended: Annotated[bool | None, Mutability.read_only] = None
    """Whether the gateway refuses the consumer from then on; absent where it is gone."""


class EventEntities(ComplexAttribute):
    operation: _Text = None
    """``upsert``, ``delete`` or ``revoke``."""

    kind: _Text = None
    """Kong's name of the entity, such as ``acls``."""

    count: _Number = None
    """How many were written."""


class EventCredentials(ComplexAttribute):
    kind: _Text = None
    """Kong's name of the credential, such as ``keyauth_credentials``."""

    count: _Number = None
    """How many were revoked."""


class Event(Resource[Any]):
    """A change of a user or a group with its effects, sealed into the tenant's audit trail."""

    __schema__ = URN(EVENT)

    sequence: _Number = None
    """The place in the audit trail of the tenant, from 1 and without a gap."""

    occurred: Annotated[datetime | None, Mutability.read_only] = None
    """When the change was committed."""

    operation: _Text = None
    """What the client asked for: create, replace, patch or delete; reconcile, where only Kong's
    consumer was mended; credential-add and credential-remove, at a DB-less Kong's Admin API; of a
    quarantine, begin, approve, reject or lift; of drift, found or mended; expiry-warning of a
    token."""

    actions: _Texts = None
    """What it came to: activate, deactivate, member-add, member-remove, roles-change,
    credentials-revoke."""

    resource_type: _Text = None
    """The type of the resource that was written: User or Group; or Quarantine, Drift or
    Token."""

    resource_id: _Text = None
    """The id of that resource; of a quarantine and of drift, the tenant."""

    version_before: _Number = None
    """The version it had; absent where it is new."""

    version_after: _Number = None
    """The version it got; absent where it is gone."""

    attributes: _Texts = None
    """The names of the attributes that changed."""

    values: Annotated[list[EventValue] | None, Mutability.read_only] = None
    """New values of attributes that the configuration names."""

    joined: _Texts = None
    """The ids of members that a group got."""

    left: _Texts = None
    """The ids of members that a group lost."""

    users: Annotated[list[EventUser] | None, Mutability.read_only] = None
    """The users whose access to the gateway changed with it."""

    entities: Annotated[list[EventEntities] | None, Mutability.read_only] = None
    """How many entities of Kong were written."""

    credentials: Annotated[list[EventCredentials] | None, Mutability.read_only] = None
    """How many credentials were revoked, by kind."""

    detail: _Text = None
    """A sentence on what happened, of a quarantine or of drift."""

    dry_run: Annotated[bool | None, Mutability.read_only] = None
    """True where this would have happened, and was not done."""

    actor: _Text = None
    """The name of the token that the client presented; ``kong-admin`` for Kong's Admin API."""

    address: _Text = None
    """The client's address, as Kong judges it."""

    request_id: _Text = None
    """Kong's own id of the request, as in its access log."""

    previous_hash: _Text = None
    """The hash of the event before this one; of the first, 64 zeros."""

    hash: _Text = None
    """SHA-256 of this event with the hash before it."""
