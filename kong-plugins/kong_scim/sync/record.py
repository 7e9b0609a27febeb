"""The read-only extension of ``schemas/kong-user.json``, in which a user shows its consumer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from scim2_models import Resource

from kong_scim.sync.wanted import Wanted

SCHEMA = "urn:ietf:params:scim:schemas:extension:kong:2.0:User"


@dataclass(frozen=True)
class KongUserRecord:
    """The values of the extension. If ``consumer_id`` is None, the user has no consumer."""

    consumer_id: str | None = None
    username: str | None = None
    access_groups: tuple[str, ...] = ()
    suspended: bool = False
    revoked_at: datetime | None = None
    last_change: datetime | None = None

    @classmethod
    def stored(cls, user: Resource[Any]) -> KongUserRecord:
        """Return the extension of a stored user, or an empty record if it has none."""
        model = type(user).get_extension_models().get(SCHEMA)
        extension: Any = user[model] if model else None
        if extension is None:
            return cls()
        return cls(
            consumer_id=extension.consumer_id,
            username=extension.username,
            access_groups=tuple(extension.access_groups or ()),
            suspended=bool(extension.suspended),
            revoked_at=extension.revoked_at,
            last_change=extension.last_change,
        )

    @classmethod
    def of(cls, wanted: Wanted) -> KongUserRecord:
        """Return the record of a wanted consumer; a user without one is shown as suspended."""
        if not wanted.present:
            return cls(suspended=True, revoked_at=wanted.revoked_at)
        return cls(
            consumer_id=wanted.id,
            username=wanted.username,
            access_groups=wanted.groups,
            suspended=wanted.suspended,
            revoked_at=wanted.revoked_at,
        )

    def at(self, moment: datetime | None) -> KongUserRecord:
        """Return the record with the moment of its last change."""
        return replace(self, last_change=moment)

    def to_scim(self) -> dict[str, Any]:
        """Return the extension in SCIM JSON form, without the values that are None."""
        values: dict[str, Any] = {
            "consumerId": self.consumer_id,
            "username": self.username,
            "accessGroups": list(self.access_groups),
            "suspended": self.suspended,
        }
        for name, moment in (("revokedAt", self.revoked_at), ("lastChange", self.last_change)):
            if moment:
                text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
                values[name] = text.replace("+00:00", "Z")
        return {name: value for name, value in values.items() if value is not None}
