"""EC2: the network interfaces of tasks, and a default VPC to look at.

All else of EC2 is moto's: see `moto.Moto`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.refusal import RefusedError
from cloudburst.testing.emulator.task_shape import attachment_id
from cloudburst.testing.emulator.wire import numbered

VPC = "vpc-0c10adb0057000001"
DEFAULT_GROUP = "sg-0c10adb0057000001"
GROUP = "sg-0c10adb0057000002"
"""The prepared one."""
GROUP_NAME = "cloudburst"
ROUTES = "rtb-0c10adb0057000001"
GATEWAY = "igw-0c10adb0057000001"
ZONES = "abcdef"
"""Of us-east-1, each with a default subnet."""

FILTERS = {"description": "groupDescription"}
"""Filters that are not their member's name with hyphens."""

Item = dict[str, Any]


def subnet_id(zone: str) -> str:
    """Of the default subnet in a zone, by its letter."""
    return f"subnet-0c10adb005700000{ZONES.index(zone) + 1}"


class EC2:
    """Answers with the names that EC2's XML has."""

    def __init__(self, config: EmulatorConfig, fleet: Fleet) -> None:
        self._config = config
        self._fleet = fleet
        self.interfaces = {"DescribeNetworkInterfaces": self._describe_interfaces}
        """These are ours even when moto is there."""
        self.operations = {
            "DescribeVpcs": self._lister("VpcId", "vpcSet", self.vpcs, "vpcId", "InvalidVpcID"),
            "DescribeSubnets": self._lister(
                "SubnetId", "subnetSet", self.subnets, "subnetId", "InvalidSubnetID"
            ),
            "DescribeSecurityGroups": self._lister(
                "GroupId", "securityGroupInfo", self.groups, "groupId", "InvalidGroup"
            ),
            "DescribeRouteTables": self._lister(
                "RouteTableId", "routeTableSet", self.routes, "routeTableId", "InvalidRouteTableID"
            ),
            "DescribeInternetGateways": self._lister(
                "InternetGatewayId",
                "internetGatewaySet",
                self.gateways,
                "internetGatewayId",
                "InvalidInternetGatewayID",
            ),
        }

    def vpcs(self) -> list[Item]:
        """The default VPC."""
        return [
            {
                "vpcId": VPC,
                "ownerId": self._config.account,
                "state": "available",
                "cidrBlock": "172.31.0.0/16",
                "instanceTenancy": "default",
                "isDefault": True,
                "tagSet": [],
            }
        ]

    def subnets(self) -> list[Item]:
        """Its subnets, one in each zone."""
        return [
            {
                "subnetId": subnet_id(zone),
                "vpcId": VPC,
                "ownerId": self._config.account,
                "state": "available",
                "cidrBlock": f"172.31.{16 * number}.0/20",
                "availableIpAddressCount": 4091,
                "availabilityZone": self._config.region + zone,
                "defaultForAz": True,
                "mapPublicIpOnLaunch": True,
                "tagSet": [],
            }
            for number, zone in enumerate(ZONES)
        ]

    def groups(self) -> list[Item]:
        """The default security group and, in a prepared account, one for workers."""
        groups = [self._group(DEFAULT_GROUP, "default", "default VPC security group", [])]
        if self._config.prepared:
            port = self._config.port
            opened = {
                "ipProtocol": "tcp",
                "fromPort": port,
                "toPort": port,
                "ipRanges": [{"cidrIp": "0.0.0.0/0"}],
            }
            rules = [opened] if self._config.reachable else []
            groups.append(self._group(GROUP, GROUP_NAME, "CloudBurst workers", rules))
        return groups

    def routes(self) -> list[Item]:
        """The main route table: what does not stay inside goes to the internet."""
        local = {"destinationCidrBlock": "172.31.0.0/16", "gatewayId": "local", "state": "active"}
        out = {"destinationCidrBlock": "0.0.0.0/0", "gatewayId": GATEWAY, "state": "active"}
        main = {
            "main": True,
            "routeTableId": ROUTES,
            "routeTableAssociationId": ROUTES.replace("rtb", "rtbassoc"),
            "associationState": {"state": "associated"},
        }
        return [
            {
                "routeTableId": ROUTES,
                "vpcId": VPC,
                "ownerId": self._config.account,
                "associationSet": [main],
                "routeSet": [local, out],
                "tagSet": [],
            }
        ]

    def gateways(self) -> list[Item]:
        """The internet gateway of the VPC."""
        return [
            {
                "internetGatewayId": GATEWAY,
                "ownerId": self._config.account,
                "attachmentSet": [{"vpcId": VPC, "state": "available"}],
                "tagSet": [],
            }
        ]

    def _group(self, ident: str, name: str, text: str, rules: list[Item]) -> Item:
        return {
            "groupId": ident,
            "groupName": name,
            "groupDescription": text,
            "vpcId": VPC,
            "ownerId": self._config.account,
            "ipPermissions": rules,
            "ipPermissionsEgress": [{"ipProtocol": "-1", "ipRanges": [{"cidrIp": "0.0.0.0/0"}]}],
            "tagSet": [],
        }

    @staticmethod
    def _lister(
        parameter: str, answer: str, items: Callable[[], list[Item]], key: str, code: str
    ) -> Callable[[Mapping[str, str]], Item]:
        def describe(asked: Mapping[str, str]) -> Item:
            found = {item[key]: item for item in items()}
            wanted = numbered(asked, parameter)
            for ident in wanted:
                if ident not in found:
                    raise RefusedError(f"{code}.NotFound", f"The ID '{ident}' does not exist")
            chosen = [found[ident] for ident in wanted] if wanted else list(found.values())
            return {answer: [item for item in chosen if _passes(item, asked)]}

        return describe

    def _describe_interfaces(self, asked: Mapping[str, str]) -> Item:
        wanted = numbered(asked, "NetworkInterfaceId")
        tasks = list[Task]()
        for ident in wanted:
            task = self._fleet.by_interface(ident)
            if task is None:
                raise RefusedError(
                    "InvalidNetworkInterfaceID.NotFound",
                    f"The networkInterface ID '{ident}' does not exist",
                )
            tasks.append(task)
        if not wanted:
            tasks = self._fleet.with_interfaces()
        shown = [self._interface(task) for task in tasks]
        return {"networkInterfaceSet": [item for item in shown if _passes(item, asked)]}

    def _interface(self, task: Task) -> Item:
        orders = self._fleet.life(task.id).orders
        assert task.address is not None
        association = {
            "publicIp": task.address,
            "publicDnsName": f"ec2-{task.address.replace('.', '-')}.compute-1.amazonaws.com",
            "ipOwnerId": "amazon",
        }
        groups = orders.network.get("securityGroups") or [DEFAULT_GROUP]
        shown: Item = {
            "networkInterfaceId": task.interface,
            "subnetId": orders.network["subnets"][0],
            "vpcId": VPC,
            "availabilityZone": orders.zone,
            "description": f"arn:aws:ecs:{self._config.region}:{self._config.account}:attachment/"
            + attachment_id(task),
            "ownerId": self._config.account,
            "requesterManaged": True,
            "status": "in-use",
            "interfaceType": "interface",
            "privateIpAddress": task.address,
            "groupSet": [{"groupId": group} for group in groups],
            "privateIpAddressesSet": [{"privateIpAddress": task.address, "primary": True}],
            "tagSet": [],
        }
        return shown | ({"association": association} if task.public else {})


