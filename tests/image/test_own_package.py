"""Files of this package in the image, and the bytecode of modules."""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from cloudburst.errors import ImageError
from cloudburst.image.bytecode import BytecodeCompiler, compile_entries, find_compiler
from cloudburst.image.entries import text_entry
from cloudburst.image.own_package import LICENCES, PACKAGE, needed_files, own_entries
from cloudburst.image.trim import OWN_MODULES, OWN_PACKAGES, is_unused


def module_path(name):
    path = PACKAGE.parent / Path(*name.split("."))
    package = path / "__init__.py"
    return package if package.exists() else path.with_suffix(".py")


def imported(path):
    """Modules of this package that a module imports anywhere; names of them, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_image_has_every_module_that_the_service_and_its_processes_import():
    waiting = [p for name in ("service", "renderer") for p in (PACKAGE / name).rglob("*.py")]
    waiting.append(PACKAGE / "film" / "film_job.py")
    seen = set(waiting)
    while waiting:
        for name in imported(waiting.pop()):
            path = module_path(name or "")
            if (name or "").startswith("cloudburst.") and path.exists() and path not in seen:
                seen.add(path)
                waiting.append(path)
    needed = {path.relative_to(PACKAGE.parent).as_posix() for path in seen}
    assert len(needed) > 100
    assert {name for name in needed if is_unused(name)} == set()
    used = {name.split("/")[1] for name in needed}
    assert used | {"__init__.py"} == {*OWN_PACKAGES, *OWN_MODULES}


def test_the_files_of_the_package_are_those_that_the_service_needs_without_kernels():
    names = [name for name, _ in needed_files()]
    assert names == sorted(names)
    assert {"cloudburst/__init__.py", "cloudburst/renderer/kernel/kernel.c"} <= set(names)
    unwanted = ("/libs/", "__pycache__", "/cli/", "/image/")
    assert not [name for name in names if any(one in name for one in unwanted)]


def test_all_licences_are_in_the_image():
    entries = own_entries("site", [])
    found = {one.path.rpartition("/")[2]: one for one in entries if one.path.startswith("usr/")}
    assert found.keys() == {"LICENSE", *(path.name for path in LICENCES.iterdir())}
    assert b"MIT License" in found["LICENSE"].data


@pytest.fixture
def compiler():
    found = find_compiler()
    if found is None:
        pytest.skip("no Python 3.13 on this machine")
    return found


@pytest.mark.real
def test_bytecode_is_that_of_the_files_place_in_the_image(compiler, tmp_path):
    modules = [
        text_entry("opt/a/good.py", "def f():\n    return __file__\n"),
        text_entry("opt/a/bad.py", "def (\n"),
        text_entry("opt/a/b/null.py", "x = '\0'\n"),
        text_entry("opt/a/b/latin.py", "# coding: latin-1\nx = 1\n"),
    ]
    made = compile_entries(compiler, modules, tmp_path / "one")
    assert [entry.path for entry in made] == [
        *("opt/a/__pycache__/good.cpython-313.pyc", "opt/a/b/__pycache__/latin.cpython-313.pyc")
    ]
    (tmp_path / "good.pyc").write_bytes(made[0].data)
    code = "import good; print(good.f.__code__.co_filename)"
    run = subprocess.run(
        [compiler.python, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "/opt/a/good.py"
    assert compile_entries(compiler, modules[::-1], tmp_path / "two")[::-1] == made


@pytest.mark.real
def test_bytecode_does_not_depend_on_the_environment(compiler, monkeypatch, tmp_path):
    module = text_entry("opt/one.py", "def f(x):\n    'Return.'\n    assert x in {'a', 'b'}\n")
    found = set()
    for number in ("0", "1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", number)
        monkeypatch.setenv("PYTHONOPTIMIZE", number)
        (made,) = compile_entries(compiler, [module], tmp_path / number)
        found.add(made.data)
    assert len(found) == 1
    assert b"Return." in found.pop()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.real
def test_an_interpreter_on_the_path_is_used_if_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.12.1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    python = script(tmp_path / "python3.13", "echo Python 3.13.9")
    find_compiler.cache_clear()
    assert find_compiler() == BytecodeCompiler(python, "3.13.9")
    script(tmp_path / "python3.13", "echo python3.13: command not found >&2; exit 127")
    find_compiler.cache_clear()
    assert find_compiler() is None
    (tmp_path / "python3.13").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    find_compiler.cache_clear()
    assert find_compiler() is None
    monkeypatch.setattr(platform, "python_version", lambda: "3.13.7")
    find_compiler.cache_clear()
    assert find_compiler() == BytecodeCompiler(sys.executable, "3.13.7")
    find_compiler.cache_clear()


@pytest.mark.real
def test_an_interpreter_that_fails_is_an_error_of_ours(tmp_path):
    wrong = BytecodeCompiler(script(tmp_path / "python", "echo broken >&2; exit 5"), "3.13.0")
    with pytest.raises(ImageError, match=r"exit code 5.*broken"):
        compile_entries(wrong, [text_entry("a.py", "x = 1\n")], tmp_path / "modules")


def test_the_image_has_what_pictures_with_a_colour_profile_need():
    assert not is_unused("PIL/_imagingcms.cpython-313-x86_64-linux-gnu.so")
    assert not is_unused("pillow.libs/liblcms2-cc10e42f.so.2.0.17")
