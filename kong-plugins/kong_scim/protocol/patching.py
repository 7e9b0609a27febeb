"""Applies a PATCH in a time that grows with its length plus the length of the resource, and not
with their product.

scim2-models compares, copies and checks every entry of a multi-valued attribute for each operation
on it. Here an operation that selects entries by what one of their sub-attributes equals finds them
in an index, which is made once, and is applied to those entries alone. What cannot be found so
is counted before anything is done, and refused where it is too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from scim2_models import (
    AttributeBinding,
    BaseModel,
    PatchOp,
    PatchOperation,
    Path,
    PayloadTooLargeException,
    Resource,
)
from scim2_models.messages.patch_op import _apply_operation
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    Not,
    ValuePath,
    coerce_value,
)
from scim2_models.policy import _effective_policy

from kong_scim import cpu
from kong_scim.protocol.leniency.patch import as_add

MAX_COST = 20_000
"""How many entries all operations of a PATCH may look at: a thousand operations on twenty entries.
Each costs some tens of microseconds."""

Operation = PatchOperation[Any]


def apply(patch: PatchOp[Any], resource: Resource[Any]) -> bool:
    """Apply a PATCH to a resource, in place; return whether that changed it.

    A failed one leaves the resource as it happens to be: who calls this has read it for this alone.

    :raises ~scim2_models.SCIMException: As :meth:`PatchOp.patch <scim2_models.PatchOp.patch>`; 413
        before anything is done when it would look at more than :data:`MAX_COST` entries.
    """
    steps = [_Step(type(resource), each) for each in _single(patch.operations or ())]
    lists: dict[str, _Entries] = {}
    _refuse_costly(steps, resource, lists)
    blank = type(resource).model_construct()
    changed = False
    policy = _effective_policy()
    for step in steps:
        cpu.check()
        if step.field is None:
            _put_back(resource, lists)
            changed |= _apply_operation(resource, step.operation, policy)
            continue
        entries = _list_of(step, resource, lists)
        selected = None if entries is None else entries.found(step)
        if entries is None:
            held = getattr(resource, step.field)
        else:
            held = entries.all() if selected is None else None if entries.absent else selected
        # Whatever else the resource has is neither compared nor copied.
        part = blank.model_copy(update={step.field: held})
        # PatchOp.patch() would copy all of it first, deeply, to put it back after a failure.
        if _apply_operation(part, as_add(part, step.operation), policy):
            changed = True
            if entries is None:
                setattr(resource, step.field, getattr(part, step.field))
            else:
                entries.replace(
                    entries.all() if selected is None else selected, getattr(part, step.field)
                )
    _put_back(resource, lists)
    return changed


def _single(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Yield operations; one that removes what a list names as one for each entry of the list."""
    for operation in operations:
        value = operation.value
        if operation.op == PatchOperation.Op.remove and isinstance(value, list):
            yield from (operation.model_copy(update={"value": [each]}) for each in value)
        else:
            yield operation


class _Step:
    """One operation of a PATCH.

    :ivar field: The attribute of the resource, or the extension, that it is about, by its Python
        name; None for anything else: the whole resource, or ``schemas``.
    :ivar item: The model of the entries, where the attribute is a list of the resource's own.
    :ivar selection: The filter that says which entries it is about; None for any of them.
    :ivar terms: How many comparisons it makes with each entry.
    """

    def __init__(self, model: type[Resource[Any]], operation: Operation) -> None:
        self.operation = operation
        self.field: str | None = None
        self.item: type[BaseModel] | None = None
        self.selection: FilterNode | None = None
        self.terms = 1
        path: Path[Any] = Path[model](str(operation.path or ""))  # type: ignore[valid-type]
        binding = path.resolve() if path.model is None else None
        holder = path.model if binding is None else binding.model
        if holder is None:
            return
        if holder is not model:
            self.field = holder.__name__
        elif binding is not None and binding.field_name != "schemas":
            self.field = binding.field_name
            if binding.is_multivalued and _is_model(binding.field_type):
                self.item = binding.field_type
        selection = path.value_filter or _by_value(operation)
        self.terms = _comparisons(selection)
        # An entry that is marked as the primary one unmarks others: all have to be there.
        if binding is not None and not _writes_primary(binding, operation):
            self.selection = selection


def _list_of(step: _Step, resource: Resource[Any], lists: dict[str, _Entries]) -> _Entries | None:
    """Return the list of entries that a step is about; each is indexed once."""
    if step.item is None or step.field is None:
        return None
    if step.field not in lists:
        lists[step.field] = _Entries(step.item, getattr(resource, step.field))
    return lists[step.field]


def _put_back(resource: Resource[Any], lists: dict[str, _Entries]) -> None:
    """Write into the resource what became of its lists."""
    for field, entries in lists.items():
        if entries.changed:
            setattr(resource, field, None if entries.absent else entries.all())
    lists.clear()


def _refuse_costly(steps: list[_Step], resource: Resource[Any], lists: dict[str, _Entries]) -> None:
    """Add up what each step looks at, what those before it may have added included."""
    cost = 0
    added: Counter[str | None] = Counter()
    for step in steps:
        entries = _list_of(step, resource, lists)
        found = None if entries is None else entries.found(step)
        if found is not None:
            cost += len(found) * step.terms
        else:
            before = added[step.field] if step.field else added.total()
            cost += (_size(resource, step.field) + before) * step.terms
        value = step.operation.value
        if step.operation.op != PatchOperation.Op.remove:
            more = len(value) if isinstance(value, list) else int(step.item is not None)
            added[step.field] += more
    if cost > MAX_COST:
        raise PayloadTooLargeException(
            detail=f"The PATCH looks at {cost} entries (operations times the entries of their "
            f"attributes), the limit is {MAX_COST}: send several requests, or replace the "
            "attribute as a whole"
        )


