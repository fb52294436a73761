"""Emulated accounts that ``init`` has or has not set up."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from functools import cache

import aioboto3
import boto3
from botocore.exceptions import ClientError

from cloudburst.account.setting_up import InitPlan, init
from cloudburst.models.settings import Settings
from cloudburst.testing import EmulatorConfig, FargateEmulator

HERE = "203.0.113.7"
"""Of the addresses for documentation, RFC 5737."""
QUICK = {"provisioning": 0.1, "pending": 0.1, "deprovisioning": 0.1, "stop_timeout": 1.0}
READS = ("Describe", "Get", "List", "Simulate")


async def here():
    return HERE


@contextmanager
def bare(**config):
    """An account without anything of ours; moto keeps what we make."""
    with FargateEmulator(EmulatorConfig(**{**QUICK, "prepared": False, **config})) as emulator:
        yield emulator


def client(emulator, service):
    return _client(emulator.url, service)


@cache
def _client(url, service):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )


def wipe(emulator):
    """Remove all that ``init`` or anybody else has made in the account: moto takes its time to
    start, so tests share one."""
    ecs, ec2, iam, logs = (client(emulator, name) for name in ("ecs", "ec2", "iam", "logs"))
    for task in emulator.live:
        ecs.stop_task(cluster=task.cluster, task=task.arn)
    while any(task.last_status != "STOPPED" for task in emulator.tasks):
        time.sleep(0.05)
    for arn in ecs.list_task_definitions()["taskDefinitionArns"]:
        ecs.deregister_task_definition(taskDefinition=arn)
    for arn in ecs.list_clusters()["clusterArns"]:
        ecs.delete_cluster(cluster=arn)
    for group in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
        with suppress(ClientError):
            iam.delete_role(RoleName=name)


def settings_of(emulator, **changes):
    return Settings(_env_file=None, **{**emulator.environment, **changes})


@cache
def session():
    """Reads each service's model once, and not once for each call of ours."""
    return aioboto3.Session("AKIAEMULATOR00000001", "emulator-secret-access-key")


async def set_up(emulator, *, env_file=None, settings=None, changes=None, **plan):
    """The report of an init, and the settings that it leads to."""
    settings = settings or settings_of(emulator, **(changes or {}))
    plan = InitPlan(env_file=env_file, **plan)
    report = await init(settings, plan=plan, here=here, session=session())
    return report, settings_of(emulator, **{**(changes or {}), **report.environment})


def outcomes(report):
    """Of each thing, by what it is and, where there are several, its name."""
    return {(step.what, step.name.partition(":")[0]): str(step.outcome) for step in report.steps}


def writes(emulator, since=0):
    """Actions of calls that change something."""
    return [c.action for c in emulator.calls[since:] if not c.operation.startswith(READS)]
