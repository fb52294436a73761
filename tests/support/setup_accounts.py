"""Emulated accounts that ``init`` has or has not set up."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import contextmanager, suppress
from functools import cache

import aioboto3
import boto3
from botocore.exceptions import ClientError

from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    TRUST_POLICY,
    execution_role,
)
from cloudburst.models.settings import Settings
from cloudburst.testing import EmulatorConfig, FargateEmulator

HERE = "203.0.113.7"
"""Of the addresses for documentation, RFC 5737."""
NEW = {"prepared": False, "vcpu_quota": 6.0, "spot_vcpu_quota": 6.0}
"""As AWS gives it to somebody."""
QUICK = {"pending": 0.1, "stop_timeout": 1.0}
READS = ("BatchGet", "Describe", "Head", "Get", "List", "Simulate")


async def here():
    return HERE


@contextmanager
def bare(**config):
    """An account without anything of ours; moto keeps what we make."""
    with FargateEmulator(EmulatorConfig.quick(**{**QUICK, **NEW, **config})) as emulator:
        yield emulator


def client(emulator, service):
    """A client of whoever looks at the account by hand, with a key of its own."""
    return _client(emulator, service)


@cache
def _client(emulator, service):
    keys = key_by_hand(emulator)
    return boto3.client(
        service,
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )


@cache
def key_by_hand(emulator):
    return emulator.new_key()


def wipe(emulator):
    """Remove all that ``init`` or anybody else has made in the account: moto takes its time to
    start, so tests share one."""
    ecs, ec2, iam, logs, ecr = (
        client(emulator, name) for name in ("ecs", "ec2", "iam", "logs", "ecr")
    )
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
    for repository in ecr.describe_repositories()["repositories"]:
        ecr.delete_repository(repositoryName=repository["repositoryName"], force=True)
    _remove_networks(ec2)
    for role in iam.list_roles()["Roles"]:
        _remove_role(iam, role["RoleName"])


def _remove_networks(ec2):
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["GroupName"] != "default":
            _delete_group(ec2, group["GroupId"])
    for subnet in ec2.describe_subnets()["Subnets"]:
        if not subnet["DefaultForAz"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])


def _delete_group(ec2, group):
    """Delete a security group, which a task uses for a moment after it has stopped."""
    for _ in range(100):
        with suppress(ec2.exceptions.ClientError):
            return ec2.delete_security_group(GroupId=group)
        time.sleep(0.05)
    return ec2.delete_security_group(GroupId=group)


def _remove_role(iam, name):
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    with suppress(ClientError):
        iam.delete_role(RoleName=name)


def change_by_hand(emulator, settings):
    """Change all that ``init`` has made, so that the next one corrects everything."""
    ecs, iam, logs = (client(emulator, name) for name in ("ecs", "iam", "logs"))
    ecs.put_cluster_capacity_providers(
        cluster=settings.cluster, capacityProviders=[], defaultCapacityProviderStrategy=[]
    )
    role = execution_role("us-east-1")
    logs.delete_retention_policy(logGroupName=LOG_GROUP)
    iam.delete_role_policy(RoleName=role, PolicyName=EXECUTION_ROLE_POLICY)
    iam.delete_role_permissions_boundary(RoleName=role)
    other = {**TRUST_POLICY["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}
    iam.update_assume_role_policy(
        RoleName=role, PolicyDocument=json.dumps({**TRUST_POLICY, "Statement": [other]})
    )


def index(*architectures):
    """The manifest of an image for several processors, as ``docker buildx`` makes it."""
    kind = "application/vnd.oci.image"
    entries = [
        {
            "mediaType": f"{kind}.manifest.v1+json",
            "digest": digest_of(manifest(name)),
            "size": 1,
            "platform": {"architecture": name, "os": "linux"},
        }
        for name in (*architectures, "unknown")
    ]
    return {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": entries}


def manifest(architecture):
    """The text of a manifest for one processor."""
    kind = "application/vnd.oci.image"
    digest = digest_of(architecture)
    config = {"mediaType": f"{kind}.config.v1+json", "digest": digest, "size": 1}
    found = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config}
    return json.dumps({**found, "layers": []})


def digest_of(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@contextmanager
def pushed(emulator, image, *architectures, there=None):
    """An image in the account's own ECR.

    ``there`` names the processors whose manifests are there; all of them if it is ``None``.
    """
    ecr = client(emulator, "ecr")
    name, _, tag = image.partition(":")
    ecr.create_repository(repositoryName=name)
    try:
        for architecture in architectures if there is None else there:
            _put(ecr, name, manifest(architecture))
        _put(ecr, name, json.dumps(index(*architectures)), imageTag=tag)
        yield
    finally:
        ecr.delete_repository(repositoryName=name, force=True)


def _put(ecr, name, text, **more):
    """Put an image with its digest, for which moto takes a random one else."""
    ecr.put_image(repositoryName=name, imageManifest=text, imageDigest=digest_of(text), **more)


def settings_of(emulator, **changes):
    changes = {**emulator.environment, **changes}
    keys = (changes[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    session()._session.set_credentials(*keys)
    return Settings(_env_file=None, **changes)


@cache
def session():
    """Reads each service's model once, and not once for each call of ours.

    It has the key of the account that `settings_of` was asked for last.
    """
    return aioboto3.Session()


async def set_up(emulator, *, env_file=None, settings=None, changes=None, on_wait=None, **plan):
    """The report of an init, and the settings that it leads to: with the public image, unless
    ``changes`` have another one."""
    changes = {"DOCKER_IMAGE": "public", **(changes or {})}
    settings = settings or settings_of(emulator, **changes)
    plan = InitOptions(env_file=env_file, **plan)
    report = await init(
        settings, options=plan, find_address=here, session=session(), on_wait=on_wait
    )
    return report, settings_of(emulator, **{**changes, **report.environment})


def outcomes(report):
    """Of each thing, by what it is and, where there are several, its name."""
    return {
        (step.resource, step.name.partition(":")[0]): str(step.outcome) for step in report.steps
    }


def writes(emulator, since=0):
    """Actions of calls that change something."""
    return [c.action for c in emulator.calls[since:] if not c.operation.startswith(READS)]
