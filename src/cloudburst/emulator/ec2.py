"""Emulated EC2 API: network interfaces of tasks, and a default VPC.

The library moto implements the other operations of EC2: see `moto.MotoServer`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

from cloudburst.emulator.capacity import zone_ids
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.protocols import numbered_values
from cloudburst.emulator.task_registry import TaskRegistry
from cloudburst.emulator.task_shape import attachment_id
from cloudburst.emulator.task_state import Task

VPC_ID = "vpc-0c10adb0057000001"
DEFAULT_GROUP_ID = "sg-0c10adb0057000001"
# Id of the security group for workers, which exists if `EmulatorConfig.prepared` is true.
WORKER_GROUP_ID = "sg-0c10adb0057000002"
WORKER_GROUP_NAME = "cloudburst"
ROUTE_TABLE_ID = "rtb-0c10adb0057000001"
INTERNET_GATEWAY_ID = "igw-0c10adb0057000001"
NAT_GATEWAY_ID = "nat-0c10adb0057000001"
# Letters of the availability zones that can have a default subnet.
ZONE_LETTERS = "abcdef"
# Names of the parameters that contain the id of the resource to delete, by operation. These
# operations fail while a network interface uses the resource.
DELETE_PARAMETERS = {"DeleteSecurityGroup": "GroupId", "DeleteSubnet": "SubnetId"}

# Names of response members by name of the filter. Filters not listed here are named after the
# member by which they filter, such as `vpc-id` after `vpcId`.
FILTER_MEMBERS = {"description": "groupDescription"}

Item = dict[str, Any]


def subnet_id(zone: str) -> str:
    """Return the id of the default subnet in the availability zone with this letter."""
    return f"subnet-0c10adb005700000{ZONE_LETTERS.index(zone) + 1}"


class EC2:
    """Operations of the emulated EC2 API; their results use the names of EC2's XML elements."""

    def __init__(self, config: EmulatorConfig, registry: TaskRegistry) -> None:
        self._config = config
        self._registry = registry
        self.chance = Random(config.seed)  # noqa: S311 - chooses subnets, not secrets
        self.interfaces = {"DescribeNetworkInterfaces": self._describe_interfaces}
        """Operations on network interfaces; the emulator executes them even if moto is running."""
        self.operations = {
            "DescribeVpcs": self._lister("VpcId", "vpcSet", self.vpcs),
            "DescribeSubnets": self._lister("SubnetId", "subnetSet", self.subnets),
            "DescribeSecurityGroups": self._lister("GroupId", "securityGroupInfo", self.groups),
            "DescribeRouteTables": self._lister("RouteTableId", "routeTableSet", self.routes),
            "DescribeVpcEndpoints": self._lister("VpcEndpointId", "vpcEndpointSet", list),
        }

    def vpcs(self) -> list[Item]:
        """Return the default VPC."""
        return [{"vpcId": VPC_ID, "cidrBlock": "172.31.0.0/16", "isDefault": True}]

    def subnets(self) -> list[Item]:
        """Return the subnets of the VPC, one per zone."""
        return [
            {
                "subnetId": subnet_id(zone),
                "vpcId": VPC_ID,
                "availableIpAddressCount": 4091,
                "availabilityZone": self._config.region + zone,
                "availabilityZoneId": zone_id,
                "blockPublicAccessStates": {
                    "internetGatewayBlockMode": self._config.block_public_access.get(zone, "off")
                },
            }
            for zone, zone_id in zone_ids(self._config.region).items()
        ]

    def groups(self) -> list[Item]:
        """Return the default security group and, if it exists, the security group for workers."""
        groups = [_group(DEFAULT_GROUP_ID, "default", "default VPC security group", [])]
        if self._config.prepared:
            port = self._config.port
            opened = {
                "ipProtocol": "tcp",
                "fromPort": port,
                "toPort": port,
                "ipRanges": [{"cidrIp": source} for source in self._config.worker_sources],
            }
            rules = [opened] if self._config.worker_sources else []
            groups.append(_group(WORKER_GROUP_ID, WORKER_GROUP_NAME, "CloudBurst workers", rules))
        return groups

    def routes(self) -> list[Item]:
        """Return the main route table, with the default route that ``way_out`` configures."""
        route_targets = {
            "internet gateway": {"gatewayId": INTERNET_GATEWAY_ID},
            "nat": {"natGatewayId": NAT_GATEWAY_ID},
        }
        target = route_targets.get(self._config.way_out)
        routes = [{"destinationCidrBlock": "172.31.0.0/16", "gatewayId": "local"}]
        if target:
            routes.append({"destinationCidrBlock": "0.0.0.0/0", **target})
        main = {"routeTableId": ROUTE_TABLE_ID, "vpcId": VPC_ID, "routeSet": routes}
        return [main | {"associationSet": [{"main": True}]}]

    def check_unused(self, operation: str, parameters: Mapping[str, str]) -> None:
        """Raise an error if a call would delete a resource that a task's network interface uses."""
        ident = parameters.get(DELETE_PARAMETERS.get(operation, ""))
        for task in self._registry.with_interfaces() if ident else ():
            shown = self._interface(task)
            if ident in {shown["subnetId"], *(group["groupId"] for group in shown["groupSet"])}:
                raise ApiError("DependencyViolation", f"resource {ident} has a dependent object")

    @staticmethod
    def _lister(
        parameter: str, answer: str, items: Callable[[], list[Item]]
    ) -> Callable[[Mapping[str, str]], Item]:
        def describe(parameters: Mapping[str, str]) -> Item:
            found = {item[parameter[0].lower() + parameter[1:]]: item for item in items()}
            wanted = numbered_values(parameters, parameter)
            for ident in wanted:
                if ident not in found:
                    code = (
                        "InvalidGroup" if parameter == "GroupId" else f"Invalid{parameter[:-2]}ID"
                    )
                    raise ApiError(f"{code}.NotFound", f"The ID '{ident}' does not exist")
            chosen = [found[ident] for ident in wanted] if wanted else list(found.values())
            return {answer: [item for item in chosen if _passes(item, parameters)]}

        return describe

    def _describe_interfaces(self, parameters: Mapping[str, str]) -> Item:
        wanted = numbered_values(parameters, "NetworkInterfaceId")
        tasks = list[Task]()
        for ident in wanted:
            task = self._registry.by_interface(ident)
            if task is None:
                raise ApiError(
                    "InvalidNetworkInterfaceID.NotFound",
                    f"The networkInterface ID '{ident}' does not exist",
                )
            tasks.append(task)
        if not wanted:
            tasks = self._registry.with_interfaces()
        shown = [self._interface(task) for task in tasks]
        return {"networkInterfaceSet": [item for item in shown if _passes(item, parameters)]}

    def _interface(self, task: Task) -> Item:
        spec = self._registry.lifecycle(task.id).spec
        assert task.address is not None
        shown: Item = {
            "networkInterfaceId": task.interface,
            "subnetId": spec.network.subnet,
            "vpcId": VPC_ID,
            "availabilityZone": spec.network.zone,
            "description": f"arn:aws:ecs:{self._config.region}:{self._config.account}:attachment/"
            + attachment_id(task),
            "status": "available" if task.stopped else "in-use",
            "privateIpAddress": task.private_address,
            "groupSet": [{"groupId": group} for group in spec.network.groups],
        }
        public = task.public and not task.stopped
        return shown | ({"association": {"publicIp": task.address}} if public else {})


