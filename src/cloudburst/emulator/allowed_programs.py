"""Programs that the emulator runs in containers; all others are rejected.

A task definition sets the command and the environment variables of a container. In the emulator, a
container is a process with the rights of the current user, so an API call must not be able to
choose the program that the process runs.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudburst.emulator.containers import PROGRAMS
from cloudburst.emulator.errors import client_error

WAIT_COMMAND = ("sleep", "infinity")
"""Command of a container beside the worker if its definition has no command. On AWS the image's own
program would run, but the emulator has no images."""
ENV_PROGRAMS = {"env", "/usr/bin/env"}
"""Names and paths of the program ``env``, which runs the command in its arguments."""
SLEEP_PROGRAMS = {"sleep", "/bin/sleep", "/usr/bin/sleep"}
SECONDS_PATTERN = re.compile(r"\d{1,9}(\.\d{1,9})?|infinity|inf")
PYTHON_PATTERN = re.compile(r"(?:/\S+/)?python(?:3(?:\.\d+)?)?")
SERVICE_CHECK = "cloudburst.service.health"
"""Module that checks the health of the render service; it is run with ``python -m``."""
LOCAL_URL_PATTERN = re.compile(r"http://(?:127\.0\.0\.1|localhost)(?::\d{1,5})?/[\w./-]*")
PYTHON_URL_CHECK_PATTERN = re.compile(
    rf'import urllib\.request as r; r\.urlopen\("({LOCAL_URL_PATTERN.pattern})", timeout=[\d.]+\)'
)
ALLOWED_VARIABLES = {
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
}
"""Environment variables that a container may set although their prefix is forbidden."""
FORBIDDEN_VARIABLES = {
    "BASH_ENV",
    "CLOUDBURST_FOLDER",
    "CLOUDBURST_PARENT_FD",
    "ENV",
    "GCONV_PATH",
    "HOME",
    "PATH",
    "TEMP",
    "TMP",
    "TMPDIR",
}
"""Environment variables that a container must not set: with them, an allowed program could load or
run other code, or write to other folders."""
FORBIDDEN_PREFIXES = ("BASH_FUNC", "DYLD_", "GLIBC_", "LD_", "OPENSSL_", "PYTHON", "XDG_")
"""Prefixes of environment variables that a container must not set, for the same reason as those in
``FORBIDDEN_VARIABLES``. The names in ``ALLOWED_VARIABLES`` are exceptions."""


def check_containers(
    containers: Iterable[Mapping[str, Any]], overrides: Mapping[str, Any], main: str
) -> None:
    """Raise an error if the emulator cannot run a container as its definition requests.

    Args:
        containers: Container definitions of the task.
        overrides: Overrides in the RunTask request.
        main: Name of the container that the emulator replaces with its worker.

    Raises:
        ApiError: a command, health check or environment variable is not allowed.
    """
    changes = {one.get("name"): one for one in overrides.get("containerOverrides") or ()}
    for container in containers:
        name = container["name"]
        change: Mapping[str, Any] = changes.get(name) or {}
        for source in (container, change):
            for entry in source.get("environment") or ():
                _check_variable(name, str(entry["name"]))
        if name != main:
            side_program(container, change)
        elif check := container.get("healthCheck"):
            health_program(check["command"])


def side_program(container: Mapping[str, Any], override: Mapping[str, Any]) -> list[str]:
    """Return the command of a container that runs beside the worker.

    The command is ``sleep SECONDS``; a container that names no command waits until it is stopped.

    Raises:
        ApiError: the container has another command.
    """
    command = override.get("command") or container.get("command") or ()
    words = [*(container.get("entryPoint") or ()), *command]
    if not words:
        return list(WAIT_COMMAND)
    known = words[1:] if words[0] in ENV_PROGRAMS else words
    if len(known) == 2 and known[0] in SLEEP_PROGRAMS and SECONDS_PATTERN.fullmatch(known[1]):
        return ["sleep", known[1]]
    raise client_error(
        f"The emulator does not run {json.dumps(words)} of container {container['name']}: it "
        "starts no program of a caller. A container beside the worker may run sleep SECONDS, or "
        "have no command; then it only waits."
    )


def health_program(command: Sequence[str]) -> list[str]:
    """Return the arguments with which ``programs/health_check.py`` runs a container's health check.

    The emulator can run the checks that ``cloudburst init`` writes, and checks that request a URL
    of the container with ``curl`` or ``wget``.

    Raises:
        ApiError: the check is another command.
    """
    kind, *words = command
    text = shlex.join(words) if kind == "CMD" else " ".join(words)
    checks = [_parse_check(part) for part in text.split("||")]
    if kind not in {"CMD", "CMD-SHELL"} or None in checks:
        raise client_error(
            f"The emulator does not run the health check {json.dumps(list(command))}: it starts no "
            f"program of a caller. It runs python -m {SERVICE_CHECK}, and curl and wget for a URL "
            "of the container."
        )
    return [word for check in checks if check for word in check]


def health_command(checks: Sequence[str], address: str, port: int) -> list[str]:
    """Return the command that runs a container's health check against the address of its worker.

    Args:
        checks: Arguments from `health_program`.
        address: IP address at which the worker listens.
        port: TCP port on which the worker listens.
    """
    return [sys.executable, str(PROGRAMS / "health_check.py"), address, str(port), *checks]


def _parse_check(text: str) -> list[str] | None:  # noqa: PLR0911 - one for each command
    """Return the arguments of ``health_check.py`` for a command; ``None`` if it is not allowed."""
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    match words:
        case ["true"] | ["exit", "0"]:
            return ["true"]
        case ["false"] | ["exit", "1"]:
            return ["false"]
        case [python, *_, "-m", module] if (
            PYTHON_PATTERN.fullmatch(python) and module == SERVICE_CHECK
        ):
            return ["service"]
        case [python, "-c", code] if PYTHON_PATTERN.fullmatch(python):
            asked = PYTHON_URL_CHECK_PATTERN.fullmatch(code)
            return [asked[1]] if asked else None
        case ["curl" | "wget", *_, url] if LOCAL_URL_PATTERN.fullmatch(url):
            return [url]
        case _:
            return None


def _check_variable(container: str, name: str) -> None:
    decisive = name in FORBIDDEN_VARIABLES or name.startswith(FORBIDDEN_PREFIXES)
    if decisive and name not in ALLOWED_VARIABLES:
        raise client_error(
            f"The emulator does not pass {name} to container {container}: a process on this "
            "machine would load or run another program by it."
        )
