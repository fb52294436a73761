"""The package does not grow: its figures of ``benchmarks/size.py`` are at most those noted here.

Lower a figure in the change that deletes. Raise one only where a feature was granted the lines.
"""

from __future__ import annotations

import operator
from dataclasses import astuple

import pytest

from support.doc_pages import ROOT

LIMITS = {  # package: modules, lines of code, words of docstrings
    ".": (11, 1019, 4169),
    "aws": (55, 7097, 12077),
    "cli": (29, 3776, 6439),
    "client": (7, 1553, 3349),
    "compat": (4, 429, 844),
    "display": (11, 974, 1364),
    "emulator": (54, 5909, 8219),
    "engine": (40, 6415, 10098),
    "film": (14, 1710, 2564),
    "image": (16, 1216, 1830),
    "inputs": (14, 1860, 2917),
    "jobs": (25, 3416, 6688),
    "media": (15, 1655, 2531),
    "models": (35, 3697, 11119),
    "net": (17, 1777, 3016),
    "outputs": (14, 1333, 2306),
    "ports": (5, 217, 1643),
    "renderer": (53, 5735, 9481),
    "serve": (5, 382, 517),
    "service": (20, 2137, 3331),
    "testing": (3, 362, 875),
    "web": (19, 2209, 4083),
    "workers": (26, 2959, 4347),
}
TRACE = {"modules": 97, "functions": 689, "depth": 5}
"""Modules, functions and frames of RunTask for one scene on Fargate.

On a busy machine it takes up to four functions more than on an idle one."""
ON_THIS_MACHINE = {"modules": 83, "functions": 588, "depth": 0}
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
