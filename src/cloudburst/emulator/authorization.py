"""Authorization of API calls: the permissions that each call needs, and their check."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

from aiohttp import web

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access, values_of
from cloudburst.emulator.protocols import ApiCall
from cloudburst.emulator.roles import named_roles
from cloudburst.emulator.services import EmulatedAccount

# Resources of operations by service: ends of ARNs, with names of parameters. The first one whose
# parameters a call has is its resource; if there is none, the operation has no resource. Sources:
# "Actions, resources, and condition keys" of each service, Service Authorization Reference, and the
# messages of AWS (2026-11).
RESOURCES: Mapping[str, str] = {
    "ecs": "{resourceArn} task/{cluster}/{tasks} task/{cluster}/{task} cluster/{cluster} "
    "cluster/{clusters} cluster/{clusterName}",
    "ec2": "security-group/{GroupId}",
    "ecr": "{resourceArn} repository/{repositoryName} repository/{repositoryNames}",
    "iam": "{PolicySourceArn} role/{RoleName}",
    "logs": "{resourceArn} log-group:{logGroupName}:log-stream:{logStreamName} "
    "log-group:{logGroupName}:log-stream:",
    "sts": "{RoleArn}",
}
# Other resources than `RESOURCES` says: of an operation, which needs a permission for all of them,
# and of the permission to tag what an operation creates.
EXCEPTIONS: Mapping[str, str] = {
    "ec2:CreateSecurityGroup": "security-group/* vpc/{VpcId}",
    "ecs:ListTasks": "",
    "ecs:RunTask": "{taskDefinitionArn}",
    "iam:CreateServiceLinkedRole": "role/aws-service-role/{AWSServiceName}/AWSServiceRoleForECS",
    "RunTask with tags": "task/{cluster}/*",
    "RegisterTaskDefinition with tags": "task-definition/{family}:*",
}
# Condition keys by the parameter that is their value.
CONDITION_KEYS: Mapping[str, str] = {
    "AWSServiceName": "iam:AWSServiceName",
    "PermissionsBoundary": "iam:PermissionsBoundary",
    "PolicyArn": "iam:PolicyARN",
    "enableExecuteCommand": "ecs:enable-execute-command",
}
# Pattern of the ARN or id of a new resource in a response; the group is its name.
NEW_RESOURCE = re.compile(r'\b(?:taskArn|repositoryArn|Arn|groupId)"?[:>] ?"?(?:[^"<]*/)?([^"<]+)')
NAME = re.compile(r"\{(\w+)\}")
TAG_KEY = re.compile(r"(Tags\.member|TagSpecification\.1\.Tag)\.\d+\.Key")


class Authorization:
    """Check of API calls, except for those of S3, against the policies of their callers."""

    def __init__(self, config: EmulatorConfig, account: EmulatedAccount) -> None:
        self._config = config
        self._account = account
        self._created: dict[str, float] = {}
        """Times at which resources were created, by name or id."""

    async def check(self, call: ApiCall) -> None:
        """Check that the access key of a call is valid and may make the call."""
        identity = self._account.identity
        identity.check_expiry(call.key, call.service, call.operation)
        if identity.is_unlimited(call.key):
            return
        with suppress(ApiError, KeyError):  # for RunTask
            definition = self._account.definitions.find(call.parameters["taskDefinition"])
            call = replace(call, parameters={**definition, **call.parameters})
        for needed in self._accesses(call):
            tags = await self._tags(needed.resource)
            seen = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
            access = replace(needed, context={**needed.context, **seen})
            identity.check(call.key, access, call.service)

    def record(self, call: ApiCall, response: web.Response) -> None:
        """Record which resources a successful call has created."""
        if call.operation.startswith(("Create", "RunTask")):
            found = NEW_RESOURCE.findall(response.text or "")
            self._created |= dict.fromkeys(found, time.monotonic())

    def _accesses(self, call: ApiCall) -> Iterator[Access]:
        service, operation, tags = call.service, call.operation, _tags_in(call.parameters)
        requested = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        context = {**self._context(call), **requested}
        resources = self._arns(EXCEPTIONS.get(f"{service}:{operation}"), call)
        for resource in resources:
            yield Access(action=f"{service}:{operation}", resource=resource, context=context)
        if tags and operation.startswith(("Create", "Register", "Run")):
            tagged = EXCEPTIONS.get(f"{operation} with tags")
            yield Access(
                action={"ec2": "ec2:CreateTags", "iam": "iam:TagRole"}.get(service)
                or f"{service}:TagResource",
                resource=(self._arns(tagged, call) if tagged else resources)[0],
                context={**requested, f"{service}:CreateAction": operation},
            )
        if operation in {"RegisterTaskDefinition", "RunTask"}:
            overrides: Mapping[str, Any] = call.parameters.get("overrides") or {}
            passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
            for role in named_roles({**call.parameters, **overrides}):
                yield Access(action="iam:PassRole", resource=role, context=passed)

    def _arns(self, patterns: str | None, call: ApiCall) -> list[str]:
        if patterns is None:
            known = RESOURCES.get(call.service, "").split()
            fits = (one for one in known if {*NAME.findall(one)} <= call.parameters.keys())
            patterns = next(fits, "")
        found = list[str]()
        for pattern in patterns.split():
            names, whole = NAME.findall(pattern), pattern.startswith("{")
            for values in product(*(values_of(call.parameters.get(name, "*")) for name in names)):
                # Most names may also be given as an ARN.
                texts = [str(one) if whole else re.sub("^arn:.*/", "", str(one)) for one in values]
                end = pattern.format(**dict(zip(names, texts, strict=True)))
                found.append(end if whole else self._start(call.service) + end)
        return found or ["*"]

    def _start(self, service: str) -> str:
        region = "" if service == "iam" else self._config.region
        return f"arn:aws:{service}:{region}:{self._config.account}:"

    def _context(self, call: ApiCall) -> dict[str, Any]:
        parameters = call.parameters
        context: dict[str, Any] = {"aws:RequestedRegion": self._config.region}
        details = self._account.roles.details(parameters.get("RoleName", ""))
        if details and details.boundary:
            context["iam:PermissionsBoundary"] = details.boundary
        for name in CONDITION_KEYS.keys() & parameters.keys():
            value = parameters[name]
            context[CONDITION_KEYS[name]] = value if isinstance(value, str) else json.dumps(value)
        if "cluster" in parameters:
            (context["ecs:cluster"],) = self._arns("cluster/{cluster}", call)
        if strategy := parameters.get("capacityProviderStrategy"):
            start = f"{self._start('ecs')}capacity-provider/"
            context["ecs:capacity-provider"] = [start + one["capacityProvider"] for one in strategy]
        return context

    async def _tags(self, resource: str) -> Mapping[str, str]:
        account, name = self._account, resource.rpartition("/")[2]
        if time.monotonic() - self._created.get(name, -math.inf) < self._config.tag_lag:
            return {}
        wanted = ("ListTagsForResource", {"resourceArn": resource})
        with suppress(ApiError):
            match resource.split(":")[2:3]:
                case ["iam"] if details := account.roles.details(name):
                    return details.tags
                case ["ec2"] if account.moto and account.moto.running:
                    return await account.moto.security_group_tags(name)
                case ["ecr"] if account.ecr:
                    return _tags_in(await account.ecr.answer(*wanted))
                case ["ecs"]:
                    return _tags_in(account.tasks.operations[wanted[0]](wanted[1]))
                case _:
                    pass
        return {}


def _tags_in(members: Mapping[str, Any]) -> dict[str, str]:
    tags = members.get("tags") or ()
    if isinstance(tags, Mapping):
        return {**tags}
    found = {tag.get("key") or tag["Key"]: tag.get("value") or tag.get("Value", "") for tag in tags}
    numbered = [name for name in members if TAG_KEY.fullmatch(name)]
    return found | {members[name]: members.get(f"{name[:-3]}Value", "") for name in numbered}
