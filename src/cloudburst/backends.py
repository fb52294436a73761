"""Where workers run. Each name here returns what `cloudburst.Client` takes as its backend.

What a backend needs is imported when it is opened, in a thread: HTTP and AWS libraries take up
to half a second, which an event loop must not stand still for.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio.to_thread

from cloudburst.errors import ConfigurationError
from cloudburst.models.policy import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.ports import Backend, OpenBackend

logger = logging.getLogger(__name__)

LOCAL = ("cv2", "numpy", "starlette", "uvicorn")
"""What ``[local]`` installs and a worker on this machine cannot start without."""


def local(
    *, workers: int | None = None, encoders: int | None = None, folder: Path | None = None
) -> OpenBackend:
    """Render on this machine: each worker is a process. Needs the ``[local]`` extra.

    Args:
        workers: Processes at once; ``None``: four at most, and no more than there are cores.
        encoders: Scenes that each encodes at once; ``None``: so many that there is one for each
            core, or up to three more.
        folder: Where workers put files and logs, in a folder that goes again when the backend is
            closed; ``None`` is the system's place for temporary ones. The log of a worker that
            failed stays.

    Raises:
        ConfigurationError: A count is below one.
    """
    if (workers is not None and workers < 1) or (encoders is not None and encoders < 1):
        msg = f"workers={workers} and encoders={encoders}: at least 1, or None"
        raise ConfigurationError(msg)

    @asynccontextmanager
    async def opened(timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        processes = await _imported("cloudburst.adapters.local.processes")
        async with processes.open_processes(
            workers=workers, encoders=encoders, folder=folder, timeouts=timeouts
        ) as backend:
            yield backend

    return opened


def fargate(settings: Settings | None = None, *, session: Any = None) -> OpenBackend:
    """Render on AWS ECS Fargate: each worker is a task, which is stopped on every way out.

    Args:
        settings: Where and as whom; ``None``: those of the environment.
        session: An ``aioboto3.Session`` in place of the credentials of the settings.

    Raises:
        ConfigurationError: No subnet is configured, or a setting contradicts another one.
    """
    settings = settings or Settings()
    if not settings.subnets:
        msg = "AWS_SUBNET_ID is not set: Fargate tasks need a subnet; `cloudburst init` finds one"
        raise ConfigurationError(msg)

    @asynccontextmanager
    async def opened(timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:
        module = await _imported("cloudburst.adapters.aws.fargate")
        async with module.open_fargate(settings, timeouts, tier, session=session) as backend:
            yield backend

    return opened


def burst(
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    folder: Path | None = None,
    session: Any = None,
) -> tuple[OpenBackend, ...]:
    """Render on this machine at once, and on Fargate as well where that pays.

    What `cloudburst.Client` takes as its backend: both places work on one queue. Workers of this
    machine cost nothing, and ``Limits.workers`` tasks may run beside them.

    Args:
        settings: As for `fargate`.
        workers: As for `local`, like the next one.
        folder: The same.
        session: As for `fargate`.

    Raises:
        ConfigurationError: What those two raise.
    """
    return local(workers=workers, folder=folder), fargate(settings, session=session)


def endpoints(
    *addresses: str,
    key: str | None = None,
    protocol: Protocol | str = Protocol.ONESTEP,
    encoders: int = 1,
) -> OpenBackend:
    """Render in containers that already run somewhere: nothing is started, nothing stopped.

    Args:
        addresses: Their base URLs: ``http://host:5000``.
        key: What they want in ``X-Authentication-Key``; ``None``: ``VIDEO_API_AUTH_KEY``.
        protocol: What they speak. The public image speaks onestep, ours both.
        encoders: Scenes that each encodes at once.

    Raises:
        ConfigurationError: An address is no base URL, there is none, or the protocol is unknown.
    """
    secret = Settings().auth_key
    key = key or (secret.get_secret_value() if secret else "")
    if not addresses or encoders < 1:
        raise ConfigurationError("endpoints() wants an address at least, and encoders >= 1")
    if protocol not in set(Protocol):
        raise ConfigurationError(f"protocol={protocol!r}: expected {' or '.join(Protocol)}")

    @asynccontextmanager
    async def opened(timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        static = await _imported("cloudburst.adapters.static.endpoints")
        async with static.open_endpoints(
            addresses,
            key=key,
            protocol=Protocol(protocol),
            encoders=encoders,
            timeouts=timeouts,
        ) as backend:
            yield backend

    return opened


def default_backend(settings: Settings | None = None, *, workers: int | None = None) -> OpenBackend:
    """Fargate where a subnet is configured, else this machine. The choice is logged.

    Args:
        settings: ``None``: those of the environment.
        workers: As for `local`.
    """
    settings = settings or Settings()
    if settings.subnets:
        logger.info("subnet %s is configured: rendering on Fargate", ", ".join(settings.subnets))
        return fargate(settings)
    logger.info("no subnet is configured: rendering on this machine")
    return local(workers=workers)


def renders_here() -> bool:
    """Whether what the ``[local]`` extra installs is there."""
    return all(importlib.util.find_spec(name) for name in LOCAL)


async def _imported(module: str) -> Any:
    return await anyio.to_thread.run_sync(import_module, module)
