from __future__ import annotations

import pytest

from support.case_selection import chosen


@pytest.mark.parametrize(("few", "expected"), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10)))])
def test_a_plain_run_tries_a_few_cases_evenly_spread(monkeypatch, few, expected):
    monkeypatch.delenv("CLOUDBURST_HOSTILE", raising=False)
    assert chosen(range(10), few) == expected


def test_the_full_run_tries_every_case(monkeypatch):
    monkeypatch.setenv("CLOUDBURST_HOSTILE", "all")
    assert chosen(range(10), 1) == list(range(10))