def _size(value: Any, field: str | None) -> int:
    """Return how many entries there are in all lists of a field, or of a whole resource."""
    if field is not None:
        value = getattr(value, field, None)
    if isinstance(value, list):
        return len(value)
    return sum(map(len, _lists_in(value)))


def _lists_in(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, BaseModel):
        for each in vars(value).values():
            if isinstance(each, list):
                yield each
            else:
                yield from _lists_in(each)


class _Entries:
    """The entries of one attribute, found by the value of a sub-attribute."""

    def __init__(self, model: type[BaseModel], entries: list[Any] | None) -> None:
        self.changed = False
        self.absent = entries is None
        self._model = model
        self._entries = dict(enumerate(entries or ()))
        self._places = {id(entry): place for place, entry in self._entries.items()}
        self._next = len(self._entries)
        self._indexes: dict[str, _Index | None] = {}

    def all(self) -> list[Any]:
        """Return them in their order."""
        return list(self._entries.values())

    def found(self, step: _Step) -> list[Any] | None:
        """Return those a step can be about, in their order; None where only a look at each of them
        can tell."""
        places = self._matching(step.selection)
        return None if places is None else [self._entries[each] for each in sorted(places)]

    def replace(self, before: list[Any], after: list[Any] | None) -> None:
        """Note what an operation made of some of them; new ones come last."""
        self.changed = True
        kept = {id(entry) for entry in after or ()}
        for entry in before:
            place = self._places[id(entry)]
            self._unindex(place)
            if id(entry) not in kept:
                del self._entries[place], self._places[id(entry)]
        for entry in after or ():
            if id(entry) not in self._places:
                self._places[id(entry)] = self._next
                self._entries[self._next] = entry
                self._next += 1
            for index in self._indexes.values():
                if index is not None:
                    index.add(self._places[id(entry)], entry)
        self.absent = after is None and not self._entries

    def _unindex(self, place: int) -> None:
        for index in self._indexes.values():
            if index is not None:
                index.remove(place)

    def _matching(self, node: FilterNode | None) -> set[int] | None:
        match node:
            case Comparison():
                return self._equal(node)
            case LogicalExpr():
                parts = [self._matching(term) for term in node.terms]
                known = [part for part in parts if part is not None]
                if node.op == LogicalOperator.and_:
                    return min(known, key=len) if known else None
                return set().union(*known) if len(known) == len(parts) else None
        return None

    def _equal(self, node: Comparison) -> set[int] | None:
        path = node.attr_path
        if node.op != CompareOperator.eq or node.value is None or path.uri or path.sub_attr:
            return None
        name = path.attr.lower()
        if name not in self._indexes:
            binding = Path(path.attr).resolve(self._model)
            self._indexes[name] = None if binding is None else _Index(binding, self._entries)
        index = self._indexes[name]
        return None if index is None else index.places(node)


class _Index:
    """The places of entries by the value of a sub-attribute, in the form comparisons use."""

    def __init__(self, binding: AttributeBinding, entries: dict[int, Any]) -> None:
        self._binding = binding
        self._by_value: dict[Any, set[int]] = {}
        self._values: dict[int, Any] = {}
        for place, entry in entries.items():
            self.add(place, entry)

    def places(self, node: Comparison) -> set[int]:
        """Return where the value is what a comparison wants."""
        wanted = coerce_value(self._binding, node.value, node.op)
        return self._by_value.get(self._key(wanted), set())

    def add(self, place: int, entry: Any) -> None:
        """Note an entry."""
        key = self._key(getattr(entry, self._binding.field_name, None))
        self._values[place] = key
        self._by_value.setdefault(key, set()).add(place)

    def remove(self, place: int) -> None:
        """Forget an entry."""
        self._by_value[self._values.pop(place)].discard(place)

    def _key(self, value: Any) -> Any:
        try:
            key = self._binding.comparable(value)
            hash(key)
        except (TypeError, ValueError):  # equal to nothing, as scim2-models has it
            return object()
        return key


def _by_value(operation: Operation) -> FilterNode | None:
    """Return the filter that the value of a removal stands for.

    See docs/providers/traffic.md#members-in-the-value.
    """
    if operation.op != PatchOperation.Op.remove:
        return None
    match operation.value:
        case [{"value": str(value)} as entry] if len(entry) == 1:
            return Comparison(AttrPath("value"), CompareOperator.eq, value)
    return None


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _comparisons(node: FilterNode | None) -> int:
    match node:
        case LogicalExpr():
            return sum(map(_comparisons, node.terms))
        case Not():
            return _comparisons(node.expr)
        case ValuePath():
            return _comparisons(node.val_filter)
    return 1


def _writes_primary(binding: AttributeBinding, operation: Operation) -> bool:
    """Tell whether an operation marks an entry as the primary one, which unmarks the others."""
    if binding.sub_field_name is not None:
        return binding.sub_field_name == "primary"
    value = operation.value
    return isinstance(value, dict) and any(name.lower() == "primary" for name in value)
