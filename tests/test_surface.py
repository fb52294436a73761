"""What is public: complete, sorted, cheap to import, and able to travel."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import pickle
import subprocess
import sys

import pytest

import cloudburst
from cloudburst import errors


def test_all_is_sorted_and_complete():
    for name in cloudburst.__all__:
        getattr(cloudburst, name)  # imported when it is first used
    public = {
        name
        for name, value in vars(cloudburst).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert cloudburst.__all__ == sorted(public)


def test_what_type_checkers_see_is_what_is_imported():
    """Two lists of the same names: a checker reads the first one and Python the second."""
    imported = {
        alias.name: node.module
        for node in ast.walk(ast.parse(inspect.getsource(cloudburst)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cloudburst.")
        for alias in node.names
    }
    assert sorted(imported) == cloudburst.__all__
    assert imported == cloudburst._MODULES


def fresh(code):
    """What a new interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_star_import_brings_every_name():
    space = {}
    exec("from cloudburst import *", space)
    assert set(cloudburst.__all__) - set(space) == set()


def test_dir_lists_every_name_before_any_is_imported():
    listed = fresh("import cloudburst; print(*dir(cloudburst))")
    assert set(cloudburst.__all__) <= set(listed)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cloudburst' has no attribute 'nonsense'"):
        _ = cloudburst.nonsense


def test_an_error_is_unpickled_where_nothing_was_imported_before():
    raw = pickle.dumps(errors.WorkerStoppedError("gone", task="t", crashed=True))
    code = f"import pickle; e = pickle.loads({raw!r}); print(type(e).__name__, e.task, e.crashed)"
    assert fresh(code) == ["WorkerStoppedError", "t", "True"]


def test_the_package_itself_imports_no_other_module_of_it():
    code = "import sys, cloudburst; print(*(m for m in sys.modules if m.startswith('cloudburst.')))"
    assert fresh(code) == []


def test_everything_public_is_documented():
    for name in cloudburst.__all__:
        value = getattr(cloudburst, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


def test_public_dataclasses_are_keyword_only():
    for value in (getattr(cloudburst, name) for name in cloudburst.__all__):
        if dataclasses.is_dataclass(value):
            kinds = {p.kind for p in inspect.signature(value).parameters.values()}
            assert kinds == {inspect.Parameter.KEYWORD_ONLY}, value


@pytest.mark.parametrize("name", ["cloudburst.aws.setup", "cloudburst.testing"])
def test_what_is_imported_when_it_is_wanted_is_there(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    for public in module.__all__:
        value = getattr(module, public)
        assert not inspect.ismodule(value), public
        assert inspect.getdoc(value), public
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense


@pytest.mark.parametrize(
    "name",
    [
        "cloudburst.blocking",
        "cloudburst.compat",
        "cloudburst.jobs",
        "cloudburst.cli.live_check",
        "cloudburst.web",
    ],
)
def test_what_is_public_beside_the_top_is_there(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    for public in module.__all__:
        assert inspect.getdoc(getattr(module, public)), public


HEAVY = ["aioboto3", "av", "boto3", "botocore", "httpx", "numpy", "PIL", "starlette", "rich"]


LIGHT = [
    "cloudburst",
    "cloudburst.aws.setup",
    "cloudburst.blocking",
    "cloudburst.cli",
    "cloudburst.compat",
    "cloudburst.testing",
]


def test_importing_loads_nothing_heavy():
    code = f"""if True:
        import importlib, sys
        for name in {LIGHT!r}:
            importlib.import_module(name)
            if found := sorted(set({HEAVY!r}) & set(sys.modules)):
                print(name, *found)
    """
    assert fresh(code) == []


def every_error():
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.CloudburstError)
    ]


@pytest.mark.parametrize("cls", every_error())
def test_errors_survive_pickle_and_copy(cls):
    error = cls("boom")
    for fact in set(vars(error)) & {"task", "scene", "field", "holder"}:
        setattr(error, fact, "something")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert twin.args == error.args
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("cls", every_error())
def test_every_error_is_in_the_tree_of_the_docstring(cls):
    assert cls.__name__ in errors.__doc__
