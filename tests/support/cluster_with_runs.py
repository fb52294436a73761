"""An emulated account with tasks of several runs, and runs that end without a farewell."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import boto3

from cloudburst.aws.fargate.run_registry import _RunFile
from cloudburst.models.settings import Settings
from cloudburst.testing import EmulatorConfig, FargateEmulator

UNMOVED = {"provisioning": 600.0, "deprovisioning": 0.05}
"""Tasks that stay in PROVISIONING have no processes: hundreds of them cost nothing."""

HELD = """
import asyncio, sys
from cloudburst.aws.fargate.run_registry import open_run_registry

async def main(run, cluster, url):
    async with open_run_registry(region="us-east-1", cluster=cluster, endpoint_url=url) as runs:
        await runs.record_request(run, "token")
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def account(**config):
    with FargateEmulator(EmulatorConfig.quick(**{**UNMOVED, "moto": False, **config})) as emulator:
        yield emulator


def settings_of(emulator, **changes):
    return Settings(_env_file=None, **{**emulator.environment, **changes})


def client(emulator, service="ecs"):
    return boto3.client(
        service,
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id=emulator.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=emulator.environment["AWS_SECRET_ACCESS_KEY"],
    )


def launch(
    emulator, number=1, *, run="", ours=True, scene="", started_by="", definition="", **more
):
    """ARNs of new tasks, as RunTask starts them ten at a time."""
    tags = {"CreatedBy": "animagent"} if ours else {}
    tags |= {"cloudburst:run": run} if run else {}
    tags |= {"Scene": scene} if scene else {}
    network: dict = {"subnets": emulator.environment["AWS_SUBNET_ID"].split(",")}
    network["securityGroups"] = [emulator.environment["AWS_SECURITY_GROUP_ID"]]
    network["assignPublicIp"] = "ENABLED"
    ecs, arns = client(emulator), []
    while len(arns) < number:
        answer = ecs.run_task(
            cluster=emulator.environment["ECS_CLUSTER_NAME"],
            taskDefinition=definition or emulator.environment["ECS_TASK_DEFINITION"],
            count=min(10, number - len(arns)),
            networkConfiguration={"awsvpcConfiguration": network},
            tags=[{"key": key, "value": value} for key, value in tags.items()],
            **({"startedBy": started_by} if started_by else {}),
            **({} if "capacityProviderStrategy" in more else {"launchType": "FARGATE"}),
            **more,
        )
        assert not answer["failures"]
        arns += [task["taskArn"] for task in answer["tasks"]]
    ecs.close()
    time.sleep(0.2)  # by then all answers of ECS agree on them
    return arns


def count(emulator, operation):
    return sum(call.operation == operation for call in emulator.calls)


@contextmanager
def living_run(run, emulator, *, cluster=None):
    """A process that holds this run on this machine."""
    cluster = cluster or emulator.environment["ECS_CLUSTER_NAME"]
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, run, cluster, emulator.url],
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def dead_run(run, emulator, *, cluster=None):
    """Leave what a killed process leaves of a run: its file, whose lock nobody holds."""
    cluster = cluster or emulator.environment["ECS_CLUSTER_NAME"]
    facts = {"region": "us-east-1", "cluster": cluster, "endpoint_url": emulator.url}
    file = _RunFile(run, facts)
    file.create()
    file.release()
