"""Programs besides Python that tests need: where they are, and what is left out without them.

The mark ``needs("curl", "jq")`` leaves a test out where one of them is not installed; `require`
does so within a test or a fixture. The end of a test run names the programs that it lacked.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable

import pytest

REASON = "not installed: "
PROGRAMS_OF_FIXTURES = {"registry_server": ("docker-registry", "htpasswd", "setpriv")}
"""Programs that a test needs for a fixture."""


def find_program(name: str) -> str | None:
    """Return the path of a program, also of one for administrators."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def require(*programs: str) -> None:
    """Leave the test out where one of these programs is not installed."""
    if missing := [name for name in programs if find_program(name) is None]:
        pytest.skip(f"{REASON}{', '.join(missing)}")


def count_by_program(reasons: Iterable[str]) -> Counter[str]:
    """Return how many tests were left out for want of each program, by the reasons of skips."""
    lists = (reason.partition(REASON)[2] for reason in reasons)
    return Counter(name for text in lists if text for name in text.split(", "))
