"""Checks of ``docs/check_aws.py``: properties of AWS that an emulator cannot prove."""
# ruff: noqa: INP001

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import httpx
from aws_findings import Findings, keys_shown

from cloudburst.adapters.http.certificates import new_secrets
from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.errors import error_code_of
from cloudburst.aws.fargate.public_addresses import describe_public_addresses
from cloudburst.aws.fargate.run_task import Placement, RunTaskTemplate, started_by
from cloudburst.aws.fargate.task_definition import (
    RENDER_CONTAINER,
    describe_task_definition,
    parse_task_definition,
)
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.aws.setup.logs import read_logs
from cloudburst.aws.setup.resource_definitions import execution_role, tag_list
from cloudburst.concurrency import collapse_single
from cloudburst.errors import AWSError, CapacityError, CloudburstError, LaunchError, ThrottledError
from cloudburst.models.task import LaunchRequest, Protocol, TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.redaction import hide_secrets

BURST_STOP_TIMEOUT = 120.0
"""Maximum seconds to wait until the tasks of the burst have stopped."""
POLL_INTERVAL = 1.0
"""Seconds between two calls that describe a task."""
SMALL = Tier.ECONOMY
TINY = ("256", "512")
"""CPU units and MiB of the smallest task, for checks that render nothing."""
BURST = 25
"""Number of requests at once: more than the 20 a second that Fargate accepts ("AWS Fargate
throttling quotas", ECS developer guide, 2026-11)."""
HEALTH_TIMEOUT = 150.0
"""Seconds to wait for ECS's health check, which is made once a minute."""
LOG_DELAY = 30.0
"""Seconds until the lines of a container are in CloudWatch."""
FAMILY = "cloudburst-check"
"""Family of the task definition that exists only during a check."""


