"""Server of moto, a library that mocks AWS, for operations that the emulator does not implement.

moto gives its default VPC new ids at each start, but callers know the VPC by the emulator's ids.
The ids are therefore translated in requests and responses.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlencode
from xml.etree import ElementTree as ET

from aiohttp import ClientSession, UnixConnector, web
from anyio import Lock, fail_after

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.containers import Containers
from cloudburst.emulator.ec2 import (
    DEFAULT_GROUP_ID,
    INTERNET_GATEWAY_ID,
    NAT_GATEWAY_ID,
    ROUTE_TABLE_ID,
    VPC_ID,
    WORKER_GROUP_ID,
    WORKER_GROUP_NAME,
    ZONE_LETTERS,
    subnet_id,
)
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.local_servers import AddressListener, forward
from cloudburst.emulator.policies import Document
from cloudburst.emulator.roles import RoleDetails, execution_role_name

MOTO_START_TIMEOUT = 60.0
# Line in which moto's server names its socket. It has no port, because it checks no signatures.
LISTENING = re.compile(r"Running on unix://(.*)")
URL = "http://moto"
# Environment variables that moto's server inherits; none of them contains credentials.
MOTO_VARIABLES = ("PATH", "HOME")
# Environment variables that configure moto: it loads AWS's managed policies, because an execution
# role needs one of these policies.
MOTO_SETTINGS = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}


def moto_is_installed() -> bool:
    """Return whether ``moto[server]`` is installed."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask"))


