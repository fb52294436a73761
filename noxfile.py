"""Sessions for development. ``nox`` without arguments runs the tests with its own Python."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

# Tests start hundreds of Python processes, which would all compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
nox.options.sessions = [f"tests-{HERE}"]

PYPROJECT = nox.project.load_toml()
PYTHONS = sorted({*nox.project.python_versions(PYPROJECT), HERE}, key=lambda v: int(v[2:]))
BENCHES = sorted(path.stem for path in Path("benchmarks").glob("*.py"))

SPREAD = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")
"""Arguments of pytest: two processes for each core, because many tests wait for processes."""
EVERYTHING = ".[serve,image,testing]"

TEMPLATE = "src/cloudburst/aws/setup/template.yaml"
TEMPLATE_REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-1", "cn-north-1", "us-gov-west-1")
"""Regions of every partition with Fargate, for which cfn-lint has schemas of the resources."""

WHEEL_BYTES = 1_600_000
"""Maximum size of the wheel of a release, with the kernel for all platforms."""
IMAGE_PYTHON = "3.13"
"""Python version of the Dockerfile."""
LOCKS = {
    "src/cloudburst/image/requirements.lock": ((), ("--python-platform", "x86_64-manylinux_2_28")),
    "docker/build.lock": (("build",), ("--universal",)),
    "docker/serve.lock": (("serve",), ("--python-platform", "x86_64-manylinux_2_28")),
}
"""Lock files of the image, the arguments with which docker/requirements.py lists them, and those of
uv. The image is for Linux only, so its list has no conditions. It has the hashes of all files."""


def group(name: str) -> tuple[str, ...]:
    """Return the packages of a dependency group."""
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the suite, without the tests of other sessions, against the built wheel."""
    session.install(EVERYTHING, *group("tests"))
    session.run("pytest", *SPREAD, *session.posargs)


@nox.session(python=False)
def emulator(session: nox.Session) -> None:
    """Run the tests of the emulator of AWS itself."""
    session.notify(f"tests-{HERE}", ("tests/emulator", *session.posargs))


@nox.session(python=False)
def registry(session: nox.Session) -> None:
    """Run the tests that need the programs docker-registry, htpasswd, skopeo and bwrap."""
    session.notify(f"tests-{HERE}", ("-m", "registry", *session.posargs))


@nox.session(python=False)
def whole_image(session: nox.Session) -> None:
    """Build the container image on Debian's packages and render in it; needs mmdebstrap as well."""
    session.notify(f"tests-{HERE}", ("-m", "whole_image", *session.posargs))


@nox.session(python=False)
def nightly(session: nox.Session) -> None:
    """Run what ``tests`` leaves to the nights, for an hour; needs what ``registry`` needs."""
    session.notify(f"tests-{HERE}", ("-m", "nightly", *session.posargs))


@nox.session(python=False)
def chaos(session: nox.Session) -> None:
    """Run the part of ``nightly`` that has faults at random."""
    session.notify(f"tests-{HERE}", ("-m", "nightly and chaos", *session.posargs))


@nox.session(python=False)
def hostile(session: nox.Session) -> None:
    """Run the part of ``nightly`` that has hostile workers, files and answers."""
    session.notify(f"tests-{HERE}", ("-m", "nightly", "tests/hostile", *session.posargs))


@nox.session(python=HERE)
def browser(session: nox.Session) -> None:
    """Use videos, the page of ``serve`` and reports in Chromium, a program that this needs."""
    session.install(EVERYTHING, *group("tests"), *group("browser"))
    folder = "tests/end_to_end/browser"
    files = [f"{folder}/{name}.py" for name in ("playback", "page", "report")]
    session.run("pytest", "-s", *files, *session.posargs)


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the suite with the oldest supported dependencies."""
    session.install(EVERYTHING, *group("tests"), "--resolution=lowest-direct")
    session.run("pytest", *SPREAD, *session.posargs)


@nox.session(python=HERE)
def lint(session: nox.Session) -> None:
    """Check format, rules, imports and the CloudFormation template."""
    session.install("-e", EVERYTHING, *group("lint"))
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports")
    session.run("cfn-lint", TEMPLATE, "--regions", *TEMPLATE_REGIONS)


@nox.session(python=HERE)
def workflows(session: nox.Session) -> None:
    """Check the workflows of GitHub. The installation downloads the checker from GitHub."""
    session.install(*group("workflows"))
    session.run("actionlint", "-color")


@nox.session(python=HERE)
def types(session: nox.Session) -> None:
    """Check types with two strict checkers, which find different errors."""
    session.install("-e", EVERYTHING, *group("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=HERE)
def docs(session: nox.Session) -> None:
    """Build the documentation's site into ``site``, and check its links."""
    session.install("-e", EVERYTHING, *group("docs"))
    session.run("python", "docs/make_site.py", "--strict", *session.posargs)