def _group(ident: str, name: str, text: str, rules: list[Item]) -> Item:
    return {
        "groupId": ident,
        "groupName": name,
        "groupDescription": text,
        "vpcId": VPC_ID,
        "ipPermissions": rules,
    }


def is_port_open(groups: Sequence[Item], config: EmulatorConfig) -> bool:
    """Return whether one of the security groups lets the client connect to workers."""
    client = ip_address(config.client_address)
    return any(
        rule["ipProtocol"] in {"-1", "tcp", "6"}
        and int(rule.get("fromPort") or 0) <= config.port <= int(rule.get("toPort") or 65535)
        and any(client in ip_network(source["cidrIp"], strict=False) for source in rule["ipRanges"])
        for group in groups
        for rule in group["ipPermissions"]
    )


def _passes(item: Item, parameters: Mapping[str, str]) -> bool:
    number = 1
    while name := parameters.get(f"Filter.{number}.Name"):
        values = numbered_values(parameters, f"Filter.{number}.Value")
        if not _fits(item, name, values):
            return False
        number += 1
    return True


def _fits(item: Item, name: str, values: Collection[str]) -> bool:
    first, *rest = name.split("-")
    member = FILTER_MEMBERS.get(name, first + "".join(word.title() for word in rest))
    if member in item:
        value = item[member]
        return (str(value).lower() if isinstance(value, bool) else str(value)) in values
    if name == "association.main":
        return any(str(one["main"]).lower() in values for one in item["associationSet"])
    if name.startswith(("association.", "tag:")):
        return False
    raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
