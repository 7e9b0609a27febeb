"""Reads bulk requests (RFC 7644 §3.7), and creates groups that refer to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scim2_models import (
    BulkOperation,
    BulkRequest,
    ConflictException,
    Context,
    Error,
    PatchOp,
    PayloadTooLargeException,
    Resource,
    SCIMException,
    ScimProvider,
)
from scim2_server.bulk import BULK_ID_PREFIX, BulkPlan, BulkStep
from scim2_server.utils import parametrize

from kong_scim import cpu
from kong_scim.protocol.leniency.requests import (
    lenient_message,
    lenient_patch_message,
    lenient_resource,
)
from kong_scim.protocol.wording import of_text, validated

_CONTEXTS = {
    BulkOperation.Method.post: Context.RESOURCE_CREATION_REQUEST,
    BulkOperation.Method.put: Context.RESOURCE_REPLACEMENT_REQUEST,
    BulkOperation.Method.patch: Context.RESOURCE_PATCH_REQUEST,
}
"""The context in which the data of a bulk operation is validated."""

PATCHES = 5
"""Times ``max_operations``: so many operations all PATCHes of one bulk request may have."""


@dataclass(frozen=True)
class JoinStep(BulkStep):
    """Adds members to a group that was created before them, by an operation of the same request."""

    members: tuple[str, ...]
    """The bulkIds of the members."""


class CircularPlan(BulkPlan):
    """A plan in which groups may be in each other (RFC 7644 §3.7.1).

    A group is created without the members that a later operation creates, and gets them at the end.
    """

    def plan_steps(self) -> list[BulkStep]:
        """Order the operations, and the steps that close circles of groups after them all."""
        steps = super().plan_steps()
        place = {step.index: number for number, step in enumerate(steps)}
        self.joins: list[JoinStep] = []
        for step in steps:
            operation = self.operations[step.index]
            members = getattr(operation.data, "members", None)
            if operation.method != BulkOperation.Method.post or not members:
                continue
            later = [
                member
                for member in members
                if place.get(self._creation(member), -1) > place[step.index]
            ]
            if not later:
                continue
            assert operation.data is not None  # noqa: S101 - it has members
            rest = [member for member in members if member not in later] or None
            self.operations[step.index] = operation.model_copy(
                update={"data": operation.data.model_copy(update={"members": rest})}
            )
            named = tuple(member.value.removeprefix(BULK_ID_PREFIX) for member in later)
            self.joins.append(JoinStep(step.index, named))
        return steps

    def __iter__(self) -> Iterator[BulkStep]:
        """Yield the steps to run; those that close circles belong to operations that ran."""
        yield from super().__iter__()
        for step in self.joins:
            if step.index in self.results:
                yield step

    def ids_of(self, step: JoinStep) -> list[str]:
        """Return the ids of the members that a group still lacks.

        :raises ~scim2_models.ConflictException: When one was not created.
        """
        absent = [each for each in step.members if each not in self.created]
        if absent:
            raise ConflictException(
                detail=f"The group was created without its member with the bulkId {absent[0]}, "
                "which was not created"
            )
        return [str(self.created[each].id) for each in step.members]

    def _creation(self, member: Any) -> int:
        """Return the position of the operation that creates a member, or -1."""
        value = str(member.value or "")
        if not value.startswith(BULK_ID_PREFIX):
            return -1
        return self.creations.get(value.removeprefix(BULK_ID_PREFIX), -1)


def lenient_bulk(
    provider: ScimProvider, payload: dict[str, Any], max_operations: int
) -> tuple[dict[str, Any], dict[int, SCIMException]]:
    """Return a bulk request with lenient operations, and what is wrong with those that have none.

    An operation that cannot be read fails alone, with the others done (RFC 7644 §3.7.3).

    :raises PayloadTooLargeException: When there are more operations than ``max_operations``, or
        its PATCHes have more than :data:`PATCHES` times as many.
    """
    result = lenient_message(payload, str(BulkRequest.__schema__))
    failures: dict[int, SCIMException] = {}
    for name, operations in result.items():
        if name.lower() != "operations" or not isinstance(operations, list):
            continue
        if len(operations) > max_operations:
            raise PayloadTooLargeException(
                detail=f"The request has {len(operations)} operations, maxOperations is "
                f"{max_operations}: send several requests"
            )
        _refuse_many_patches(operations, PATCHES * max_operations)
        lenient: list[Any] = []
        for index, operation in enumerate(operations):
            cpu.check()
            try:
                lenient.append(_bulk_operation(provider, operation, max_operations))
            except SCIMException as exception:
                lenient.append(operation)
                failures[index] = exception
        result[name] = lenient
    return result, failures


def _refuse_many_patches(operations: list[Any], most: int) -> None:
    """Refuse a bulk request whose PATCHes together have more than so many operations."""
    total = 0
    for operation in operations:
        for name, data in operation.items() if isinstance(operation, dict) else ():
            if name.lower() != "data" or not isinstance(data, dict):
                continue
            total += sum(
                len(value)
                for key, value in data.items()
                if key.lower() == "operations" and isinstance(value, list)
            )
    if total > most:
        raise PayloadTooLargeException(
            detail=f"The PATCHes of the request have {total} operations in all, the limit is "
            f"{most}: send several requests"
        )


def _bulk_operation(provider: ScimProvider, operation: Any, max_operations: int) -> Any:
    if not isinstance(operation, dict):
        return operation
    members = {name.lower(): value for name, value in operation.items()}
    method, path, data = members.get("method"), members.get("path"), members.get("data")
    if not isinstance(method, str) or not isinstance(path, str) or not isinstance(data, dict):
        return operation
    method = method.upper()
    model = provider.model_for_endpoint("/" + path.lstrip("/").partition("/")[0])
    if model is None or not issubclass(model, Resource):
        return operation
    if method == "PATCH":
        data = lenient_patch_message(model, data, max_operations)
    elif method in ("POST", "PUT"):
        data = lenient_resource(model, data, creation=method == "POST")
    return {
        name: {"method": method, "data": data}.get(name.lower(), value)
        for name, value in operation.items()
    }


def failure_of_operation(
    provider: ScimProvider,
    operation: BulkOperation[Resource[Any]],
    payload: dict[str, Any],
    index: int,
) -> SCIMException:
    """Return what the models refused in an operation, of which scim2-models keeps a sentence only.

    :param payload: The bulk request.
    :param index: Of the operation in it.
    """
    sent = next(value for name, value in payload.items() if name.lower() == "operations")[index]
    pairs = sent.items() if isinstance(sent, dict) else ()
    data = {name.lower(): value for name, value in pairs}.get("data")
    endpoint = "/" + str(operation.path or "").lstrip("/").partition("/")[0]
    model = provider.model_for_endpoint(endpoint)
    context = _CONTEXTS.get(operation.method) if operation.method else None
    if context and model and issubclass(model, Resource) and isinstance(data, dict):
        patches = operation.method == BulkOperation.Method.patch
        try:
            validated(parametrize(PatchOp, model) if patches else model, data, context)
        except SCIMException as exception:
            return exception
    assert isinstance(operation.response, Error)  # noqa: S101 - the caller asked
    return of_text(operation.response)
