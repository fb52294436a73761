"""Explanation of workers on Fargate whose port does not answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import (
    EMULATOR_CLIENT,
    is_emulated,
    local_address,
    public_address,
)
from cloudburst.aws.fargate.ingress_rules import parse_ingress_rules
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.ports.backend import Silence

_UNKNOWN = (
    "a firewall between here and the task may block it, or the program in the task hangs: run "
    "cloudburst doctor, and cloudburst logs TASK"
)


async def explain_silence(aws: AWSClient, settings: Settings, address: str) -> Silence:
    """Compare the address of this machine with those that the workers' security groups let in.

    Without the permission ec2:DescribeSecurityGroups, the explanation is general.

    Args:
        aws: Client of the account.
        settings: Settings with the security groups.
        address: Base URL of the worker that does not answer.
    """
    worker = urlsplit(address)
    host, port = worker.hostname or "", worker.port or 0
    if not settings.security_groups:
        return Silence(
            f"AWS_SECURITY_GROUP_ID is not set: run cloudburst init; {_UNKNOWN}", certain=False
        )
    try:
        groups = await aws.collect_pages(
            "ec2",
            "describe_security_groups",
            "SecurityGroups",
            GroupIds=[*settings.security_groups],
        )
        here = await _own_address(settings, host)
    except (CloudburstError, OSError) as exc:
        return Silence(f"{_UNKNOWN} ({exc})", certain=False)
    rules = [rule for group in groups for rule in parse_ingress_rules(group, port)]
    sources = ", ".join(dict.fromkeys(rule.source for rule in rules)) or "no address"
    lists = any(
        rule.source.startswith(("sg-", "pl-")) for rule in rules
    )  # whose addresses AWS knows
    certain = not lists and not any(rule.allows(here) for rule in rules)
    text = f"port {port} lets in {sources}, and this machine is {here}"
    return Silence(f"{text}: {'run cloudburst init' if certain else _UNKNOWN}", certain=certain)


async def _own_address(settings: Settings, worker: str) -> str:
    if is_emulated(settings):
        return EMULATOR_CLIENT
    return await public_address() if settings.public_address else local_address(worker)
