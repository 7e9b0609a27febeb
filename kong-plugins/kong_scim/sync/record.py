"""The read-only extension of ``schemas/kong-user.json``, in which a user shows its consumer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kong_scim.directory.documents import record_of
from kong_scim.directory.stored_row import Document
from kong_scim.sync.wanted import Wanted


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
    def stored(cls, doc: Document) -> KongUserRecord:
        """Return the extension in the document of a user, or an empty record if it has none."""
        extension = record_of(doc)
        if extension is None:
            return cls()
        return cls(
            consumer_id=extension.get("consumerId"),
            username=extension.get("username"),
            access_groups=tuple(extension.get("accessGroups") or ()),
            suspended=bool(extension.get("suspended")),
            revoked_at=_moment(extension.get("revokedAt")),
            last_change=_moment(extension.get("lastChange")),
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


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
