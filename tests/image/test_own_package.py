"""Files of this package in the image, and the bytecode of modules."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import anyio
import pytest

from cloudburst.errors import ImageError
from cloudburst.image import bytecode, own_package
from cloudburst.image.bytecode import Compiler, compile_entries, find_compiler
from cloudburst.image.entries import text_entry
from cloudburst.image.own_package import PACKAGE, installed_files
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


def test_the_files_of_an_installation_are_those_of_its_record(tmp_path, monkeypatch):
    site = tmp_path / "site"
    package, info = site / "cloudburst", site / "cloudburst_sdk-9.dist-info"
    (package / "service").mkdir(parents=True)
    info.mkdir()
    for name in ("__init__.py", "service/app.py", "service/stranger.py"):
        (package / name).touch()
    lines = ["cloudburst/__init__.py,,", "cloudburst/service/app.py,,", "bin/cloudburst,,"]
    (info / "RECORD").write_text("\n".join(lines))
    (info / "METADATA").write_text("Name: cloudburst-sdk\nVersion: 9\n")
    monkeypatch.setattr(own_package, "PACKAGE", package)
    names = [name for name, _ in installed_files()]
    assert "cloudburst/service/stranger.py" in names, "the record is that of another folder"
    monkeypatch.setattr(own_package, "distribution", lambda name: PathDistribution(info))
    assert installed_files() == [
        ("cloudburst/__init__.py", package / "__init__.py"),
        ("cloudburst/service/app.py", package / "service/app.py"),
    ]
    (package / "__init__.py").unlink()
    assert [name for name, _ in installed_files()] == [
        *("cloudburst/service/app.py", "cloudburst/service/stranger.py")
    ]


@pytest.mark.parametrize("line", ["cloudburst/../../../etc/passwd,,", "cloudburst/a\x1bb,,"])
def test_a_record_that_lists_other_files_is_an_error(tmp_path, monkeypatch, line):
    info = tmp_path / "cloudburst_sdk-9.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(f"cloudburst/__init__.py,,\n{line}\n")
    (info / "METADATA").write_text("Name: cloudburst-sdk\nVersion: 9\n")
    monkeypatch.setattr(own_package, "distribution", lambda name: PathDistribution(info))
    with pytest.raises(ImageError, match="outside the package: install cloudburst again"):
        installed_files()


def test_a_pipe_in_place_of_a_file_is_an_error(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(own_package, "needed_files", lambda: [("x.py", tmp_path / "pipe")])
    with pytest.raises(ImageError, match="this installation is not complete"):
        own_package.own_entries("site", [])


def test_an_incomplete_installation_is_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(own_package, "LICENCES", tmp_path / "missing")
    with pytest.raises(ImageError, match="this installation is not complete"):
        own_package.own_entries("site", [])


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
    made = anyio.run(compile_entries, compiler, modules, tmp_path)
    assert [entry.path for entry in made] == [
        *("opt/a/__pycache__/good.cpython-313.pyc", "opt/a/b/__pycache__/latin.cpython-313.pyc")
    ]
    (tmp_path / "good.pyc").write_bytes(made[0].read())
    code = "import good; print(good.f.__code__.co_filename)"
    run = subprocess.run(
        [compiler.python, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "/opt/a/good.py"
    assert [one.read() for one in anyio.run(compile_entries, compiler, modules[::-1], tmp_path)][
        ::-1
    ] == [one.read() for one in made]


@pytest.mark.real
def test_bytecode_does_not_depend_on_the_environment(compiler, monkeypatch, tmp_path):
    module = text_entry("opt/one.py", "def f(x):\n    'Return.'\n    assert x in {'a', 'b'}\n")
    found = set()
    for number in ("0", "1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", number)
        monkeypatch.setenv("PYTHONOPTIMIZE", number)
        (made,) = anyio.run(compile_entries, compiler, [module], tmp_path)
        found.add(made.read())
    assert len(found) == 1
    assert b"Return." in found.pop()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.real
def test_only_an_interpreter_with_the_same_bytecode_is_used(tmp_path, monkeypatch):
    right = f"{bytecode.MAGIC.hex()} 3.13.9 CPython"
    texts = ["exit 3", "echo", f"echo {'00' * 4} 3.12.1 CPython", "echo nonsense", f"echo {right}"]
    pythons = [script(tmp_path / str(number), text) for number, text in enumerate(texts)]
    monkeypatch.setattr(bytecode, "candidates", lambda environ: iter(pythons))
    bytecode.find_compiler.cache_clear()
    assert find_compiler() == Compiler(pythons[-1], "3.13.9")
    pythons.pop()
    bytecode.find_compiler.cache_clear()
    assert find_compiler() is None
    bytecode.find_compiler.cache_clear()


def test_uv_is_asked_for_a_python(tmp_path):
    uv = script(tmp_path / "uv", 'echo "$@" > "$0.called"; echo /found/python')
    found = list(bytecode.candidates({"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    assert found[0] == sys.executable
    assert found[-1] == "/found/python"
    assert "--no-python-downloads 3.13" in Path(f"{uv}.called").read_text()


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo broken >&2; exit 5", r"exit code 5.*broken"),
        ('echo > "$6"', "other bytecode"),
        ('printf "4\\nabcd" > "$6"', "other bytecode"),
        ('printf "900\\nabcd" > "$6"', "other bytecode"),
    ],
)
def test_a_wrong_interpreter_is_an_error_of_ours(tmp_path, text, message):
    wrong = Compiler(script(tmp_path / "python", text), "3.13.0")
    with pytest.raises(ImageError, match=message):
        anyio.run(compile_entries, wrong, [text_entry("a.py", "x = 1\n")], tmp_path)


def test_the_image_has_what_pictures_with_a_colour_profile_need():
    assert not is_unused("PIL/_imagingcms.cpython-313-x86_64-linux-gnu.so")
    assert not is_unused("pillow.libs/liblcms2-cc10e42f.so.2.0.17")
