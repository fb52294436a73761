"""ECS Fargate as a backend: each worker is a task."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from anyio import create_task_group, to_thread

from cloudburst.adapters.aws.definition import Definition, describe_definition
from cloudburst.adapters.aws.launcher import FargateLauncher
from cloudburst.adapters.aws.prices import load_prices
from cloudburst.adapters.aws.runs import held_runs
from cloudburst.adapters.aws.runtask import Order, Providers
from cloudburst.adapters.aws.session import open_aws
from cloudburst.adapters.aws.watcher import Watcher
from cloudburst.adapters.http import native, onestep
from cloudburst.adapters.http.files import Hashes
from cloudburst.engine.assumed import encoders, fargate_kind, fargate_pace
from cloudburst.engine.groups import unwrapped
from cloudburst.errors import ConfigurationError
from cloudburst.models.policy import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol, Secrets
from cloudburst.models.tier import Tier
from cloudburst.ports import Backend, Connect, new_key

logger = logging.getLogger(__name__)

NOBODY = "0" * 32
"""No task: asked for it, AWS says whether there is the cluster, and whether we may look."""


@asynccontextmanager
async def open_fargate(
    settings: Settings, timeouts: Timeouts, tier: Tier, *, session: Any = None
) -> AsyncGenerator[Backend]:
    """The backend of `cloudburst.fargate`.

    Args:
        settings: Who we are to AWS, and where tasks run.
        timeouts: ``call``, ``silence`` and ``scene`` count here.
        tier: The size of its tasks, for what one costs and how many scenes it encodes at once.
        session: An ``aioboto3.Session`` in place of the settings' keys, profile and role.

    Raises:
        ConfigurationError: No subnet, a capacity that Fargate has not, or a task definition that
            does not fit.
        CloudburstError: What `AWS.call` raises: no credentials, no such task definition or
            cluster…
    """
    if not settings.subnets:
        raise ConfigurationError("Fargate needs a subnet: set AWS_SUBNET_ID, or cloudburst init")
    providers = Providers(settings.capacity)
    with unwrapped():
        async with open_aws(settings, session=session) as aws:
            definition = await describe_definition(
                aws, settings.task_definition, protocol=settings.protocol
            )
            await aws.call("ecs", "describe_tasks", cluster=settings.cluster, tasks=[NOBODY])
            table = await load_prices()
            if not table.knows(aws.region, architecture=definition.architecture):
                logger.warning("no prices of %s are known: those of us-east-1 count", aws.region)
            rates = partial(
                table.rates,
                aws.region,
                architecture=definition.architecture,
                spot_factor=settings.spot_factor,
            )
            logger.info("tasks of %s in cluster %s", definition.arn, settings.cluster)
            async with (
                held_runs(
                    region=aws.region,
                    cluster=settings.cluster,
                    endpoint_url=settings.endpoint_url,
                ) as runs,
                create_task_group() as tasks,
            ):
                watcher = Watcher(aws, cluster=settings.cluster, public=settings.public_address)
                tasks.start_soon(watcher.run, name="Fargate watcher")
                launcher = FargateLauncher(
                    aws,
                    Order(settings=settings, definition=definition, timeouts=timeouts),
                    providers,
                    watcher,
                    runs,
                    tier=tier,
                    rates=lambda capacity: rates(capacity=capacity),
                )
                new_secrets = await _secrets(settings, definition)
                try:
                    yield _backend(launcher, definition, new_secrets, timeouts, tier)
                finally:
                    tasks.cancel_scope.cancel()


def _backend(
    launcher: FargateLauncher,
    definition: Definition,
    new_secrets: Callable[[], Secrets],
    timeouts: Timeouts,
    tier: Tier,
) -> Backend:
    speaks_native = definition.protocol is Protocol.NATIVE
    connect: Connect = (
        partial(native.connect, timeouts=timeouts, hashes=Hashes())
        if speaks_native
        else partial(onestep.connect, timeouts=timeouts)
    )
    return Backend(
        name="fargate",
        launcher=launcher,
        connect=connect,
        encoders=encoders(tier, definition.protocol),
        cancels=speaks_native,
        new_secrets=new_secrets,
        kind=fargate_kind(tier, definition.protocol, definition.architecture),
        pace=fargate_pace(tier, definition.protocol),
        usd_per_second=launcher.usd_per_second(tier),
        most_usd_per_second=launcher.most_usd_per_second,
        slowness=0.0 if speaks_native else onestep.SLOWNESS,
    )


async def _secrets(settings: Settings, definition: Definition) -> Callable[[], Secrets]:
    """What makes the secrets of a launch. Only TLS needs the library that makes certificates."""
    made = new_key
    if definition.protocol is Protocol.NATIVE:
        module = "cloudburst.adapters.http.certificates"
        made = (await to_thread.run_sync(import_module, module)).new_secrets
    if settings.auth_key is None:
        return made
    key = settings.auth_key.get_secret_value()
    return lambda: replace(made(), key=key)
