"""Backend whose workers are ECS Fargate tasks."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import aiohttp
import anyio
from anyio import create_task_group, to_thread
from botocore.exceptions import EndpointConnectionError

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.fargate.ec2 import usable_subnets
from cloudburst.aws.fargate.ingress_rules import explain_silence
from cloudburst.aws.fargate.launcher import FargateLauncher
from cloudburst.aws.fargate.run_registry import open_run_registry
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import (
    TaskDefinition,
    check_protocol_version,
    describe_task_definition,
)
from cloudburst.aws.fargate.watcher import Watcher
from cloudburst.concurrency import collapse_single
from cloudburst.errors import CloudburstError, ConfigurationError, NoAnswerError, ThrottledError
from cloudburst.models.limits import RETRY_BACKOFF, Timeouts
from cloudburst.models.performance import (
    Cloud,
    fargate_encoder_slots,
    fargate_kind,
    fargate_performance,
)
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol, Secrets
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import Backend, new_key
from cloudburst.ports.renderer import Connect
from cloudburst.workers.http import native, onestep

logger = logging.getLogger(__name__)

T = TypeVar("T")

NONEXISTENT_TASK = "0" * 32
"""Id that no task has. Describing a task with this id shows whether the cluster exists and whether
the credentials allow the call."""

# Fields of `Settings` that decide whose tasks they are. A file with them may be a stranger's.
_ACCOUNT_FIELDS = ("access_key_id", "secret_access_key", "role_arn")


@asynccontextmanager
async def open_fargate(
    settings: Settings,
    timeouts: Timeouts,
    tier: Tier,
    *,
    session: Any = None,
) -> AsyncGenerator[Backend]:
    """Yield a backend whose workers are Fargate tasks, for `cloudburst.fargate`.

    Raises:
        ConfigurationError: The settings name no subnet, or the task definition has no container
            that can render or speaks another version of the protocol.
    """
    if not settings.subnets:
        raise ConfigurationError("Fargate needs a subnet: set AWS_SUBNET_ID, or cloudburst init")
    with collapse_single():
        async with open_aws(settings, session=session) as aws:
            definition = await _check_setup(aws, settings, timeouts)
            table = await load_prices()
            subnets = await usable_subnets(aws, settings, definition.architecture)
            settings = settings.model_copy(update={"subnets": subnets})
            if not table.has_region(aws.region, architecture=definition.architecture):
                logger.warning("no prices of %s are known: those of us-east-1 are used", aws.region)
            rates = partial(table.rates, aws.region, architecture=definition.architecture)
            cloud = Cloud.of(settings.endpoint_url, region=aws.region, account=definition.account)
            kind = fargate_kind(
                tier, definition.protocol, definition.architecture, cloud, definition.image
            )
            logger.info("tasks of %s in cluster %s", definition.arn, settings.cluster)
            async with (
                open_run_registry(
                    region=aws.region,
                    cluster=settings.cluster,
                    endpoint_url=settings.endpoint_url,
                ) as registry,
                create_task_group() as tasks,
            ):
                watcher = Watcher(aws, settings, containers=definition.containers)
                tasks.start_soon(watcher.run, name="Fargate watcher")
                launcher = FargateLauncher(
                    aws,
                    RunTaskTemplate(settings=settings, definition=definition, timeouts=timeouts),
                    watcher,
                    registry,
                    tier=tier,
                    rates=lambda capacity: rates(capacity=capacity),
                )
                new_secrets = await _secrets_factory(settings, definition)
                backend = _backend(launcher, definition, new_secrets, timeouts, tier)
                try:
                    yield replace(
                        backend,
                        kind=kind,
                        lifetime=settings.lifetime,
                        explain_silence=partial(explain_silence, aws, settings),
                    )
                finally:
                    tasks.cancel_scope.cancel()


async def _check_setup(aws: AWSClient, settings: Settings, timeouts: Timeouts) -> TaskDefinition:
    seconds = math.inf if timeouts.launch is None else timeouts.launch
    deadline = anyio.current_time() + seconds
    definition = await _repeat_until(
        deadline,
        lambda: describe_task_definition(aws, settings.task_definition, protocol=settings.protocol),
    )
    check_protocol_version(definition)
    await _repeat_until(
        deadline,
        lambda: aws.call(
            "ecs", "describe_tasks", cluster=settings.cluster, tasks=[NONEXISTENT_TASK]
        ),
    )
    return definition


async def _repeat_until(deadline: float, call: Callable[[], Awaitable[T]]) -> T:
    for delay in RETRY_BACKOFF.delays():
        try:
            return await call()
        except (NoAnswerError, ThrottledError) as exc:
            left = deadline - anyio.current_time() - delay
            if left <= 0 or _is_connection_refused(exc):
                raise
            logger.warning(
                "AWS does not answer, and nothing is started yet; the call is repeated %s: %s",
                "until it does" if left == math.inf else f"for {left:.0f} s more",
                exc,
            )
            await anyio.sleep(delay)
    raise AssertionError("unreachable: delays() never ends")


def _is_connection_refused(error: CloudburstError) -> bool:
    cause = error.__cause__
    # botocore raises this error for a connection that breaks as well.
    return isinstance(cause, EndpointConnectionError) and isinstance(
        cause.kwargs.get("error"), (aiohttp.ClientConnectorError, socket.gaierror)
    )


def _backend(
    launcher: FargateLauncher,
    definition: TaskDefinition,
    new_secrets: Callable[[], Secrets],
    timeouts: Timeouts,
    tier: Tier,
) -> Backend:
    is_native = definition.protocol is Protocol.NATIVE
    connect: Connect = (
        partial(native.connect, timeouts=timeouts)
        if is_native
        else partial(onestep.connect, timeouts=timeouts)
    )
    return Backend(
        name="fargate",
        launcher=launcher,
        connect=connect,
        encoder_slots=fargate_encoder_slots(tier, definition.protocol),
        shares_uplink=True,
        new_secrets=new_secrets,
        performance=fargate_performance(tier, definition.protocol),
        usd_per_second=launcher.usd_per_second(tier),
        max_usd_per_second=launcher.policy.max_usd_per_second,
        **(
            native.FEATURES
            if is_native
            else onestep.features(definition.image or "the public image")
        ),
    )


async def _secrets_factory(settings: Settings, definition: TaskDefinition) -> Callable[[], Secrets]:
    # The library for certificates is imported only for the native protocol, which uses TLS.
    new_secrets = new_key
    if definition.protocol is Protocol.NATIVE:
        module = "cloudburst.workers.http.certificates"
        new_secrets = (await to_thread.run_sync(import_module, module)).new_secrets
    if settings.auth_key is None:
        return new_secrets
    account = next(filter(settings.is_from_file, _ACCOUNT_FIELDS), None)
    if account is not None and settings.is_from_environment("auth_key"):
        msg = "tasks get random keys: %s is not from the file of %s, so it may be for others"
        logger.warning(msg, settings.origin("auth_key"), settings.origin(account))
        return new_secrets
    key = settings.auth_key.get_secret_value()
    return lambda: replace(new_secrets(), key=key)
