"""Logins for registries that ``docker login`` has saved."""

from __future__ import annotations

import base64
import json
import logging
import os
from pathlib import Path
from typing import Any

from cloudburst.errors import ConfigurationError
from cloudburst.net.registry.http import Credentials
from cloudburst.net.registry.names import DOCKER_HUB

logger = logging.getLogger(__name__)


def docker_login(registry: str) -> Credentials | None:
    """Return the login for a registry from docker's ``config.json``; ``None`` if it has none.

    Credential helpers are not called; a login that one of them has is reported in the log.

    Raises:
        ConfigurationError: The file cannot be read, or the login is not valid.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config: Any = json.loads(path.read_bytes())
        hosts = {_host(name): entry.get("auth") for name, entry in config.get("auths", {}).items()}
        if text := hosts.get(registry):
            user, _, password = base64.b64decode(text).decode().partition(":")
            return Credentials(user, password)
        helper = config.get("credHelpers", {}).get(registry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    if helper or registry in hosts:
        logger.warning(
            "%s: the login for %s is in a credential helper, which is not called", path, registry
        )
    return None


def _host(name: str) -> str:
    """Return the registry of a key in the file: Docker Hub's is ``https://index.docker.io/v1/``."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host == "index.docker.io" else host