class Checker:
    """Checks that start tasks of one run and report what AWS does."""

    def __init__(self, aws: AWSClient, order: RunTaskTemplate, findings: Findings) -> None:
        self.run = uuid4().hex[:12]
        self._aws = aws
        self._order = order
        self._findings = findings
        self._keys: dict[str, str] = {}

    async def role_age(self) -> None:
        """Report the age of the execution role: a new role cannot be assumed for some seconds."""
        try:
            name = execution_role(self._aws.region)
            role = (await self._aws.call("iam", "get_role", RoleName=name))["Role"]
            seen = f"{time.time() - role['CreateDate'].timestamp():.0f} s"
        except CloudburstError as exc:
            seen = f"not known: {exc}"
        self._findings.note("age of the execution role at the first task", seen)

    async def token_and_address(self) -> None:
        """Repeat a request with its token, then follow a task from its request to its stop."""
        report, cluster = self._findings.report, self._order.settings.cluster
        request = self._request()
        asked = anyio.current_time()
        task = await self._launch(request)
        self._keys[task] = request.secrets.key
        again = await self._launch(request)
        report("the same token is the same task", task == again, task.rpartition("/")[2])
        other = replace(request, spec=replace(request.spec, tier=Tier.STANDARD))
        try:
            third = await self._launch(other)
            report("other parameters with that token are refused", kept=False, seen=third)
        except LaunchError as exc:
            code = error_code_of(exc)
            report(
                "other parameters with that token are refused", code == "ConflictException", code
            )

        interface_at = await self._until(
            task, lambda shown: parse_task_description(shown).network_interface is not None
        )
        early = interface_at["lastStatus"] in {"PROVISIONING", "PENDING", "ACTIVATING"}
        status = interface_at["lastStatus"]
        report("its network interface is known before it runs", early, f"in {status}")
        running = await self._until(task, lambda shown: shown["lastStatus"] == "RUNNING")
        after = f"{anyio.current_time() - asked:.0f} s after the request"
        pull = (running["pullStoppedAt"] - running["pullStartedAt"]).total_seconds()
        report("it runs", kept=True, seen=f"{after}, of which the image pull took {pull:.0f} s")
        waited = await self._healthy(running)
        report("it answers at its address", waited < math.inf, f"{waited:.1f} s later")
        for container in running["containers"]:
            self._findings.note(f"image of {container['name']}", str(container.get("image")))
        await self._healthy_for_ecs(task)

        await self._stop(task)
        stopped = await self._until(task, lambda shown: shown["lastStatus"] == "STOPPED")
        billed = (stopped["stoppedAt"] - stopped["pullStartedAt"]).total_seconds()
        report("StopTask stops it", kept=True, seen=f"billed are {max(60.0, billed):.0f} s")
        report("a stopped task has no tags left", not stopped.get("tags"), str(stopped.get("tags")))
        listed = await self._aws.collect_pages(
            "ecs",
            "list_tasks",
            "taskArns",
            cluster=cluster,
            startedBy=started_by(self.run),
            desiredStatus="STOPPED",
        )
        report("ListTasks finds a stopped task by who has started it", task in listed)
        async with read_logs(self._order.settings, task) as lines:
            count = len([line async for line in lines])
        report("its lines are in CloudWatch", count > 0, f"{count} lines")

    async def lifetime(self, seconds: float) -> None:
        """Start a task with a short lifetime and wait until it ends by itself."""
        order = replace(
            self._order, settings=self._order.settings.model_copy(update={"lifetime": seconds})
        )
        task = await self._launch(self._request(), order=order)
        stopped = await self._until(task, lambda shown: shown["lastStatus"] == "STOPPED")
        lifetime = (stopped["executionStoppedAt"] - stopped["startedAt"]).total_seconds()
        self._findings.report(
            f"a task with a lifetime of {seconds:.0f} s ends by itself",
            kept=stopped.get("stopCode") == "EssentialContainerExited",
            seen=f"{stopped.get('stopCode')} {lifetime:.0f} s after its start",
        )

    async def spot(self) -> None:
        """Start a task on Spot."""
        task = await self._launch(self._request(), provider="FARGATE_SPOT")
        shown = await self._until(
            task, lambda shown: shown["lastStatus"] not in {"PROVISIONING", "PENDING"}
        )
        provider = shown.get("capacityProviderName")
        self._findings.report("a task runs on Spot", provider == "FARGATE_SPOT", str(provider))
        await self._stop(task)

    async def burst(self) -> None:
        """Send as many requests at once as a large run; stop each task at once."""
        seen, tasks, started_at = Counter[str](), list[str](), anyio.current_time()

        async def one() -> None:
            try:
                tasks.append(await self._launch(self._request(), tiny=True))
                seen["started"] += 1
            except ThrottledError:
                seen["throttled"] += 1
            except CapacityError:
                seen["without capacity"] += 1

        with collapse_single():
            async with anyio.create_task_group() as group:
                for _ in range(BURST):
                    group.start_soon(one)
        took = anyio.current_time() - started_at
        counts = ", ".join(f"{number} {result}" for result, number in seen.items())
        self._findings.note(f"{BURST} requests at once", f"{counts}, in {took:.1f} s")
        with collapse_single():
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(self._stop, task)
        with anyio.move_on_after(BURST_STOP_TIMEOUT):
            for task in tasks:  # until then they count against the quota of the next checks
                await self._until(task, lambda shown: shown["lastStatus"] == "STOPPED")
        self._findings.report("tasks can be stopped as soon as they are started", bool(tasks))

    async def each_subnet(self) -> None:
        """Start a task in each subnet: a zone may lack Fargate, or a subnet a route."""

        async def one(subnet: str) -> None:
            promise = f"a task runs in {subnet}"
            try:
                task = await self._launch(self._request(), tiny=True, subnets=(subnet,))
                shown = await self._until(task, lambda shown: shown["lastStatus"] == "RUNNING")
                self._findings.report(promise, kept=True, seen=str(shown.get("availabilityZone")))
                await self._stop(task)
            except CloudburstError as exc:
                self._findings.report(promise, kept=False, seen=str(exc))

        with collapse_single():
            async with anyio.create_task_group() as group:
                for subnet in self._order.settings.subnets:
                    group.start_soon(one, subnet)

    async def arm64(self, reference: str) -> None:
        """Start a task of the task definition for ARM64."""
        definition = await describe_task_definition(
            self._aws, reference, protocol=self._order.settings.protocol
        )
        order = replace(self._order, definition=definition)
        task = await self._launch(self._request(), order=order)
        running = await self._until(task, lambda shown: shown["lastStatus"] == "RUNNING")
        waited = await self._healthy(running)
        self._findings.report("a task on ARM64 answers", waited < math.inf, f"{waited:.1f} s later")
        await self._stop(task)

    async def processor(self) -> None:
        """Report the processor of a task, with a container that prints it and exits."""
        async with self._printing("cat", "/proc/cpuinfo") as order:
            task = await self._launch(self._request(), order=order, tiny=True)
            await self._until(
                task, lambda shown: shown["lastStatus"] in {"RUNNING", "DEPROVISIONING", "STOPPED"}
            )
            await anyio.sleep(LOG_DELAY)
            async with read_logs(self._order.settings, task) as lines:
                text = [line.text async for line in lines]
            await self._stop(task)
        found = [line.partition(":")[2].strip() for line in text if "model name" in line]
        self._findings.note("processor", found[0] if found else "not in its log")

    async def cloudtrail(self, minutes: float) -> None:
        """Check that the records of RunTask, which take some minutes, do not contain task keys."""
        promise, now = "CloudTrail does not record the keys of tasks", datetime.now(UTC)
        with anyio.move_on_after(minutes * 60):
            while True:
                events = await self._aws.collect_pages(
                    "cloudtrail",
                    "lookup_events",
                    "Events",
                    LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "RunTask"}],
                    StartTime=now - timedelta(hours=2),
                )
                shown = keys_shown(events, self._keys)
                if shown is not None:
                    self._findings.report(promise, kept=not shown)
                    return
                await anyio.sleep(30)
        self._findings.note(promise, f"no record within {minutes:g} minutes")

    @asynccontextmanager
    async def _printing(self, *command: str) -> AsyncIterator[RunTaskTemplate]:
        """Register a task definition with the same image that runs another command."""
        arn = self._order.definition.arn
        answer = await self._aws.call("ecs", "describe_task_definition", taskDefinition=arn)
        known = answer["taskDefinition"]
        container = {
            "name": RENDER_CONTAINER,
            "image": self._order.definition.image,
            "entryPoint": list(command[:1]),
            "command": list(command[1:]),
            "logConfiguration": known["containerDefinitions"][0]["logConfiguration"],
        }
        kept = ("executionRoleArn", "networkMode", "requiresCompatibilities", "runtimePlatform")
        made = await self._aws.call(
            "ecs",
            "register_task_definition",
            family=FAMILY,
            cpu=TINY[0],
            memory=TINY[1],
            containerDefinitions=[container],
            tags=tag_list(),
            **{name: known[name] for name in kept if name in known},
        )
        described = made["taskDefinition"]
        try:
            yield replace(self._order, definition=parse_task_definition(described, protocol=None))
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(30):
                await self._aws.call(
                    "ecs",
                    "deregister_task_definition",
                    taskDefinition=described["taskDefinitionArn"],
                )

    async def _healthy_for_ecs(self, task: str) -> None:
        """Wait for the result of ECS's own health check, the command in the task definition."""
        status = "UNKNOWN"
        with anyio.move_on_after(HEALTH_TIMEOUT):
            shown = await self._until(
                task, lambda shown: shown.get("healthStatus") not in {None, "UNKNOWN"}
            )
            status = str(shown["healthStatus"])
        self._findings.report("its health check passes", status == "HEALTHY", status)

    async def _launch(
        self,
        request: LaunchRequest,
        *,
        order: RunTaskTemplate | None = None,
        provider: str | None = None,
        subnets: Sequence[str] = (),
        tiny: bool = False,
    ) -> str:
        order, tier = order or self._order, request.spec.tier
        place = Placement(
            option=0,
            subnets=tuple(subnets) or order.settings.subnets,
            provider=provider,
            vcpu=tier.vcpu,
            memory_gb=tier.memory_gb,
        )
        parameters = order.parameters(request, place)
        if tiny:
            parameters["overrides"] |= {"cpu": TINY[0], "memory": TINY[1]}
        answer = await self._aws.call("ecs", "run_task", **parameters)
        if answer["failures"]:
            raise CapacityError(str(answer["failures"]))
        return str(answer["tasks"][0]["taskArn"])

    async def _stop(self, task: str) -> None:
        cluster = self._order.settings.cluster
        for _ in range(5):  # ECS may not find a task yet that it has just accepted
            try:
                await self._aws.call(
                    "ecs", "stop_task", cluster=cluster, task=task, reason="checked"
                )
            except AWSError as error:
                if "not found" not in str(error):
                    raise
                await anyio.sleep(1)
            else:
                return

    async def _until(self, task: str, condition: Any) -> dict[str, Any]:
        """Describe a task until a condition is true; raise `LaunchError` if it stops first."""
        while True:
            answer = await self._aws.call(
                "ecs",
                "describe_tasks",
                cluster=self._order.settings.cluster,
                tasks=[task],
                include=["TAGS"],
            )
            for shown in answer["tasks"]:  # empty while ECS does not find it yet
                found: dict[str, Any] = shown
                if condition(found):
                    return found
                if found["lastStatus"] == "STOPPED":
                    raise LaunchError(
                        f"the task has stopped: {parse_task_description(found).reason}"
                    )
            await anyio.sleep(POLL_INTERVAL)

    async def _healthy(self, running: dict[str, Any]) -> float:
        """Return the seconds until a health check succeeds; infinity after a minute."""
        seen, public = parse_task_description(running), self._order.settings.public_address
        interface = seen.network_interface or ""
        host = (await describe_public_addresses(self._aws, [interface])).get(interface)
        host = host if public else seen.private_ip
        native = self._order.definition.protocol is Protocol.NATIVE
        scheme = "https" if native else "http"
        url = f"{scheme}://{host}:{self._order.definition.port}/health"
        started_at = anyio.current_time()
        # No secret is sent here; the check that renders a scene verifies the certificate.
        async with httpx.AsyncClient(verify=False, timeout=3.0, trust_env=False) as http:  # noqa: S501
            while anyio.current_time() < started_at + 60:
                try:
                    if (await http.get(url)).status_code == httpx.codes.OK:
                        return anyio.current_time() - started_at
                except httpx.HTTPError:
                    pass
                await anyio.sleep(0.25)
        return math.inf

    def _request(self) -> LaunchRequest:
        secrets = new_secrets()
        hide_secrets(secrets.key, secrets.private_key)
        spec = TaskSpec(tier=SMALL, run=self.run, scene="check_aws")
        return LaunchRequest(spec=spec, token=uuid4().hex, secrets=secrets)
