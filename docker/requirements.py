# ruff: noqa: INP001
"""Print what the image installs: the declared dependencies without those the service may not use.

Both lists are pyproject's own: what the project, its extra ``service`` and its extra ``local``
(ffmpeg and the font) depend on, and what the lint contract forbids ``cloudburst.service``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9._-]+")


def requirements(pyproject: dict[str, Any]) -> list[str]:
    """Requirement lines, sorted."""
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    declared = {*project["dependencies"], *extras["service"], *extras["local"]}
    forbidden = {
        module
        for contract in pyproject["tool"]["importlinter"]["contracts"]
        if contract["type"] == "forbidden" and contract["source_modules"] == ["cloudburst.service"]
        for module in contract["forbidden_modules"]
    }
    return sorted(line for line in declared if _name(line) not in {*forbidden, project["name"]})


def _name(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return match.group().lower()


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "pyproject.toml"
    sys.stdout.write("\n".join(requirements(tomllib.loads(path.read_text()))) + "\n")
