"""What a user and its groups are in Kong: pure functions, no I/O.

:func:`wanted` says which consumer a user should be, :func:`plan` what to do about the one that is
there, :class:`Record` what the user shows of it.
"""

from __future__ import annotations

from kong_scim.projection.consumer import Wanted, check_mapping, gone, names_of, wanted
from kong_scim.projection.names import access_groups, acl_group
from kong_scim.projection.record import Record
from kong_scim.projection.steps import plan

__all__ = [
    "Record",
    "Wanted",
    "access_groups",
    "acl_group",
    "check_mapping",
    "gone",
    "names_of",
    "plan",
    "wanted",
]
