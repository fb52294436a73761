"""Functions that create the backends on which a `cloudburst.Client` runs its workers.

The modules of a backend are imported in a thread when the backend is opened, because importing HTTP
and AWS libraries would block the event loop for up to half a second.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio.to_thread

from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import Backend, OpenBackend
from cloudburst.workers.local import MODULES, missing_requirements

logger = logging.getLogger(__name__)

SPOT = "FARGATE_SPOT"
"""Capacity provider of tasks that are cheaper and may be interrupted."""
_FARGATE_FIELDS = ("cluster", "task_definition", "security_groups")
"""Fields of `Settings` that only the Fargate backend uses."""
_CREDENTIALS = ("access_key_id", "secret_access_key", "session_token", "profile", "role_arn")


def local(
    *, workers: int | None = None, encoders: int | None = None, folder: Path | None = None
) -> OpenBackend:
    """Return a backend whose workers are processes on this machine.

    The ``[local]`` extra must be installed.

    Args:
        workers: Maximum number of processes at once; ``None``: one or, if ``encoders`` is given,
            the number of cores divided by ``encoders``, but at most four. Only the encoder slots of
            one process share the encoding of a long scene.
        encoders: Encoder slots of each process; ``None``: the number of cores divided by the number
            of processes, rounded up.
        folder: Parent of the temporary folder with files and logs of the workers, which is removed
            when the backend is closed; ``None``: the system's temporary folder. Logs of failed
            workers are kept.

    Raises:
        ConfigurationError: ``workers`` or ``encoders`` is below 1.
    """
    if (workers is not None and workers < 1) or (encoders is not None and encoders < 1):
        msg = f"workers={workers} and encoders={encoders}; expected at least 1, or None"
        raise ConfigurationError(msg)

    return OpenLocal(workers, encoders, folder)


@dataclass(frozen=True, slots=True)
class OpenLocal:
    """Backend that `local` returns."""

    workers: int | None = None
    encoders: int | None = None
    folder: Path | None = None

    @asynccontextmanager
    async def __call__(self, timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        """Open the backend."""
        processes = await _imported("cloudburst.workers.local.backend")
        async with processes.open_local_backend(
            workers=self.workers, encoders=self.encoders, folder=self.folder, timeouts=timeouts
        ) as backend:
            yield backend


def fargate(settings: Settings | None = None, *, session: Any = None) -> OpenBackend:
    """Return a backend whose workers are tasks on AWS ECS Fargate.

    Every task is stopped: after success, after an error and after a cancellation.

    Args:
        settings: Settings of the AWS account; ``None``: `Settings` of the environment and ``.env``.
        session: An ``aioboto3.Session`` to use instead of the credentials in the settings.

    Raises:
        ConfigurationError: No subnet is configured, or a setting contradicts another one.
    """
    settings = settings or Settings()
    if not settings.subnets:
        msg = "AWS_SUBNET_ID is not set: Fargate tasks need a subnet; `cloudburst init` finds one"
        raise ConfigurationError(msg)
    return OpenFargate(settings, session)


@dataclass(frozen=True, slots=True)
class OpenFargate:
    """Backend that `fargate` returns; here, its settings may have no subnet."""

    settings: Settings
    session: Any = None

    @asynccontextmanager
    async def __call__(self, timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:
        """Open the backend."""
        module = await _imported("cloudburst.aws.fargate.backend")
        async with module.open_fargate(
            self.settings, timeouts, tier, session=self.session
        ) as backend:
            yield backend


def on_spot(backend: OpenBackend, *, spot: bool) -> OpenBackend:
    """Return a Fargate backend with or without Fargate Spot; other backends do not change."""
    if not isinstance(backend, OpenFargate):
        return backend
    capacity = SPOT if spot else "FARGATE"
    settings = backend.settings.model_copy(update={"capacity": capacity})
    return replace(backend, settings=settings)


def backend_list(backend: OpenBackend | Sequence[OpenBackend]) -> Sequence[OpenBackend]:
    """Return the backends of an argument that is one or several of them."""
    match backend:
        case Sequence() as backends:
            return backends
        case _:
            return [backend]


def account_of(settings: Settings | None, backends: Iterable[OpenBackend]) -> tuple[Settings, Any]:
    """Return the settings and the ``aioboto3.Session`` with which files in S3 are accessed.

    Without settings, they are those of the first Fargate backend, or else `Settings` of the
    environment and ``.env``. The session is that of the first Fargate backend, or ``None``.
    """
    fargate_backends = [backend for backend in backends if isinstance(backend, OpenFargate)]
    if not fargate_backends:
        return settings or Settings(), None
    return settings or fargate_backends[0].settings, fargate_backends[0].session


def burst(
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    folder: Path | None = None,
    session: Any = None,
) -> tuple[OpenBackend, ...]:
    """Return two backends that share one queue: this machine, and Fargate where that saves time.

    Workers on this machine start at once and cost nothing. Up to ``Limits.workers`` tasks on
    Fargate may run at the same time.

    Args:
        settings: See `fargate`.
        workers: See `local`.
        folder: See `local`.
        session: See `fargate`.

    Raises:
        ConfigurationError: The same as in `local` and `fargate`.
    """
    return local(workers=workers, folder=folder), fargate(settings, session=session)


def endpoints(
    *addresses: str,
    key: str | None = None,
    protocol: Protocol | str = Protocol.NATIVE,
    encoders: int = 1,
) -> OpenBackend:
    """Return a backend for containers that already run; it neither starts nor stops them.

    Args:
        addresses: Base URLs of the containers, such as ``http://host:5000``.
        key: Key to send in ``X-Authentication-Key``; ``None``: the value of ``VIDEO_API_AUTH_KEY``.
        protocol: Protocol of the containers: ``native`` for the render service of this package,
            ``onestep`` for the public image.
        encoders: Encoder slots of each container.

    Raises:
        ConfigurationError: There is no address, an address is not a base URL, ``encoders`` is below
            1, or the protocol is unknown.
    """
    secret = Settings().auth_key
    key = key or (secret.get_secret_value() if secret else "")
    if not addresses or encoders < 1:
        msg = (
            f"endpoints() has {len(addresses)} addresses and encoders={encoders}; expected at "
            "least 1 of each"
        )
        raise ConfigurationError(msg)
    if protocol not in set(Protocol):
        raise ConfigurationError(f"protocol={protocol!r}; expected {' or '.join(Protocol)}")

    return OpenEndpoints(addresses, key, Protocol(protocol), encoders)


@dataclass(frozen=True, slots=True)
class OpenEndpoints:
    """Backend that `endpoints` returns."""

    addresses: tuple[str, ...]
    key: str = field(repr=False)
    protocol: Protocol
    encoders: int

    @asynccontextmanager
    async def __call__(self, timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        """Open the backend."""
        static = await _imported("cloudburst.workers.endpoints.backend")
        async with static.open_endpoints_backend(
            self.addresses,
            key=self.key,
            protocol=self.protocol,
            encoders=self.encoders,
            timeouts=timeouts,
        ) as backend:
            yield backend


def default_backend(settings: Settings | None = None, *, workers: int | None = None) -> OpenBackend:
    """Return the Fargate backend if a subnet is configured, otherwise the local backend.

    The choice is logged, at the level WARNING if settings of AWS have no effect.

    Args:
        settings: Settings of the AWS account; ``None``: `Settings` of the environment and ``.env``.
        workers: Maximum number of workers of the local backend: see `local`.
    """
    settings = settings or Settings()
    if settings.subnets:
        logger.info("subnet %s is configured: rendering on Fargate", ", ".join(settings.subnets))
        return fargate(settings)
    message = "no subnet is configured: rendering on this machine"
    if given := next((o for o in map(settings.origin, (*_FARGATE_FIELDS, *_CREDENTIALS)) if o), ""):
        fix = "cloudburst init configures one; local() or --backend local selects this machine"
        logger.warning("%s, although %s is set: %s", message, given, fix)
    else:
        logger.info(message)
    return local(workers=workers)


def only_for_fargate(settings: Settings) -> str:
    """Return a variable that is set for Fargate, and its file; empty if there is none.

    Credentials in the environment may be for other programs; those in ``.env`` are not.
    """
    fields = (*_FARGATE_FIELDS, *filter(settings.is_from_file, _CREDENTIALS))
    return next((origin for origin in map(settings.origin, fields) if origin), "")


def can_render_locally() -> bool:
    """Return whether this machine can render: by its system and the ``[local]`` extra."""
    return not missing_requirements(*MODULES)


async def _imported(module: str) -> Any:
    return await anyio.to_thread.run_sync(import_module, module)
