"""Checks on an account of yours what an emulator cannot prove, for less than five cents.

    python docs/check_aws.py [--yes] [--no-spot] [--lifetime SECONDS]

It reads .env in the current folder, as ``cloudburst init`` writes it, tells what it will start and
what that costs at most, and asks. Then it starts four small tasks one after the other, and says of
each promise whether AWS keeps it. Whatever happens, every task is stopped on the way out. Exits
with 1 when a promise is not kept.
"""
# ruff: noqa: INP001

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import httpx
from PIL import Image
from rich.console import Console

from cloudburst import Client, Limits, Settings, fargate
from cloudburst.account.examination import State, doctor
from cloudburst.account.logs import read_logs
from cloudburst.account.prices import load_prices
from cloudburst.account.sweep import cleanup
from cloudburst.adapters.aws.definition import describe_definition
from cloudburst.adapters.aws.network import public_addresses
from cloudburst.adapters.aws.redaction import hide
from cloudburst.adapters.aws.refusals import code_of
from cloudburst.adapters.aws.runtask import Order, Place
from cloudburst.adapters.aws.session import AWS, open_aws
from cloudburst.adapters.aws.sight import sight
from cloudburst.adapters.http.certificates import new_secrets
from cloudburst.errors import CloudburstError, LaunchError
from cloudburst.models.policy import Timeouts
from cloudburst.models.task import LaunchRequest, Protocol, TaskSpec
from cloudburst.models.tier import Tier

LOOK = 1.0
"""Seconds between two looks at a task."""
MOST = 420.0
"""Seconds that one task may take, from its request to its end; the estimate counts all of them."""
CENTS = Decimal("0.05")
SMALL = Tier.ECONOMY
LIFETIME = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to check."""

    yes: bool = False
    spot: bool = True
    lifetime: float = LIFETIME
    """Seconds after which a task must end by itself."""


class Findings:
    """Promises, and whether they are kept."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.broken = 0

    def tell(self, promise: str, kept: bool, seen: str = "") -> None:
        """One of them."""
        self.broken += not kept
        sign = "[green]kept[/]  " if kept else "[red]BROKEN[/]"
        self.console.print(f"{sign} {promise}" + (f": {seen}" if seen else ""), highlight=False)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One task's worth of them; what stops it does not stop the next."""
        self.console.print(f"\n[bold]{name}[/]")
        try:
            with anyio.fail_after(MOST):
                yield
        except (CloudburstError, TimeoutError, httpx.HTTPError) as exc:
            self.tell(name, kept=False, seen=f"{type(exc).__name__}: {exc}")


