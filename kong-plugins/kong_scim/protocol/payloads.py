"""Reads what clients send into documents: in the short way if it is plain, else in the long one.

Both ways mean the same (:mod:`kong_scim.protocol.plain`).
"""

from __future__ import annotations

import os
from typing import Any

from scim2_models import (
    Context,
    InvalidSyntaxException,
    Mutability,
    PatchOp,
    Resource,
    ScimProvider,
)
from scim2_server.conditions import Conditions
from scim2_server.utils import parametrize

from kong_scim.counts import counts_of
from kong_scim.directory.documents import Content, Found, content, content_model
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.protocol import patching
from kong_scim.protocol.discovery import DiscoveryService
from kong_scim.protocol.leniency.requests import lenient_patch_message, lenient_resource
from kong_scim.protocol.limits import parse_json
from kong_scim.protocol.plain import NotPlainError, PlainPatch, PlainPayloads
from kong_scim.protocol.wording import validated


class PayloadService(DiscoveryService):
    """Reads the bodies of POST, PUT and PATCH requests, and applies them to stored resources.

    :param tenant: The tenant for whom requests are counted that take the long way.
    :param max_operations: Most operations of one PATCH or bulk request.
    """

    def __init__(self, provider: ScimProvider, *, tenant: str, max_operations: int) -> None:
        super().__init__(provider, secret=os.urandom(32))
        self._tenant = tenant
        self.max_operations = max_operations
        self._plain = {kind.name: PlainPayloads(kind.model) for kind in Kinds(provider)}

    def decode_body(self, body: bytes, content_type: str | None) -> dict[str, Any]:
        """Return the JSON object of a body, within the limits of
        :mod:`kong_scim.protocol.limits`."""
        self.ensure_json(content_type)
        payload = parse_json(body)
        if not isinstance(payload, dict):
            raise InvalidSyntaxException(detail="The body must be a JSON object")
        return payload

    def read_content(self, kind: Kind, body: bytes, content_type: str | None) -> Content:
        """Return the body of a POST."""
        self.ensure_json(content_type)
        try:
            return self._plain[kind.name].resource(body, creation=True)
        except NotPlainError:
            self._count_long_way()
        payload = lenient_resource(kind.model, self.decode_body(body, content_type), creation=True)
        with self.provider:
            resource = validated(kind.model, payload, Context.RESOURCE_CREATION_REQUEST)
            return content(kind, resource)

    def read_replacement_of(
        self, kind: Kind, body: bytes, content_type: str | None
    ) -> Content | Resource[Any]:
        """Return the body of a PUT."""
        self.ensure_json(content_type)
        try:
            return self._plain[kind.name].resource(body, creation=False)
        except NotPlainError:
            self._count_long_way()
        payload = lenient_resource(kind.model, self.decode_body(body, content_type), creation=False)
        with self.provider:
            return validated(kind.model, payload, Context.RESOURCE_REPLACEMENT_REQUEST)

    def replaced(self, found: Found, replacement: Content | Resource[Any]) -> Content | None:
        """Return the content of a resource after a PUT; None if nothing changes.

        A replacement that is a model is changed.
        """
        kind = found.kind
        if isinstance(replacement, Content):
            try:
                return self._plain[kind.name].replaced(found, replacement)
            except NotPlainError:
                replacement = content_model(kind, replacement)
        with self.provider:
            new = self.apply_replacement(found.model(), replacement, Conditions())
            return None if new is None else content(kind, new)

    def read_patch_of(
        self, kind: Kind, body: bytes, content_type: str | None
    ) -> PlainPatch | PatchOp[Any]:
        """Return the body of a PATCH."""
        self.ensure_json(content_type)
        try:
            return self._plain[kind.name].patch(body, self.max_operations)
        except NotPlainError:
            self._count_long_way()
        payload = self.decode_body(body, content_type)
        with self.provider:
            payload = lenient_patch_message(kind.model, payload, self.max_operations)
            message = parametrize(PatchOp, kind.model)
            return validated(message, payload, Context.RESOURCE_PATCH_REQUEST)

    def patched(self, found: Found, patch: PlainPatch | PatchOp[Any]) -> Content | None:
        """Return the content of a resource after a PATCH; None if nothing changes."""
        if isinstance(patch, PlainPatch):
            doc = self._plain[found.kind.name].patched(found.row.doc, patch.changes)
            return None if doc is None else Content(doc)
        with self.provider:
            new = self.apply_patch(found.model(), patch, Conditions())
            return None if new is None else content(found.kind, new)

    def _count_long_way(self) -> None:
        counts_of(self._tenant).add("long_way")

    def apply_replacement(
        self, current: Resource[Any], replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """Apply a PUT. ``active`` and read-only values of extensions stay if it lacks them.

        RFC 7644 §3.5.1 allows this. A PUT without ``active`` must not let a disabled user in again,
        and a client cannot remove values that the gateway wrote.
        """
        if getattr(replacement, "active", None) is None and "active" in type(current).model_fields:
            replacement["active"] = current["active"]
        for extension in type(current).get_extension_models().values():
            stored = getattr(current, extension.__name__)
            if stored is None or getattr(replacement, extension.__name__) is not None:
                continue
            kept = {
                name: getattr(stored, name)
                for name in extension.model_fields
                if extension.get_field_annotation(name, Mutability) == Mutability.read_only
                and getattr(stored, name) is not None
            }
            if kept:
                setattr(replacement, extension.__name__, extension.model_construct(**kept))
        return super().apply_replacement(current, replacement, conditions)

    def apply_patch(
        self, current: Resource[Any], patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """Apply a PATCH by :mod:`kong_scim.protocol.patching`; return None if it changes
        nothing."""
        self.check_preconditions(current, "PATCH", conditions)
        return current if patching.apply(patch_op, current) else None
