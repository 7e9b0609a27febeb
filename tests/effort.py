"""How much is tried of what has no end: little by ``make test``, and much by ``make fuzz``."""

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


def one_in(few: int) -> int:
    """Return which part of a list of cases is tried in this run.

    :param few: ``make test`` tries every so many-th case, and ``make fuzz`` all of them.
    """
    return 1 if settings.get_current_profile_name() == LONG else few
