"""How many examples a property is tried with: few by ``make test``, and many by ``make fuzz``."""

from __future__ import annotations

from hypothesis import settings

LONG = "long"
"""The hypothesis profile of ``make fuzz``: ``--hypothesis-profile long``."""

TIMES = 20

settings.register_profile(LONG, deadline=None)


def examples(few: int) -> int:
    """Return the number of examples in this run.

    :param few: The number that ``make test`` takes.
    """
    return few * TIMES if settings.get_current_profile_name() == LONG else few
