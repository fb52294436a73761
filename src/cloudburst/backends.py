"""Where workers run. Each name here returns what `cloudburst.Client` takes as its backend.

What a backend needs is imported when it is opened, in a thread: HTTP and AWS libraries take up
to half a second, which an event loop must not stand still for.
"""

from __future__ import annotations

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
from cloudburst.models.tier import Tier
from cloudburst.ports import Backend, OpenBackend

logger = logging.getLogger(__name__)


def local(
    *, workers: int | None = None, encoders: int | None = None, folder: Path | None = None
) -> OpenBackend:
    """Render on this machine: each worker is a process. Needs the ``[local]`` extra.

    Args:
        workers: Processes at once; ``None``: one for each core, four at most.
        encoders: Scenes that each encodes at once; ``None``: so many that there is about one for
            each core.
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


def default_backend(settings: Settings | None = None, *, workers: int | None = None) -> OpenBackend:
    """This machine; Fargate where a subnet is configured. The choice is logged.

    Args:
        settings: ``None``: those of the environment.
        workers: As for `local`.

    Raises:
        ConfigurationError: A subnet is configured, which this version cannot use.
    """
    if subnets := (settings or Settings()).subnets:
        msg = (
            f"AWS_SUBNET_ID is set ({', '.join(subnets)}), which asks for Fargate, and this "
            "version renders on this machine only: unset it, or say backend=local(), --local on "
            "the command line"
        )
        raise ConfigurationError(msg)
    logger.info("no subnet is configured: rendering on this machine")
    return local(workers=workers)


async def _imported(module: str) -> Any:
    return await anyio.to_thread.run_sync(import_module, module)