def reachable_groups(groups: Sequence[Item], port: int) -> bool:
    """Whether one of these security groups lets anybody in at a TCP port, from wherever."""
    return any(
        rule["ipProtocol"] in {"-1", "tcp", "6"}
        and int(rule.get("fromPort", 0)) <= port <= int(rule.get("toPort", 65535))
        for group in groups
        for rule in group["ipPermissions"]
    )


def _passes(item: Item, asked: Mapping[str, str]) -> bool:
    """Whether it fits the filters that it has a member for (``vpc-id``: ``vpcId``)."""
    number = 1
    while name := asked.get(f"Filter.{number}.Name"):
        values = numbered(asked, f"Filter.{number}.Value")
        if not _fits(item, name, values):
            return False
        number += 1
    return True


def _fits(item: Item, name: str, values: Collection[str]) -> bool:
    first, *rest = name.split("-")
    member = FILTERS.get(name, first + "".join(word.title() for word in rest))
    if member in item:
        value = item[member]
        return (str(value).lower() if isinstance(value, bool) else str(value)) in values
    if name == "attachment.vpc-id":
        return any(one["vpcId"] in values for one in item["attachmentSet"])
    if name == "association.main":
        return any(str(one["main"]).lower() in values for one in item["associationSet"])
    if name.startswith(("association.", "tag:")):
        return False
    raise RefusedError("InvalidParameterValue", f"The filter '{name}' is invalid")
