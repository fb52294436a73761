"""The package does not grow: its figures of ``benchmarks/size.py`` are at most those noted here.

Lower a figure in the change that deletes. Raise one only where a feature was granted the lines.
"""

from __future__ import annotations

import operator
from dataclasses import astuple

import pytest

from support.doc_pages import ROOT

LIMITS = {  # package: modules, lines of code, words of docstrings
    ".": (51, 5612, 15419),
    "adapters": (39, 3661, 9079),
    "aws": (86, 9441, 22012),
    "cli": (35, 4211, 7217),
    "compat": (6, 521, 1126),
    "confinement": (4, 171, 735),
    "emulator": (74, 7548, 13864),
    "engine": (57, 6276, 21491),
    "film": (18, 1375, 3270),
    "image": (36, 2704, 5219),
    "jobs": (21, 2149, 5446),
    "journal": (9, 726, 1762),
    "live_check": (7, 811, 1367),
    "models": (59, 4747, 17632),
    "ports": (7, 235, 2303),
    "registry": (22, 2006, 4119),
    "renderer": (59, 4486, 15061),
    "service": (32, 2473, 5167),
    "testing": (3, 371, 888),
    "transfers": (9, 876, 1933),
    "web": (19, 1494, 3318),
    "webhooks": (6, 727, 2300),
}
TRACE = {"modules": 130, "functions": 860, "depth": 5}
"""Modules, functions and frames of RunTask for one scene on Fargate."""


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
    assert grown == {}


@pytest.mark.real
def test_a_scene_takes_no_longer_way_than_noted(size):
    found = size.trace_scene().figures
    assert {name: n for name, n in found.items() if n > TRACE[name]} == {}


def test_blank_lines_comments_and_docstrings_are_no_code(size):
    text = '"""One two."""\n\n# three\nLIMIT = 4\n"""Five."""\n\n\ndef six():\n    return "seven"\n'
    assert size.size_of(text) == size.Size(modules=1, code=3, words=3)
