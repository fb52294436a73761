"""The package does not grow: its figures of ``benchmarks/size.py`` are at most those noted here.

Lower a figure in the change that deletes. Raise one only where a feature was granted the lines.
"""

from __future__ import annotations

import operator
from dataclasses import astuple

import pytest

from support.doc_pages import ROOT

LIMITS = {  # package: modules, lines of code, words of docstrings
    ".": (10, 991, 4084),
    "aws": (55, 7082, 12062),
    "cli": (30, 3731, 6401),
    "client": (7, 1531, 3319),
    "compat": (4, 433, 844),
    "display": (11, 937, 1302),
    "emulator": (54, 5909, 8219),
    "engine": (40, 6373, 10029),
    "film": (14, 1706, 2573),
    "image": (16, 1216, 1830),
    "inputs": (14, 1813, 2818),
    "jobs": (25, 3424, 6688),
    "media": (15, 1495, 2194),
    "models": (35, 3598, 10910),
    "net": (17, 1777, 3016),
    "outputs": (14, 1333, 2306),
    "ports": (5, 217, 1643),
    "renderer": (52, 5513, 9141),
    "serve": (5, 375, 512),
    "service": (20, 2137, 3331),
    "testing": (3, 362, 875),
    "web": (19, 2209, 4073),
    "workers": (26, 2959, 4347),
}
TRACE = {"modules": 94, "functions": 680, "depth": 5}
"""Modules, functions and frames of RunTask for one scene on Fargate.

On a busy machine it takes up to four functions more than on an idle one."""
ON_THIS_MACHINE = {"modules": 80, "functions": 587, "depth": 0}
"""The same for one scene that a process on this machine renders."""


@pytest.fixture
def size(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import size

    return size


def test_a_package_is_no_larger_than_noted(size):
    found = size.sizes()
    assert found.keys() == LIMITS.keys()
    grown = {
        name: (found[name], limit)
        for name, limit in LIMITS.items()
        if any(map(operator.gt, astuple(found[name]), limit))
    }
    assert grown == {}, "delete something, or raise LIMITS by the lines of a new feature"


def test_the_noted_figures_follow_the_package_down(size):
    """Otherwise what was deleted could grow again."""
    found = sum(one.code for one in size.sizes().values())
    assert sum(code for _, code, _ in LIMITS.values()) <= 1.005 * found


@pytest.mark.real
@pytest.mark.parametrize(("on_fargate", "noted"), [(True, TRACE), (False, ON_THIS_MACHINE)])
def test_a_scene_takes_no_longer_way_than_noted(size, on_fargate, noted):
    found = size.trace_scene(on_fargate=on_fargate).figures
    assert {name: n for name, n in found.items() if n > noted[name]} == {}


def test_blank_lines_comments_and_docstrings_are_no_code(size):
    text = '"""One two."""\n\n# three\nLIMIT = 4\n"""Five."""\n\n\ndef six():\n    return "seven"\n'
    assert size.size_of(text) == size.Size(modules=1, code=3, words=3)
