"""A row of ``scim_resources``, with its document as JSON text, as values, or as both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from pydantic_core import from_json
from scim2_models import Path, Resource
from scim2_models.path import AttributeBinding
from scim2_server.utils import parametrize

from kong_scim.directory.kinds import Kind
from kong_scim.directory.values import folded, instant, normalized
from kong_scim.json_text import to_text

Document = Mapping[str, Any]
"""A resource in SCIM JSON form, without ``id``, ``meta``, ``groups``, ``members``. Each name is as
its schema declares it, and no value is empty."""


@dataclass(frozen=True)
class StoredRow:
    """A row of ``scim_resources``.

    :param stored: The document: its JSON text if it was read, its values if they are new. Each is
        made from the other only when it is needed.
    :param created: In the form of :func:`~kong_scim.directory.values.instant`, as ``modified``.
    """

    id: str
    type: str
    version: int
    stored: str | Document
    created: str
    modified: str

    @classmethod
    def read(cls, columns: Mapping[str, Any]) -> StoredRow:
        """Return the row for the columns that a database returned."""
        return cls(
            id=columns["id"],
            type=columns["type"],
            version=int(columns["version"]),
            stored=columns["doc"],
            created=columns["created"],
            modified=columns["modified"],
        )

    @cached_property
    def doc(self) -> Document:
        """The document as values."""
        return from_json(self.stored) if isinstance(self.stored, str) else self.stored

    @cached_property
    def text(self) -> str:
        """The document as the JSON text that is stored."""
        if isinstance(self.stored, str):
            return self.stored
        return to_text(self.stored)

    @property
    def etag(self) -> str:
        """The version as SCIM shows it (RFC 7644 §3.14)."""
        return f'W/"{self.version}"'

    @property
    def display(self) -> str | None:
        """The name by which the resource is shown: its displayName, or else its userName."""
        display = self.doc.get("displayName") or self.doc.get("userName")
        return None if display is None else str(display)

    def display_key(self, kind: Kind) -> str | None:
        """Return the display in the form for comparisons."""
        display, binding = self.display, _display_binding(kind.model)
        if display is None or binding is None:
            return display
        return normalized(display) if binding.case_exact else folded(display)

    def changed(self, *, doc: Document | None = None, now: datetime) -> StoredRow:
        """Return the row of the next version, with the same document if none is given."""
        return replace(
            self,
            stored=self.stored if doc is None else doc,
            version=self.version + 1,
            modified=instant(now),
        )


@lru_cache(maxsize=64)
def _display_binding(model: type[Resource[Any]]) -> AttributeBinding | None:
    binding = parametrize(Path, model)("displayName").resolve()
    return binding if isinstance(binding, AttributeBinding) else None
