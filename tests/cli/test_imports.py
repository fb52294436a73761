"""The command imports what a run on this machine needs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

NEEDLESS = [
    *("aiobotocore", "botocore", "cryptography", "click", "pygments", "trio"),
    *("cloudburst.aws.client.client", "cloudburst.compat", "cloudburst.image"),
    *("rich.live", "rich.markdown", "rich._emoji_codes"),
]
"""Modules of AWS, of other commands and of terminals, which together take longer to import than a
short scene to render."""
MAX_MODULES = 820
"""More than the modules of the command after a run of one scene, with those of the standard library
(804 in Python 3.14)."""
MAX_MODULES_OF_HELP = 370
CODE = """
import json, sys
from cloudburst.cli import main
code = main()
modules = [name for name, module in sys.modules.items() if module is not None]
print(json.dumps({"code": code, "modules": modules}))
"""


def run_command(*arguments: str) -> list[str]:
    """Return the modules of a process that runs a command."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["code"] == 0, done.stderr
    return answer["modules"]


def test_command_that_renders_a_scene_here_imports_nothing_needless(make_scene, tmp_path):
    scenes = tmp_path / "scenes.json"
    scenes.write_text(json.dumps([make_scene(seconds=0.2)]))
    options = [
        "--backend",
        "local",
        "--to",
        str(tmp_path / "out"),
        "--size",
        "320x240",
        "--no-zoom",
    ]
    modules = run_command("render", str(scenes), *options)
    assert {*NEEDLESS} & {*modules} == set()
    assert len(modules) <= MAX_MODULES


def test_help_of_the_command_imports_no_client():
    modules = run_command("--help")
    assert {"cloudburst.client.client", "cryptography", "httpx", "pydantic_settings"} & {
        *modules
    } == set()
    assert len(modules) <= MAX_MODULES_OF_HELP
