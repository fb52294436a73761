"""Passes on to moto what the emulator does not know.

moto makes up the ids of its default VPC anew each time, and the emulator told its own before:
they are exchanged on the way, in both directions.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from aiohttp import ClientSession, web
from anyio import Lock, fail_after

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.containers import PROGRAMS, Containers
from cloudburst.testing.emulator.ec2 import (
    DEFAULT_GROUP,
    GATEWAY,
    GROUP,
    GROUP_NAME,
    ROUTES,
    VPC,
    ZONES,
    subnet_id,
)

SECONDS_TO_START = 60.0
NEEDED = ("PATH", "HOME")
"""Of this process's environment; above all no credentials."""
GIVEN = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
"""AWS's own policies, of which an execution role needs one."""
FROM_CALLER = {"content-length", "transfer-encoding", "connection", "expect"}
FROM_MOTO = {"content-length", "transfer-encoding", "connection", "server", "date"}
"""Headers that belong to one hop."""


def moto_is_installed() -> bool:
    """Whether ``moto[server]`` is."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask"))


EXECUTION_ROLE = "cloudburst-execution-role"
"""The prepared one, which the prepared task definition names."""
EXECUTION_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
"""Who may assume the prepared execution role."""


class Moto:
    """Starts moto's server when it is first needed."""

    def __init__(self, config: EmulatorConfig, containers: Containers) -> None:
        self._config = config
        self._containers = containers
        self._lock = Lock()
        self._url = ""
        self._session: ClientSession | None = None
        self._aliases: dict[str, str] = {}
        """Its ids by ours."""

    @property
    def running(self) -> bool:
        """Whether it has been needed already."""
        return bool(self._url)

    async def start(self) -> None:
        """Start it, with a default VPC like the emulator's own."""
        async with self._lock:
            if self._url:
                return
            listener = _PortListener()
            with fail_after(SECONDS_TO_START):
                self._containers.start(
                    "moto",
                    [sys.executable, str(PROGRAMS / "moto_server.py")],
                    _environment(),
                    listener,
                )
                port = await listener.port
                self._session = ClientSession(auto_decompress=False)
                url = f"http://127.0.0.1:{port}"
                await self._furnish(url)
                self._url = url

    async def close(self) -> None:
        """Close the line to it."""
        if self._session:
            await self._session.close()

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        """Its answer to a call."""
        await self.start()
        assert self._session is not None
        for ours, its in self._aliases.items():
            body = body.replace(ours.encode(), its.encode())
        headers = {k: v for k, v in request.headers.items() if k.lower() not in FROM_CALLER}
        async with self._session.request(
            request.method,
            self._url + request.raw_path,
            data=body,
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
        ) as got:
            content = await got.read()
            for ours, its in self._aliases.items():
                content = content.replace(its.encode(), ours.encode())
            dropped = FROM_MOTO - ({"content-length"} if request.method == "HEAD" else set())
            kept = {k: v for k, v in got.headers.items() if k.lower() not in dropped}
            sent = None if request.method == "HEAD" else content
            return web.Response(body=sent, status=got.status, headers=kept)

    async def describe(
        self, operation: str, parameter: str, idents: Sequence[str]
    ) -> list[ET.Element] | None:
        """Items that EC2 knows by these ids; ``None`` when one of them does not exist."""
        query = {f"{parameter}.{n + 1}": self._aliases.get(i, i) for n, i in enumerate(idents)}
        status, found = await self._ec2(self._url, operation, query)
        return None if status != 200 else [item for one in found for item in one.iter("item")]

    async def _furnish(self, url: str) -> None:
        """Give its VPC a way out, as AWS's default one has, and what is prepared beside ECS."""

        async def first(operation: str, wanted: str, **query: str) -> list[str]:
            _, found = await self._ec2(url, operation, query)
            return [text.text or "" for one in found for text in one.iter(wanted)]

        aliases = {VPC: (await first("DescribeVpcs", "vpcId"))[0]}
        vpc = aliases[VPC]
        subnets = await first("DescribeSubnets", "subnetId")
        aliases |= {subnet_id(zone): its for zone, its in zip(ZONES, subnets, strict=False)}
        aliases[DEFAULT_GROUP] = (await first("DescribeSecurityGroups", "groupId"))[0]
        aliases[ROUTES] = (await first("DescribeRouteTables", "routeTableId"))[0]
        aliases[GATEWAY] = (await first("CreateInternetGateway", "internetGatewayId"))[0]
        await first(
            "AttachInternetGateway", "return", InternetGatewayId=aliases[GATEWAY], VpcId=vpc
        )
        await first(
            "CreateRoute",
            "return",
            RouteTableId=aliases[ROUTES],
            GatewayId=aliases[GATEWAY],
            DestinationCidrBlock="0.0.0.0/0",
        )
        if self._config.prepared:
            made = {"GroupName": GROUP_NAME, "GroupDescription": "CloudBurst workers"}
            aliases[GROUP] = (await first("CreateSecurityGroup", "groupId", VpcId=vpc, **made))[0]
            if self._config.reachable:
                rule = {
                    "GroupId": aliases[GROUP],
                    "IpPermissions.1.IpProtocol": "tcp",
                    "IpPermissions.1.FromPort": str(self._config.port),
                    "IpPermissions.1.ToPort": str(self._config.port),
                    "IpPermissions.1.IpRanges.1.CidrIp": "0.0.0.0/0",
                }
                await first("AuthorizeSecurityGroupIngress", "return", **rule)
            role = {"RoleName": EXECUTION_ROLE}
            await self._iam(
                url, "CreateRole", {**role, "AssumeRolePolicyDocument": json.dumps(TRUST)}
            )
            await self._iam(url, "AttachRolePolicy", {**role, "PolicyArn": EXECUTION_POLICY})
        self._aliases = aliases

    async def _ec2(
        self, url: str, operation: str, query: Mapping[str, str]
    ) -> tuple[int, list[ET.Element]]:
        return await self._ask(url, "ec2", {"Action": operation, "Version": "2016-11-15", **query})

    async def _iam(self, url: str, operation: str, query: Mapping[str, str]) -> None:
        await self._ask(url, "iam", {"Action": operation, "Version": "2010-05-08", **query})

    async def _ask(
        self, url: str, service: str, query: Mapping[str, str]
    ) -> tuple[int, list[ET.Element]]:
        """Status, and the elements of the answer without their namespace."""
        assert self._session is not None
        body = urlencode(query)
        scope = f"EMULATOR/20260101/{self._config.region}/{service}/aws4_request"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
        }
        async with self._session.post(url, data=body.encode(), headers=headers) as got:
            root = ET.fromstring(await got.text())  # noqa: S314 - from our own process
            for element in root.iter():
                element.tag = element.tag.rpartition("}")[2]
            return got.status, list(root)


