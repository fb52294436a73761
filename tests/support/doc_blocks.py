"""Running of the code on the documentation pages, as a reader would who copies each block."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.doc_pages import FENCE, text_of
from support.needed_programs import require

NOT_CODE = {"text", ""}
PARSERS: dict[str, Callable[[str], object]] = {
    "ini": lambda code: configparser.ConfigParser(interpolation=None).read_string(code),
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}


def run_page(
    page: str,
    space: dict[str, Any] | None = None,
    *,
    instead: Mapping[str, Callable[[str], object] | str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Run every block of code of a page, in order; return the outputs of those for a shell.

    Args:
        page: Path of the page below the project.
        space: Names for the Python code; all blocks share them.
        instead: What happens in place of the one block that contains a text: a function is called
            with the code, and a text is the reason why the block cannot run in tests.
        environment: Variables of the shell in addition to those of this process.
    """
    space = {} if space is None else space
    left = dict(instead or {})
    outputs = list[str]()
    for match in FENCE.finditer(text_of(page)):
        language, code = match.groups()
        if language in NOT_CODE:
            continue
        found = [text for text in left if text in code]
        assert len(found) < 2, f"{page}: {found} are in one block"
        if found:
            answer = left.pop(found[0])
            if callable(answer):
                answer(code)
            continue
        line = text_of(page)[: match.start()].count("\n") + 1
        if language == "python":
            # The numbers of lines in a traceback are those of the page.
            space["__name__"] = "__main__" if "asyncio.run(" in code else "page"
            exec(compile("\n" * line + code, page, "exec"), space)
        elif language in {"sh", "console"}:
            outputs.append(in_shell(code, environment or {}, f"{page}:{line}"))
        else:
            PARSERS[language](code)
    assert not left, f"{page}: no block contains {list(left)}"
    return outputs


def in_shell(code: str, environment: Mapping[str, str], place: str) -> str:
    """Run code in bash with the commands of this Python first on the path; return its output."""
    if re.search(r"(?m)^\$ ", code):
        code = "\n".join(re.findall(r"(?m)^\$ (.*)", code))
    require("bash")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=os.environ | {"PATH": path} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{place}: {done.stdout}{done.stderr}"
    return done.stdout
