# ruff: noqa: INP001
"""Print what the image installs, as requirements of which ``nox -s lock`` makes the lock files.

``python docker/requirements.py`` prints what the service needs: what the project, its extra
``service`` and its extra ``local`` (the font) depend on, without what the lint contract
forbids ``cloudburst.service``. ``python docker/requirements.py build`` prints what builds the
project's wheel: hatchling, and a C compiler for the pixel kernel, because the base image has none.
``python docker/requirements.py serve`` prints what the standing server needs. All of it is read
from pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9._-]+")
PACKAGE_NAMES = {"dotenv": "python-dotenv"}
"""Packages whose name is not that of the module that they contain."""


def requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return the requirement lines of the service, sorted."""
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    declared = {*project["dependencies"], *extras["service"], *extras["local"]}
    forbidden = {
        PACKAGE_NAMES.get(module, module.replace("_", "-"))
        for contract in pyproject["tool"]["importlinter"]["contracts"]
        if contract["type"] == "forbidden" and contract["source_modules"] == ["cloudburst.service"]
        for module in contract["forbidden_modules"]
    }
    return sorted(line for line in declared if _name(line) not in {*forbidden, project["name"]})


def build_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return the requirement lines of the build of the wheel, sorted."""
    return sorted(
        [*pyproject["build-system"]["requires"], *pyproject["dependency-groups"]["kernel"]]
    )


def server_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return the requirement lines of the standing server, sorted."""
    project = pyproject["project"]
    found, extras = {*project["dependencies"]}, ["serve"]
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{project['name']}\[(\w+)]", line)
            if own:
                extras.append(own[1])
            else:
                found.add(line)
    return sorted(found)


def _name(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return match.group().lower()


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "pyproject.toml"
    listed = {"build": build_requirements, "serve": server_requirements}
    of = listed.get("".join(sys.argv[1:]), requirements)
    sys.stdout.write("\n".join(of(tomllib.loads(path.read_text()))) + "\n")
