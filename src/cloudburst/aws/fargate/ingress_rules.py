"""Ingress rules of security groups, and which of them explain a worker that does not answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import (
    EMULATOR_CLIENT,
    is_emulated,
    local_address,
    public_address,
)
from cloudburst.aws.fargate.task_definition import SERVICE_PORT
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.ports.backend import Silence

ANY_IPV4 = "0.0.0.0/0"
"""CIDR that contains every IPv4 address."""
RULE_DESCRIPTION = "cloudburst init"
"""Description of the ingress rules that ``init`` creates, by which it finds them again."""
_ANY_ADDRESS = frozenset({ANY_IPV4, "::/0"})
# Values of ``IpProtocol`` that include TCP; ``-1`` means all protocols.
_TCP = frozenset({"tcp", "6", "-1"})
# Members of an ``IpPermissions`` entry that list sources other than IPv4 ranges, mapped to the key
# of the source in each list item.
_OTHER_SOURCES = {
    "Ipv6Ranges": "CidrIpv6",
    "UserIdGroupPairs": "GroupId",
    "PrefixListIds": "PrefixListId",
}
_UNKNOWN = (
    "a firewall between here and the task may block it, or the program in the task hangs: run "
    "cloudburst doctor, and cloudburst logs TASK"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressRule:
    """A source that a security group lets in at the port of workers."""

    source: str
    """A CIDR, or the id of a security group or prefix list."""
    created_by_init: bool = False
    """True if ``cloudburst init`` created the rule, which then covers only the port of workers."""
    permission: str = f"IpProtocol=tcp,FromPort={SERVICE_PORT},ToPort={SERVICE_PORT}"
    """Protocol and ports of the rule, in the syntax of AWS's command line."""

    @property
    def open_to_world(self) -> bool:
        """True if the rule lets every IPv4 or IPv6 address in."""
        return self.source in _ANY_ADDRESS

    def removal_command(self, group: str, region: str) -> str:
        """Return the shell command that removes the rule from a security group.

        The source of the rule must be a CIDR.
        """
        family, key = ("Ipv6Ranges", "CidrIpv6") if ":" in self.source else ("IpRanges", "CidrIp")
        ranges = f"{family}=[{{{key}={self.source}}}]"
        return (
            f"aws ec2 revoke-security-group-ingress --region {region} --group-id {group} "
            f"--ip-permissions '{self.permission},{ranges}'"
        )

    def allows(self, address: str) -> bool:
        """Return whether the rule lets an IPv4 address in.

        The result is false if the source is a security group or prefix list, because only AWS knows
        the addresses in it.
        """
        try:
            network = ipaddress.ip_network(self.source, strict=False)
        except ValueError:
            return False
        return ipaddress.ip_address(address) in network

    def covers(self, source: str) -> bool:
        """Return whether the rule lets every address of an IPv4 CIDR in.

        If the source of the rule is a security group or prefix list, the rule covers only that
        source.
        """
        try:
            network = ipaddress.IPv4Network(self.source, strict=False)
            return ipaddress.IPv4Network(source, strict=False).subnet_of(network)
        except ValueError:
            return self.source == source


def parse_ingress_rules(group: Mapping[str, Any], port: int) -> tuple[IngressRule, ...]:
    """Return the rules for a port in the description of a security group by EC2."""
    permissions: Sequence[Mapping[str, Any]] = group.get("IpPermissions") or ()
    return tuple(rule for permission in permissions for rule in _parse_permission(permission, port))


def _parse_permission(permission: Mapping[str, Any], port: int) -> Iterator[IngressRule]:
    """Yield a rule for each source of an ``IpPermissions`` entry if it covers TCP and the port."""
    protocol = permission.get("IpProtocol")
    ports = range(permission.get("FromPort", 0), permission.get("ToPort", 65535) + 1)
    if protocol not in _TCP or (protocol != "-1" and port not in ports):
        return
    text = f"IpProtocol={protocol}"
    if protocol != "-1":
        text += f",FromPort={ports.start},ToPort={ports.stop - 1}"
    for entry in permission.get("IpRanges") or ():
        described = entry.get("Description") == RULE_DESCRIPTION
        by_init = described and protocol == "tcp" and len(ports) == 1
        yield IngressRule(source=entry["CidrIp"], created_by_init=by_init, permission=text)
    for member, key in _OTHER_SOURCES.items():
        for entry in permission.get(member) or ():
            yield IngressRule(source=entry[key], permission=text)


async def explain_silence(aws: AWSClient, settings: Settings, address: str) -> Silence:
    """Compare the address of this machine with those that the workers' security groups let in.

    Without the permission ec2:DescribeSecurityGroups, the explanation is general.
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
