"""The build hook: which libraries are in a wheel, its tag, and builds without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import hatchling  # noqa: F401 - without it the tests fail, and are not skipped
import pytest

from cloudburst.renderer.kernel.targets import SOURCES, TARGETS, local_targets
from support.doc_pages import ROOT
from support.kernel_builds import compilers

needs_target = pytest.mark.skipif(not local_targets(), reason="there is no kernel for this machine")
needs_zig = pytest.mark.skipif("zig" not in compilers(), reason="ziglang is not installed")

PROJECT = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore", "src")


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a copy of what a wheel is built from."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PROJECT:
        origin = ROOT / name
        if origin.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "libs")
            shutil.copytree(origin, folder / name, ignore=ignored)
        else:
            shutil.copy(origin, folder / name)
    return folder


@pytest.fixture
def compiler(tmp_path) -> str:
    """Return the path of a program that takes the place of a compiler, which needs seconds."""
    path = tmp_path / "cc"
    path.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; echo library > "$2"\n')
    path.chmod(0o755)
    return str(path)


def build(project: Path, *arguments: str, **variables: str) -> tuple[str, list[str], str]:
    """Build a distribution, and return its name, the kernel's files in it, and the messages."""
    hidden = ("CC", "CLOUDBURST_KERNEL")
    inherited = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", "dist", *arguments],
        env=inherited | variables,
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = (project / "dist").iterdir()
    with zipfile.ZipFile(path) as wheel:
        names = [Path(name) for name in wheel.namelist()]
    if "wheel:editable" not in arguments:
        assert {source.name for source in SOURCES} < {name.name for name in names}
    return path.name, sorted(name.name for name in names if name.parent.name == "libs"), done.stderr


def names_of(targets) -> list[str]:
    return sorted(target.file_name for target in targets)


@needs_target
def test_a_wheel_contains_the_libraries_of_this_machine(project, compiler):
    name, found, _ = build(project, "-t", "wheel", CC=compiler)
    assert found == names_of(local_targets())
    assert "-py3-none-" in name
    assert not name.endswith("-any.whl")
    assert not (project / "src/cloudburst/renderer/kernel/libs").exists()


@needs_zig
@pytest.mark.nightly  # compiles for many platforms: 10 s or more of CPU time
@pytest.mark.timeout(300)
def test_a_wheel_for_all_platforms(project):
    name, found, _ = build(project, "-t", "wheel", CLOUDBURST_KERNEL="all")
    assert found == names_of(TARGETS)
    assert name.endswith("-py3-none-any.whl")


@pytest.mark.few(1)
@pytest.mark.parametrize("variables", [{"CC": "false"}, {"CLOUDBURST_KERNEL": "none"}])
def test_a_build_without_a_kernel_succeeds(project, variables):
    name, found, messages = build(project, "-t", "wheel", **variables)
    assert found == []
    assert name.endswith("-py3-none-any.whl")
    assert ("the pixel kernel was not compiled" in messages) is ("CC" in variables)


@needs_target
def test_an_editable_installation_finds_its_libraries(project, compiler):
    stale = project / "src/cloudburst/renderer/kernel/libs/kernel-linux-other.so"
    stale.parent.mkdir()
    stale.touch()
    _, found, _ = build(project, "-t", "wheel:editable", CC=compiler)
    assert found == []
    assert sorted(path.name for path in stale.parent.iterdir()) == names_of(local_targets())


def test_requirements_of_a_build(project):
    code = "import hatchling.build; print(*hatchling.build.get_requires_for_build_wheel())"

    def required(**variables: str) -> str:
        env = {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=env, cwd=project, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    (project / "bin").mkdir()
    path = {"PATH": str(project / "bin")}
    assert required(**path).startswith("ziglang") is bool(set(local_targets()) & set(TARGETS))
    assert required(**path, CLOUDBURST_KERNEL="none") == ""
    (project / "bin" / "cc").touch(mode=0o755)
    assert required(**path) == ""
    assert required(**path, CLOUDBURST_KERNEL="all").startswith("ziglang")