@nox.session(python=False)
def lock(session: nox.Session) -> None:
    """Pin the packages of the image with hashes; ``-- --upgrade`` selects newer versions."""
    for lock_file, (arguments, platforms) in LOCKS.items():
        listed = session.run("python", "docker/requirements.py", *arguments, silent=True)
        wanted = Path(session.create_tmp(), f"{Path(lock_file).stem}.in")
        wanted.write_text(str(listed))
        session.run(
            *("uv", "pip", "compile", str(wanted), "--output-file", lock_file),
            *("--generate-hashes", *platforms, "--python-version", IMAGE_PYTHON),
            *("--only-binary", ":all:", "--no-annotate", "--quiet", *session.posargs),
            env={"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"},
            external=True,
        )


@nox.session(python=IMAGE_PYTHON, venv_backend="uv")
def sbom(session: nox.Session) -> None:
    """Write the image's bill of materials (CycloneDX 1.6, JSON), validated, to ``sbom.json``."""
    session.install("--require-hashes", "-r", "src/cloudburst/image/requirements.lock")
    session.install("--no-deps", ".")
    tools = Path(session.create_tmp(), "tools")
    session.run("uv", "venv", "--quiet", "--allow-existing", str(tools), external=True)
    python = str(tools / "bin" / "python")
    session.run(
        *("uv", "pip", "install", "--quiet", "--python", python, *group("sbom")), external=True
    )
    session.run(
        *(python, "docker/sbom.py", f"{session.virtualenv.location}/bin/python", "sbom.json"),
        external=True,
    )


@nox.session(python=IMAGE_PYTHON, venv_backend="uv")
def release(session: nox.Session) -> None:
    """Build wheel and sdist into ``dist``, and check them; ``-- --try`` permits the placeholder."""
    placeholders = [
        key for key, value in PYPROJECT["tool"]["cloudburst"].items() if "OWNER" in value
    ]
    if placeholders and "--try" not in session.posargs:
        session.error(f"fill in {', '.join(placeholders)} of tool.cloudburst in pyproject.toml")
    session.install(*group("release"))
    shutil.rmtree("dist", ignore_errors=True)
    # One wheel with the kernel for all platforms, which zig compiles.
    session.run("uv", "build", env={"CLOUDBURST_KERNEL": "all"}, external=True)
    files = sorted(map(str, Path("dist").glob("cloudburst_sdk-*")))
    session.run("twine", "check", "--strict", *files)
    size = Path(files[0]).stat().st_size
    session.log(f"{files[0]}: {size:,} bytes")
    if size > WHEEL_BYTES:
        session.error(f"expected at most {WHEEL_BYTES:,} bytes")


@nox.session(python=HERE)
def demo(session: nox.Session) -> None:
    """Render the demo on this machine, into ``cloudburst-demo``."""
    session.install(".[local,cli]")
    session.run("cloudburst", "demo", *session.posargs)


@nox.session(python=HERE)
def bench(session: nox.Session) -> None:
    """Run a benchmark with its arguments, ``nox -s bench -- render --peer``, or all benchmarks."""
    session.install(EVERYTHING, *group("tests"), *group("bench"))
    name, *arguments = session.posargs or ("",)
    if name and name not in BENCHES:
        session.error(f"{name} is not a benchmark; choose from {', '.join(BENCHES)}")
    for bench_name in [name] if name else BENCHES:
        session.run("python", f"benchmarks/{bench_name}.py", *arguments)