class _PortListener:
    """Waits for the line that says the port."""

    def __init__(self) -> None:
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._lines: list[str] = []

    def started(self, pid: int) -> None:
        """Nothing to do."""

    def wrote(self, lines: Sequence[str]) -> None:
        for line in lines:
            word, _, number = line.partition(" ")
            if word == "port" and not self.port.done():
                self.port.set_result(int(number))
        if not self.port.done():
            self._lines += lines

    def ended(self, code: int) -> None:
        if not self.port.done():
            text = "\n".join(self._lines[-20:])
            self.port.set_exception(RuntimeError(f"moto ended with {code}:\n{text}"))


def _environment() -> dict[str, str]:
    return {key: os.environ[key] for key in NEEDED if key in os.environ} | GIVEN


def text_of(item: ET.Element, name: str) -> str:
    """The text of a member of an item."""
    return item.findtext(name) or ""


def rules_of(groups: Sequence[ET.Element]) -> list[dict[str, Any]]:
    """Security groups with the members that `ec2.reachable_groups` looks at."""
    found = list[dict[str, Any]]()
    for group in groups:
        rules = [
            {member.tag: member.text for member in rule if member.text}
            for rule in group.findall("ipPermissions/item")
        ]
        found.append({"ipPermissions": rules})
    return found
