"""What is missing on a system or in an installation is said in one line."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

HIDE = "import filelock, sys; sys.modules |= dict.fromkeys({names!r}); "
MAIN = "from cloudburst.cli import main; sys.exit(main({words!r}))"


def run(code, names):
    command = [sys.executable, "-c", HIDE.format(names=names) + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.few(1)
@pytest.mark.parametrize("words", [["demo"], ["frame", "scenes.json"], ["emulate"]])
def test_a_system_without_the_modules_of_unix_is_named(tmp_path, monkeypatch, make_scene, words):
    make_scene("scenes")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes.json").write_text(
        '[{"name": "a", "image": "scenes.png", "audio": "scenes.wav"}]'
    )
    done = run(MAIN.format(words=words), ["fcntl", "resource"])
    assert done.returncode in {1, 2}
    assert "needs Linux or macOS" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not list(tmp_path.glob("**/*.post-mortem*"))


def test_the_client_needs_no_modules_of_unix():
    done = run("import cloudburst; cloudburst.Client()", ["fcntl", "resource"])
    assert done.returncode == 0, done.stderr


@pytest.mark.few(1)
@pytest.mark.parametrize("module", ["starlette", "python_multipart"])
def test_web_without_its_extra_names_the_command(monkeypatch, module):
    for name in list(sys.modules):
        if f"{name}.".startswith(("cloudburst.web.", f"{module}.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    expected = f"cloudburst.web needs {module}: pip install 'cloudburst-sdk[web]'"
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(expected)}$"):
        importlib.import_module("cloudburst.web")
