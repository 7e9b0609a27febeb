"""Shortens references to resources when they are stored, and completes them when shown (RFC 7643
§2.3.7).

A reference is shown as a URL below the base URL of the request, which no database knows: stored is
the part behind it, or for ``members``, ``groups`` and ``meta.location`` nothing but the id. So a
filter on a reference is turned into one on what is stored, exactly, whatever the operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import isclass
from typing import Any
from urllib.parse import urlsplit

from scim2_models import AttributeBinding, Reference
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
)

from kong_scim.directory.kinds import GROUP_SCHEMA, USER_SCHEMA

Op = CompareOperator

_BASE: ContextVar[str] = ContextVar("base_url", default="")

_DERIVED = {f"{GROUP_SCHEMA}:members".lower(), f"{USER_SCHEMA}:groups".lower()}
"""Attributes whose ``$ref`` is made of the ``value`` beside it and the type of what it names."""


@contextmanager
def below(base_url: str) -> Iterator[None]:
    """Have references read and shown below this URL, such as ``https://example.com/scim/v2``."""
    token = _BASE.set(f"{base_url.rstrip('/')}/")
    try:
        yield
    finally:
        _BASE.reset(token)


def is_absolute(reference: str) -> bool:
    """Tell whether a stored reference is shown as it is, and not below the base URL."""
    return ":" in reference or reference.startswith("/")


def stored(reference: str) -> str:
    """Return the form in which a reference that a client sent is stored.

    One to a resource of ours is relative to the base URL, such as ``Users/2819c223``, whether it
    came as the URL that is shown, as a path or relative to the resource, as in the examples of RFC
    7643 §8.2. Others are kept.
    """
    shown = _shown(reference)
    base = _BASE.get()
    return shown[len(base) :] if base and shown.startswith(base) else reference


def _shown(reference: str) -> str:
    """Return the URL that a reference means."""
    base = _BASE.get()
    if ":" in reference:
        return reference
    if reference.startswith("/") and base:
        parts = urlsplit(base)
        if reference.startswith(parts.path):
            return f"{parts.scheme}://{parts.netloc}{reference}"
    while reference.startswith("../"):
        reference = reference[3:]
    return base + reference.lstrip("/")


def targets(kind: Any) -> tuple[str, ...]:
    """Return the resource types that a reference of a Python type may name; none for other types.

    Those of other references, such as the URL of a photo, are no resources of ours.
    """
    if not (isclass(kind) and issubclass(kind, Reference)):
        return ()
    types = kind.__reference_types__
    return () if {"external", "uri"} & set(types) else types


def is_derived(head: AttributeBinding) -> bool:
    """Tell whether the references of an attribute's entries are made of their ``value``."""
    urn = head.urn.lower()
    return (urn.rpartition(".")[0] if head.sub_field_name else urn) in _DERIVED


def located(types: Sequence[str], op: Op, url: Any) -> FilterNode:
    """Return the condition on a resource that its ``meta.location`` compares so to a URL.

    :param types: The resource types that are searched.
    """
    kinds = [(each, AttrPath("meta", "resourceType")) for each in types]
    return _made(kinds if len(types) > 1 else [(types[0], None)], AttrPath("id"), op, url)


def of_entry(types: Sequence[str], op: Op, url: Any) -> FilterNode:
    """Return the condition on an entry of ``members`` or ``groups`` that its ``$ref`` compares so.

    :param types: The resource types it may name.
    """
    kind = AttrPath("type") if len(types) > 1 else None
    return _made([(each, kind) for each in types], AttrPath("value"), op, url)


def _made(
    kinds: Sequence[tuple[str, AttrPath | None]], of: AttrPath, op: Op, url: Any
) -> FilterNode:
    """Return the condition on an id that the URL made of it compares so.

    :param kinds: Each resource type that may have the id, and the attribute that says which.
    """
    if url is None:
        return Present(of) if op is Op.ne else Not(Present(of))
    if op is Op.ne:
        return Not(_made(kinds, of, Op.eq, url))
    terms, nobody = [], Not(Present(of))
    for name, tells in kinds:
        found = _Prefixed(f"{_BASE.get()}{name}s/", of).compared(op, _operand(op, url))
        if found != nobody:
            terms.append(found if tells is None else _all(Comparison(tells, Op.eq, name), found))
    return _any(*terms) if terms else nobody


def written(of: AttrPath, op: Op, url: Any) -> FilterNode:
    """Return the condition that a reference which clients write is shown as something like a URL.

    :param of: Where it is stored.
    """
    if url is None:
        return Comparison(of, op, None)
    if op is Op.ne:
        return Not(written(of, Op.eq, url))
    base, operand = _BASE.get(), _operand(op, url)
    if op is Op.eq:
        same: list[FilterNode] = [Comparison(of, op, operand)]
        if base and operand.startswith(base):
            same.append(Comparison(of, op, operand[len(base) :]))
        return _any(*same)
    absolute = _any(Comparison(of, Op.co, ":"), Comparison(of, Op.sw, "/"))
    as_it_is = _all(absolute, Comparison(of, op, operand))
    below_base = _Prefixed(base, of).compared(op, operand)
    return _any(as_it_is, _all(Present(of), Not(absolute), below_base))


def _operand(op: Op, url: str) -> str:
    """Return what is compared with, as a URL, unless it is only a part of one."""
    base = _BASE.get()
    if op in (Op.co, Op.ew) or (op is Op.sw and base.startswith(url)):
        return url
    if op is Op.sw and urlsplit(base).path.startswith(url):  # the beginning of a path
        return base
    return _shown(url)


@dataclass(frozen=True)
class _Prefixed:
    """Texts with a common prefix, such as the URLs of users. What follows the prefix is stored.

    :param of: The attribute that holds what follows; it is there, and not empty.
    """

    prefix: str
    of: AttrPath

    def compared(self, op: Op, operand: str) -> FilterNode:
        """Return the condition that the whole text compares so; ``op`` is any but ``ne``."""
        rest = operand[len(self.prefix) :] if operand.startswith(self.prefix) else None
        if op in (Op.co, Op.ew):
            return self._within(op, operand)
        if op is Op.sw and self.prefix.startswith(operand):
            return Present(self.of)
        if rest is not None:
            return Comparison(self.of, op, rest)
        if op in (Op.eq, Op.sw):
            return Not(Present(self.of))
        # They differ within what all texts begin with.
        greater = self.prefix > operand
        return Present(self.of) if greater == (op in (Op.gt, Op.ge)) else Not(Present(self.of))

    def _within(self, op: Op, part: str) -> FilterNode:
        if not part or (op is Op.co and part in self.prefix):
            return Present(self.of)
        across = Op.sw if op is Op.co else Op.eq
        cuts = (cut for cut in range(1, len(part)) if self.prefix.endswith(part[:cut]))
        return _any(
            Comparison(self.of, op, part),
            *(Comparison(self.of, across, part[cut:]) for cut in cuts),
        )


def _any(*terms: FilterNode) -> FilterNode:
    return terms[0] if len(terms) == 1 else LogicalExpr(LogicalOperator.or_, terms)


def _all(*terms: FilterNode) -> FilterNode:
    return terms[0] if len(terms) == 1 else LogicalExpr(LogicalOperator.and_, terms)
