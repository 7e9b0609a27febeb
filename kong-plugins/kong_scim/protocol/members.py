"""Reads a PATCH of a group that only adds and removes single members.

Such a PATCH is done without the group's members being read, so that it costs the same for a group
of ten and of ten thousand (docs/providers/traffic.md#one-member-of-thousands).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scim2_models import PatchOp, PatchOperation, Path, Resource
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator


@dataclass
class MemberChanges:
    """Ids to add and to remove, after every operation; no id is in both."""

    add: dict[str, None] = field(default_factory=dict)
    remove: dict[str, None] = field(default_factory=dict)

    def added(self, ids: list[str]) -> None:
        """Note members added after what is noted already."""
        for each in ids:
            self.add[each] = None
            self.remove.pop(each, None)

    def removed(self, ids: list[str]) -> None:
        """Note members removed after what is noted already."""
        for each in ids:
            self.remove[each] = None
            self.add.pop(each, None)


def split_members(
    model: type[Resource[Any]], patch: PatchOp[Any]
) -> tuple[MemberChanges, list[PatchOperation[Any]]] | None:
    """Return what a PATCH adds and removes, and its other operations.

    :return: None where a member operation needs the members: replacing or removing all of them, or
        selecting them by something else than their ids.
    """
    changes = MemberChanges()
    others: list[PatchOperation[Any]] = []
    for operation in patch.operations or []:
        path: Path[Any] = Path[model](str(operation.path or ""))  # type: ignore[valid-type]
        binding = path.resolve()
        if binding is None or binding.field_name != "members":
            others.append(operation)
            continue
        if binding.sub_field_name is not None:
            return None
        if operation.op == PatchOperation.Op.add and path.value_filter is None:
            ids = _values(operation.value)
            note = changes.added
        elif operation.op == PatchOperation.Op.remove:
            selection = path.value_filter
            ids = _values(operation.value) if selection is None else _compared(selection)
            note = changes.removed
        else:
            return None
        if ids is None:
            return None
        note(ids)
    return changes, others


def _values(entries: Any) -> list[str] | None:
    """Return the ids of a list of members, or None for anything else, which is refused later."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return [entry["value"] for entry in entries]


def _compared(selection: FilterNode) -> list[str] | None:
    """Return the ids of ``value eq "x" or value eq "y"``, or None for another selection."""
    if isinstance(selection, LogicalExpr) and selection.op == LogicalOperator.or_:
        parts = [_compared(term) for term in selection.terms]
        return None if None in parts else [each for part in parts if part for each in part]
    if (
        isinstance(selection, Comparison)
        and selection.op == CompareOperator.eq
        and str(selection.attr_path).lower() == "value"
        and isinstance(selection.value, str)
    ):
        return [selection.value]
    return None