EXECUTION_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
# Trust policy of the task execution role: ECS tasks may assume the role.
EXECUTION_ROLE_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class MotoServer:
    """Server of moto, which is started in its own process when first needed."""

    def __init__(self, config: EmulatorConfig, containers: Containers, folder: Path) -> None:
        self._config = config
        self._containers = containers
        self._lock = Lock()
        self._socket = folder / "moto"
        self.running = False
        """True once the server has started."""
        self._session: ClientSession | None = None
        self._aliases: dict[str, str] = {}
        """Ids of resources in moto, by the id that callers use for the same resource."""

    async def start(self) -> None:
        """Start the server and set up a default VPC like the emulator's own.

        If the server is already running, this has no effect.
        """
        async with self._lock:
            if self.running:
                return
            listener = AddressListener("moto", LISTENING)
            with fail_after(MOTO_START_TIMEOUT):
                self._containers.start(
                    "moto",
                    [sys.executable, "-m", "moto.server", "-H", f"unix://{self._socket}"],
                    _environment(),
                    listener,
                )
                await listener.address
                connector = UnixConnector(str(self._socket))
                self._session = ClientSession(connector=connector, auto_decompress=False)
                await self._set_up_account()
                self.running = True

    async def close(self) -> None:
        """Close the connections to the server."""
        if self._session:
            await self._session.close()

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        """Forward a call to moto, which is started if necessary, and return moto's response."""
        await self.start()
        assert self._session is not None
        response = await forward(self._session, request, URL, self._with_its_ids(body))
        content = response.body
        if isinstance(content, bytes):
            content = self._with_our_ids(content)
            if b"<subnetSet>" in content:
                for zone, mode in self._config.block_public_access.items():
                    ident = f"<subnetId>{subnet_id(zone)}</subnetId>"
                    content = content.replace(ident.encode(), f"{ident}{_blocked(mode)}".encode())
            response.body = content
        return response

    async def describe(self, operation: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return EC2 resources in the form in which `EC2.operations` describe them."""
        status, found = await self._ec2(operation, query)
        if status != HTTPStatus.OK:
            raise ApiError("NotFound", f"{operation}: status {status}")
        return [_plain(item) for one in found for item in one.findall("item")]

    async def security_group_tags(self, ident: str) -> dict[str, str]:
        """Return the tags of a security group."""
        [group] = await self.describe("DescribeSecurityGroups", {"GroupId.1": ident})
        return {tag["key"]: tag["value"] for tag in group["tagSet"]}

    async def role_details(self, name: str) -> RoleDetails | None:
        """Return tags and policies of a role; ``None`` if it does not exist."""
        query = {"Filter.member.1": "Role"}
        found = await self._iam("GetAccountAuthorizationDetails", query)
        for role in found[0].iterfind(f"RoleDetailList/member[RoleName='{name}']"):
            inline = role.iterfind("RolePolicyList/member/PolicyDocument")
            policies = [json.loads(unquote(document.text or "")) for document in inline]
            attached = role.iterfind("AttachedManagedPolicies/member/PolicyArn")
            policies += [await self._managed_policy(arn.text or "") for arn in attached]
            boundary = text_of(role, "PermissionsBoundary/PermissionsBoundaryArn")
            limits = [[await self._managed_policy(boundary)]] if boundary else []
            tags = {text_of(t, "Key"): text_of(t, "Value") for t in role.iterfind("Tags/member")}
            return RoleDetails(tags=tags, boundary=boundary, documents=[policies, *limits])
        return None

    async def _managed_policy(self, arn: str) -> Document:
        query = {"PolicyArn": arn, "VersionId": "v1"}
        found = await self._iam("GetPolicyVersion", query)
        document = found[0].findtext("PolicyVersion/Document") or '{"Statement": []}'
        return cast("Document", json.loads(document))

    def _with_its_ids(self, content: bytes) -> bytes:
        for ours, its in self._aliases.items():
            content = content.replace(ours.encode(), its.encode())
        return content

    def _with_our_ids(self, content: bytes) -> bytes:
        for ours, its in self._aliases.items():
            content = content.replace(its.encode(), ours.encode())
        return content

    async def _set_up_account(self) -> None:

        async def alias(ours: Iterable[str], operation: str, member: str, **query: str) -> None:
            _, found = await self._ec2(operation, query)
            theirs = (text.text or "" for one in found for text in one.iter(member))
            self._aliases |= dict(zip(ours, theirs, strict=False))

        await alias([VPC_ID], "DescribeVpcs", "vpcId")
        await alias(map(subnet_id, ZONE_LETTERS), "DescribeSubnets", "subnetId")
        await alias([DEFAULT_GROUP_ID], "DescribeSecurityGroups", "groupId")
        await alias([ROUTE_TABLE_ID], "DescribeRouteTables", "routeTableId")
        await alias([INTERNET_GATEWAY_ID], "CreateInternetGateway", "internetGatewayId")
        attached = {"InternetGatewayId": INTERNET_GATEWAY_ID, "VpcId": VPC_ID}
        await self._ec2("AttachInternetGateway", attached)
        route = {"RouteTableId": ROUTE_TABLE_ID, "DestinationCidrBlock": "0.0.0.0/0"}
        match self._config.way_out:
            case "internet gateway":
                await self._ec2("CreateRoute", {**route, "GatewayId": INTERNET_GATEWAY_ID})
            case "nat":
                subnet = subnet_id("a")
                await alias([NAT_GATEWAY_ID], "CreateNatGateway", "natGatewayId", SubnetId=subnet)
                await self._ec2("CreateRoute", {**route, "NatGatewayId": NAT_GATEWAY_ID})
            case "none":
                pass
        if self._config.prepared:
            group = {"GroupName": WORKER_GROUP_NAME, "GroupDescription": "CloudBurst workers"}
            await alias([WORKER_GROUP_ID], "CreateSecurityGroup", "groupId", VpcId=VPC_ID, **group)
            if self._config.worker_sources:
                permission = "IpPermissions.1"
                rule = {
                    "GroupId": WORKER_GROUP_ID,
                    f"{permission}.IpProtocol": "tcp",
                    f"{permission}.FromPort": str(self._config.port),
                    f"{permission}.ToPort": str(self._config.port),
                    **{
                        f"{permission}.IpRanges.{number}.CidrIp": source
                        for number, source in enumerate(self._config.worker_sources, 1)
                    },
                }
                await self._ec2("AuthorizeSecurityGroupIngress", rule)
            role = {"RoleName": execution_role_name(self._config.region)}
            await self._iam(
                "CreateRole",
                {**role, "AssumeRolePolicyDocument": json.dumps(EXECUTION_ROLE_TRUST)},
            )
            await self._iam("AttachRolePolicy", {**role, "PolicyArn": EXECUTION_POLICY})

    async def _ec2(self, operation: str, query: Mapping[str, str]) -> tuple[int, list[ET.Element]]:
        return await self._ask("ec2", {"Action": operation, "Version": "2016-11-15", **query})

    async def _iam(self, operation: str, query: Mapping[str, str]) -> list[ET.Element]:
        query = {"Action": operation, "Version": "2010-05-08", **query}
        return (await self._ask("iam", query))[1]

    async def _ask(self, service: str, query: Mapping[str, str]) -> tuple[int, list[ET.Element]]:
        assert self._session is not None
        body = self._with_its_ids(urlencode(query).encode())
        scope = f"EMULATOR/20260101/{self._config.region}/{service}/aws4_request"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
        }
        async with self._session.post(URL, data=body, headers=headers) as got:
            root = ET.fromstring(self._with_our_ids(await got.read()))  # noqa: S314 - the XML is from our own process
            for element in root.iter():
                element.tag = element.tag.rpartition("}")[2]
            return got.status, list(root)


def _blocked(mode: str) -> str:
    state = f"<internetGatewayBlockMode>{mode}</internetGatewayBlockMode>"
    return f"<blockPublicAccessStates>{state}</blockPublicAccessStates>"


def _environment() -> dict[str, str]:
    return {key: os.environ[key] for key in MOTO_VARIABLES if key in os.environ} | MOTO_SETTINGS


def text_of(item: ET.Element, name: str) -> str:
    """Return the text of a child of an XML element; empty if the element has no such child."""
    return item.findtext(name) or ""


def _plain(item: ET.Element) -> Any:
    children = list(item)
    if any(child.tag == "item" for child in children):
        return [_plain(child) for child in children]
    return {child.tag: _plain(child) for child in children} or item.text or ""
