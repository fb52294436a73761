"""Tests that need a program which is not installed are left out by its name, at the end too."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from support.needed_programs import count_by_program, find_program, require
from support.project import ROOT


@pytest.mark.real
def test_a_run_without_a_program_names_it_and_the_number_of_tests(tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-m", "registry", "tests/net/registry/test_server.py"],
        env=os.environ | {"PATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = re.findall("(?m)^tests left out: .*$", done.stdout)
    (skipped,) = re.findall(r"(?m)^(\d+) skipped", done.stdout)
    for program in ("docker-registry", "htpasswd", "setpriv"):
        assert f"{skipped} for want of {program}" in line


def test_missing_programs_leave_a_test_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "here"
    program.touch(0o755)
    assert find_program("here") == str(program)
    require("here")
    with pytest.raises(pytest.skip.Exception, match=r"^not installed: gone, away$"):
        require("gone", "here", "away")


def test_tests_are_counted_for_each_program():
    reasons = ["Skipped: not installed: a, b", "Skipped: not installed: b", "Skipped: of Linux"]
    assert count_by_program(reasons) == {"a": 1, "b": 2}
