"""Development tasks. Bare ``nox`` runs the tests on the Python that it runs on itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
nox.options.sessions = [f"tests-{HERE}"]

PYPROJECT = nox.project.load_toml()
PYTHONS = sorted({*nox.project.python_versions(PYPROJECT), HERE}, key=lambda v: int(v[2:]))
BENCHES = sorted(path.stem for path in Path("benchmarks").glob("*.py"))

SPREAD = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")
"""Two for each core: many tests wait for processes."""
SEEDED = {
    "tests/engine/test_chaos_lives.py": 500,
    "tests/fargate/test_fargate_chaos.py": 200,
    "tests/fargate/test_fargate_lives.py": 40,
}
"""Tests of everything at once, and how many seeds there shall be; of all others, `SEEDS`."""
SEEDS = 30
EVERYTHING = ".[local,cli,web,testing]"


def group(name: str) -> tuple[str, ...]:
    """The packages of a dependency group."""
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite, against the built wheel."""
    session.install(EVERYTHING, *group("tests"))
    session.run("pytest", *SPREAD, *session.posargs)


@nox.session(python=HERE)
def chaos(session: nox.Session) -> None:
    """Random cuts and kills, with the full number of repetitions."""
    session.install(EVERYTHING, *group("tests"))
    rest = ("-m", "chaos or real", *(f"--ignore={path}" for path in SEEDED))
    session.run("pytest", *rest, *session.posargs, env={"CLOUDBURST_SEEDS": str(SEEDS)})
    for path, seeds in SEEDED.items():
        env = {"CLOUDBURST_SEEDS": str(seeds)}
        session.run("pytest", *SPREAD, path, *session.posargs, env=env)


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The suite with the oldest dependencies that we promise."""
    session.install(EVERYTHING, *group("tests"), "--resolution=lowest-direct")
    session.run("pytest", *SPREAD, *session.posargs)


@nox.session(python=HERE)
def lint(session: nox.Session) -> None:
    """Format, rules and the layers of the imports."""
    session.install("-e", EVERYTHING, *group("lint"))
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports")


@nox.session(python=HERE)
def types(session: nox.Session) -> None:
    """Two strict checkers: they find different faults."""
    session.install("-e", EVERYTHING, *group("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=HERE)
def demo(session: nox.Session) -> None:
    """Render the story in ``examples`` on this machine, into ``cloudburst-demo``."""
    session.install(".[local,cli]")
    session.run("cloudburst", "demo", *session.posargs)


@nox.session(python=HERE)
def bench(session: nox.Session) -> None:
    """A benchmark and its arguments: ``nox -s bench -- render --peer``; without, all of them."""
    session.install(EVERYTHING, *group("tests"))
    name, *arguments = session.posargs or ("",)
    if name and name not in BENCHES:
        session.error(f"{name} is no benchmark; there are {', '.join(BENCHES)}")
    for bench_name in [name] if name else BENCHES:
        session.run("python", f"benchmarks/{bench_name}.py", *arguments)