class Checker:
    """Starts tasks of one run and looks at them."""

    def __init__(self, aws: AWS, order: Order, findings: Findings) -> None:
        self.run = uuid4().hex[:12]
        self._aws = aws
        self._order = order
        self._findings = findings

    async def token_and_address(self) -> None:
        """The same request twice; then the life of one task, as AWS tells it."""
        tell = self._findings.tell
        request = self._request()
        asked = anyio.current_time()
        task = await self._launch(request)
        again = await self._launch(request)
        tell("the same token is the same task", task == again, task.rpartition("/")[2])
        other = replace(request, spec=replace(request.spec, tier=Tier.STANDARD))
        try:
            third = await self._launch(other)
            tell("other parameters with that token are refused", kept=False, seen=third)
        except LaunchError as exc:
            code = code_of(exc)
            tell("other parameters with that token are refused", code == "ConflictException", code)

        interface_at = await self._until(task, lambda shown: sight(shown).interface is not None)
        early = interface_at["lastStatus"] in {"PROVISIONING", "PENDING", "ACTIVATING"}
        status = interface_at["lastStatus"]
        tell("its network interface is known before it runs", early, f"in {status}")
        running = await self._until(task, lambda shown: shown["lastStatus"] == "RUNNING")
        told = f"{anyio.current_time() - asked:.0f} s after the request"
        pull = (running["pullStoppedAt"] - running["pullStartedAt"]).total_seconds()
        tell("it runs", kept=True, seen=f"{told}, of which the image pull took {pull:.0f} s")
        waited = await self._healthy(running)
        tell("it answers at its address", waited < math.inf, f"{waited:.1f} s later")

        await self._stop(task)
        stopped = await self._until(task, lambda shown: shown["lastStatus"] == "STOPPED")
        billed = (stopped["stoppedAt"] - stopped["pullStartedAt"]).total_seconds()
        tell("StopTask stops it", kept=True, seen=f"billed are {max(60.0, billed):.0f} s")
        tell("a stopped task has no tags left", not stopped.get("tags"), str(stopped.get("tags")))
        async with read_logs(self._order.settings, task) as lines:
            count = len([line async for line in lines])
        tell("its lines are in CloudWatch", count > 0, f"{count} lines")

    async def lifetime(self, seconds: float) -> None:
        """A task that nobody stops."""
        order = replace(
            self._order, settings=self._order.settings.model_copy(update={"lifetime": seconds})
        )
        task = await self._launch(self._request(), order=order)
        stopped = await self._until(task, lambda shown: shown["lastStatus"] == "STOPPED")
        lived = (stopped["executionStoppedAt"] - stopped["startedAt"]).total_seconds()
        self._findings.tell(
            f"a task with {seconds:.0f} s to live ends by itself",
            kept=stopped.get("stopCode") == "EssentialContainerExited",
            seen=f"{stopped.get('stopCode')} {lived:.0f} s after it ran",
        )

    async def spot(self) -> None:
        """A task on Spot."""
        task = await self._launch(self._request(), provider="FARGATE_SPOT")
        shown = await self._until(
            task, lambda shown: shown["lastStatus"] not in {"PROVISIONING", "PENDING"}
        )
        provider = shown.get("capacityProviderName")
        self._findings.tell("a task runs on Spot", provider == "FARGATE_SPOT", str(provider))
        await self._stop(task)

    async def _launch(
        self, request: LaunchRequest, *, order: Order | None = None, provider: str | None = None
    ) -> str:
        order, tier = order or self._order, request.spec.tier
        place = Place(
            rung=0,
            subnets=order.settings.subnets,
            provider=provider,
            vcpu=tier.vcpu,
            memory_gb=tier.memory_gb,
        )
        parameters = order.parameters(request, place)
        answer = await self._aws.call("ecs", "run_task", **parameters)
        if answer["failures"]:
            raise LaunchError(str(answer["failures"]))
        return str(answer["tasks"][0]["taskArn"])

    async def _stop(self, task: str) -> None:
        cluster = self._order.settings.cluster
        await self._aws.call("ecs", "stop_task", cluster=cluster, task=task, reason="checked")

    async def _until(self, task: str, wanted: Any) -> dict[str, Any]:
        """The first look at it that is wanted; it ends with its task, too."""
        while True:
            answer = await self._aws.call(
                "ecs",
                "describe_tasks",
                cluster=self._order.settings.cluster,
                tasks=[task],
                include=["TAGS"],
            )
            for shown in answer["tasks"]:  # none while ECS does not know it yet
                found: dict[str, Any] = shown
                if wanted(found):
                    return found
                if found["lastStatus"] == "STOPPED":
                    raise LaunchError(f"it has stopped: {sight(found).reason}")
            await anyio.sleep(LOOK)

    async def _healthy(self, running: dict[str, Any]) -> float:
        """Seconds until it answers its health check; infinity when it does not within a minute."""
        seen, public = sight(running), self._order.settings.public_address
        interface = seen.interface or ""
        host = (await public_addresses(self._aws, [interface])).get(interface)
        host = host if public else seen.private
        native = self._order.definition.protocol is Protocol.NATIVE
        scheme = "https" if native else "http"
        url = f"{scheme}://{host}:{self._order.definition.port}/health"
        began = anyio.current_time()
        # No secret travels here; whether the certificate is right, the render below checks.
        async with httpx.AsyncClient(verify=False, timeout=3.0, trust_env=False) as line:  # noqa: S501
            while anyio.current_time() < began + 60:
                try:
                    if (await line.get(url)).status_code == httpx.codes.OK:
                        return anyio.current_time() - began
                except httpx.HTTPError:
                    pass
                await anyio.sleep(0.25)
        return math.inf

    def _request(self) -> LaunchRequest:
        secrets = new_secrets()
        hide(secrets.key, secrets.private_key)
        spec = TaskSpec(tier=SMALL, run=self.run, scene="check_aws")
        return LaunchRequest(spec=spec, token=uuid4().hex, secrets=secrets)


