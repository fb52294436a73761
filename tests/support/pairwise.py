"""Covering arrays: few cases in which any two values of different parameters occur together."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

Case: TypeAlias = dict[str, str]
"""Value of each parameter, by name; a parameter that has no effect in the case is missing."""
Pair: TypeAlias = frozenset[tuple[str, str]]
"""Two parameters with their values."""

_CANDIDATES = 12
"""Number of cases that are tried for each case that is chosen."""


class Parameter(NamedTuple):
    """Parameter of a case, and the cases in which it has an effect."""

    values: Sequence[str]
    needs: Mapping[str, Sequence[str]] = {}
    """Values that earlier parameters must have, by name; otherwise this one has no effect."""

    def applies(self, case: Case) -> bool:
        """Return whether the parameter has an effect in a case."""
        return all(case.get(name) in values for name, values in self.needs.items())


def pairs_of(case: Case) -> set[Pair]:
    """Return all pairs that occur in a case."""
    return set(map(frozenset, combinations(case.items(), 2)))


def possible_pairs(parameters: Mapping[str, Parameter]) -> set[Pair]:
    """Return all pairs that can occur in a case."""
    wanted: set[Pair] = set()
    for one, other in combinations(parameters, 2):
        for value in parameters[one].values:
            for second in parameters[other].values:
                needs = _needs(parameters, {one: value, other: second})
                if needs is not None:
                    wanted.add(frozenset({(one, value), (other, second)}))
    return wanted


def _needs(parameters: Mapping[str, Parameter], fixed: Case) -> dict[str, set[str]] | None:
    """Return the values that parameters may have if some are fixed; ``None`` if that is impossible.

    The fixed parameters, and those that they need, must have an effect.
    """
    allowed = {name: {value} for name, value in fixed.items()}
    for name in reversed(parameters):  # a parameter needs earlier ones only
        if name in allowed:
            for needed, values in parameters[name].needs.items():
                allowed[needed] = allowed.get(needed, set(parameters[needed].values)) & set(values)
                if not allowed[needed]:
                    return None
    return allowed


def covering_cases(parameters: Mapping[str, Parameter], seed: int = 1) -> list[Case]:
    """Return cases in which all possible pairs occur; the same ones for the same arguments.

    Each case begins with a pair that is missing so far. Every other parameter then gets the value
    with the most missing pairs, in random order.
    """
    rng = random.Random(seed)
    missing = possible_pairs(parameters)
    cases: list[Case] = []
    while missing:
        first = min(missing, key=sorted)
        tried = [_case(parameters, first, missing, rng) for _ in range(_CANDIDATES)]
        best = max(tried, key=lambda case: len(pairs_of(case) & missing))
        assert first <= set(best.items())
        missing -= pairs_of(best)
        cases.append(best)
    return cases


def _case(
    parameters: Mapping[str, Parameter], first: Pair, missing: set[Pair], rng: random.Random
) -> Case:
    allowed = _needs(parameters, dict(first)) or {}
    chosen: Case = dict(first)
    names = list(parameters)
    # The values of the parameters that others need decide what else can occur.
    order = sorted(names, key=lambda name: (depth(parameters, name), rng.random()))
    for name in order:
        parameter = parameters[name]
        if name in chosen or not parameter.applies(chosen):
            continue
        values = [value for value in parameter.values if value in allowed.get(name, {value})]
        rng.shuffle(values)
        chosen[name] = max(values, key=lambda value: _gain((name, value), chosen, missing))
    return {name: chosen[name] for name in names if name in chosen}


def depth(parameters: Mapping[str, Parameter], name: str) -> int:
    """Return the length of the longest chain of parameters that a parameter needs."""
    return max((1 + depth(parameters, needed) for needed in parameters[name].needs), default=0)


def _gain(one: tuple[str, str], chosen: Case, missing: set[Pair]) -> int:
    return sum(frozenset({one, other}) in missing for other in chosen.items())
