"""Errors come back from a journal as they were written: class, message, facts and remedy."""

from __future__ import annotations

import inspect
from decimal import Decimal
from pathlib import Path
from typing import get_type_hints

import pytest

from cloudburst import errors
from cloudburst.errors import CloudburstError, Remedy, SceneFault, WorkerStoppedError
from cloudburst.models.journal_entries import ErrorEntry
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import inline, task

pytestmark = pytest.mark.anyio

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CloudburstError)
]
FACTS = {
    "faults": (SceneFault("a", "image", "a poem", "a picture"), SceneFault("", "b", "", "\udcff")),
    "paths": (Path("/out/第 1 幕.mp4"), Path("/out/\udcff.mp4")),
    "path": Path("/out/.cloudburst/r1.sqlite"),
    "tasks": ("t1", "t2"),
}
"""Facts whose type is a collection or a path, by the name of their keyword."""
SIMPLE_FACTS = {bool: True, int: 3, float: 1.5, Decimal: Decimal("0.0123")}
"""Facts by their type; others are strings."""


def fact(name, hint):
    return SIMPLE_FACTS[hint] if hint in SIMPLE_FACTS else FACTS.get(name, f"a {name}")


def made(kind):
    parameters = inspect.signature(kind.__init__).parameters.values()
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    hints = get_type_hints(kind.__init__) if names else {}
    facts = {name: fact(name, hints[name]) for name in names}
    return kind("what happened: 𝄞 \udcff", **facts)


async def restored(*errors, folder):
    entries = [task(f"t{n}", error=ErrorEntry.of(error)) for n, error in enumerate(errors)]
    async with open_journal(folder, "r1", call=inline) as journal:
        await journal.write(*entries)
        state = await journal.read()
    return [state.tasks[entry.task].error.restore() for entry in entries]


def facts(error):
    return type(error), str(error), error.args, vars(error), error.remedy, error.retryable


@pytest.mark.parametrize("remedy", [None, Remedy.FIX_SETUP, Remedy.REPEAT_REQUEST])
async def test_every_error_comes_back_equal(tmp_path, remedy):
    errors = [made(kind) for kind in KINDS]
    for error in errors:
        if remedy is not None and remedy is not type(error).remedy:
            error.remedy = remedy
    back = await restored(*errors, folder=tmp_path)
    assert [facts(error) for error in back] == [facts(error) for error in errors]


async def test_an_error_without_facts_comes_back_equal(tmp_path):
    error = WorkerStoppedError("lost")
    (back,) = await restored(error, folder=tmp_path)
    assert facts(back) == facts(error)


async def test_an_error_of_a_private_class_comes_back_as_its_public_one(tmp_path):
    class PrivateError(WorkerStoppedError):
        pass

    private = PrivateError("lost", task="t1", crashed=True)
    (error,) = await restored(private, folder=tmp_path)
    assert facts(error) == facts(WorkerStoppedError("lost", task="t1", crashed=True))


@pytest.mark.parametrize(
    "entry",
    [
        ErrorEntry(kind="NewError", message="of a newer version", remedy="again"),
        ErrorEntry(kind="Remedy", message="of a newer version", remedy=Remedy.FIX_SETUP.value),
        ErrorEntry(kind="WorkerError", message="of a newer version", remedy="a new remedy"),
        ErrorEntry(
            kind="WorkerError",
            message="of a newer version",
            remedy=Remedy.FIX_SETUP.value,
            facts={"task": 7},
        ),
    ],
)
def test_what_is_not_known_is_an_error_all_the_same(entry):
    error = entry.restore()
    assert type(error) is CloudburstError
    assert str(error) == f"{entry.kind}: of a newer version"