async def render(settings: Settings, findings: Findings) -> None:
    """One scene of a picture and two seconds of sound, by the client itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (1280, 720), "teal").save(folder / "scene.png")
        with wave.open(str(folder / "scene.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * 2 * 8000))
        scene = {
            "name": "scene",
            "image": folder / "scene.png",
            "audio": folder / "scene.wav",
        }
        limits = Limits(workers=1, max_usd=CENTS)
        async with Client(fargate(settings), limits=limits) as client:
            report = await client.render_all([scene], to=folder / "videos")
            report = await report.settled()
    for error in report.errors:
        findings.console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
    told = f"{report.status} in {report.seconds:.0f} s"
    findings.tell("a scene becomes a video", report.status == "complete", told)
    cost = report.cost
    findings.tell(
        "its bill is final when its task has stopped",
        kept=cost is not None and cost.final,
        seen="none" if cost is None else f"${cost.usd:.5f} for {cost.seconds} s",
    )


async def estimate(aws: AWS, settings: Settings, options: Options) -> Decimal:
    """The most that it can cost, in USD: each task for as long as it may take."""
    table, definition = (
        await load_prices(),
        await describe_definition(aws, settings.task_definition),
    )
    rates = table.rates(aws.region, architecture=definition.architecture)
    seconds = Decimal(int(MOST))
    small, usual = rates.of(SMALL) * seconds, rates.of(Tier.STANDARD) * seconds
    # Spot is cheaper, but not by how much is known.
    return small * (3 if options.spot else 2) + usual


async def agreed() -> bool:
    """Whether who sits here wants it."""
    told = await anyio.to_thread.run_sync(input, "Go on? [y/N] ", abandon_on_cancel=True)
    return told.strip().lower() in {"y", "yes"}


async def main(options: Options, console: Console) -> int:
    """The exit code."""
    settings = Settings(_env_file=".env")  # pyright: ignore[reportCallIssue]
    findings = Findings(console)
    diagnosis = await doctor(settings, tasks=1, tier=Tier.STANDARD)
    for check in diagnosis.checks:
        if check.state is not State.OK:
            console.print(f"{check.name}: {check.found}", markup=False, highlight=False)
    if not diagnosis.healthy:
        console.print("Nothing was started: cloudburst doctor says what mends it.")
        return 1
    async with open_aws(settings) as aws:
        most = await estimate(aws, settings, options)
        number = "four" if options.spot else "three"
        console.print(
            f"This starts {number} tasks in account {await aws.account()}, {aws.region}, one after "
            f"the other; they cost ${most:.3f} at most.",
            highlight=False,
        )
        if most > CENTS:
            console.print(f"That is more than ${CENTS}: nothing was started.")
            return 1
        if not options.yes and not await agreed():
            return 1
        definition = await describe_definition(
            aws, settings.task_definition, protocol=settings.protocol
        )
        order = Order(settings=settings, definition=definition, timeouts=Timeouts())
        checker = Checker(aws, order, findings)
        try:
            with findings.part("One task, asked for twice"):
                await checker.token_and_address()
            with findings.part("A task that nobody stops"):
                await checker.lifetime(options.lifetime)
            if options.spot:
                with findings.part("Spot"):
                    await checker.spot()
            with findings.part("A scene"):
                await render(settings, findings)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(90):
                swept = await cleanup(settings, run=checker.run, reason="docs/check_aws.py is over")
                for failed in swept.failed:
                    told = f"STILL RUNS: {failed.task.task_arn}: {failed.error}"
                    console.print(told, style="red", markup=False)
    kept = "Every promise is kept." if not findings.broken else f"{findings.broken} broken."
    console.print(f"\n{kept} The bill shows it in Cost Explorer within a day.")
    return 1 if findings.broken else 0


def read_options(arguments: list[str]) -> Options:
    """Those of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--no-spot", action="store_true", help="start nothing on Spot")
    parser.add_argument("--lifetime", type=float, default=LIFETIME, metavar="SECONDS")
    given = parser.parse_args(arguments)
    return Options(yes=given.yes, spot=not given.no_spot, lifetime=given.lifetime)


if __name__ == "__main__":
    sys.exit(anyio.run(main, read_options(sys.argv[1:]), Console()))
