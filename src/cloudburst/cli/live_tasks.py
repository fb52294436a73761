"""Parts with tasks: from a request to its stop, lifetime, Spot, subnets, a burst, a scene."""

from __future__ import annotations

import wave
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from anyio import to_thread

from cloudburst.aws.client.responses import error_code_of, get_list, get_structure
from cloudburst.aws.fargate.cluster_tasks import list_task_arns
from cloudburst.aws.fargate.ec2 import EC2_SERVICE, usable_subnets
from cloudburst.aws.fargate.ingress_rules import explain_silence
from cloudburst.aws.fargate.run_task import started_by
from cloudburst.aws.fargate.task_definition import (
    WATCHDOG_CONTAINER,
    describe_task_definition,
    task_families,
)
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.aws.setup.logs import read_logs
from cloudburst.aws.setup.permissions import LIVE_NAME
from cloudburst.cli.live_account import (
    Live,
    NotTriedError,
    new_request,
    seconds_between,
    seconds_until_answer,
)
from cloudburst.client.backends import fargate
from cloudburst.client.client import Client
from cloudburst.concurrency import for_each
from cloudburst.errors import (
    CapacityError,
    CloudburstError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Limits
from cloudburst.models.task import MINIMUM_BILLED_SECONDS
from cloudburst.models.tier import Tier

HEALTH_TIMEOUT = 150.0
"""Seconds to wait for ECS's health check, which is made once a minute."""
LIFETIME = 60.0
"""Seconds after which the task that is not stopped has to end by itself."""
LIFETIME_TOLERANCE = 30.0
"""Seconds that it may end later. It may end a fifth earlier, because ECS takes a while to find that
all containers have started."""
SPOT = "FARGATE_SPOT"
BURST = 25
"""Number of requests at once: more than the 20 a second that Fargate accepts ("AWS Fargate
throttling quotas", ECS developer guide, 2026-11)."""
BURST_STOP_TIMEOUT = 120.0
"""Maximum seconds to wait until the tasks of the burst have stopped."""
MAX_STOP_WAIT = 5.0
"""Seconds after which AWS has to accept the stop of a new task."""


async def check_one_task(live: Live) -> None:
    """Repeat a request with its token, then follow the task from its request to its stop."""
    report, cluster = live.findings.report, live.settings.cluster
    asked_at, request = anyio.current_time(), new_request()
    task = await live.launch(request)
    again = await live.launch(request)
    report("the same token is the same task", task == again)
    other = replace(request, spec=replace(request.spec, tier=Tier.STANDARD))
    code = "accepted"
    try:
        await live.launch(other)
    except CloudburstError as exc:
        code = error_code_of(exc) or str(exc)
    report("other parameters with that token are refused", code == "ConflictException", code)

    shown = await live.until(task, _has_interface)
    status = shown["lastStatus"]
    early = status in {"PROVISIONING", "PENDING", "ACTIVATING"}
    report("its network interface is known before it runs", early, f"in {status}")
    running = await live.until(task, "RUNNING")
    after = f"{anyio.current_time() - asked_at:.0f} s after its request"
    pull = seconds_between(running, "pullStartedAt", "pullStoppedAt")
    pulled = "" if pull is None else f", of which the image pull took {pull:.0f} s"
    report("it runs", kept=True, seen=after + pulled)
    _note_containers(live, running)
    url = await live.url_of(running)
    waited = await seconds_until_answer(url)
    if waited is None:
        live.silence = (await explain_silence(live.aws, live.settings, url)).text
    report("this machine reaches it", not live.silence, live.silence or f"{waited:.1f} s later")
    health = f"UNKNOWN after {HEALTH_TIMEOUT:.0f} s"
    with anyio.move_on_after(HEALTH_TIMEOUT):
        known = await live.until(task, lambda it: it.get("healthStatus", "UNKNOWN") != "UNKNOWN")
        health = str(known["healthStatus"])
    report("its health check passes", health == "HEALTHY", health)

    await live.stop(task)
    stopped = await live.until(task, "STOPPED")
    code = str(stopped.get("stopCode"))
    billed = seconds_between(stopped, "pullStartedAt", "stoppedAt") or 0.0
    seen = f"{code}, billed {max(MINIMUM_BILLED_SECONDS, billed):.0f} s"
    report("StopTask stops it", code == "UserInitiated", seen)
    before, after_stop = len(running.get("tags") or ()), len(stopped.get("tags") or ())
    untagged = before > 0 == after_stop
    report("a stopped task has no tags left", untagged, f"{before} before, {after_stop} then")
    by = started_by(LIVE_NAME)
    listed = await list_task_arns(live.aws, cluster, stopped=True, started_by=by)
    report("ListTasks finds a stopped task by who has started it", task in listed)
    async with read_logs(live.settings, task) as lines:
        count = len([line async for line in lines])
    report("its lines are in CloudWatch", count > 0, f"{count} lines")


async def check_lifetime(live: Live) -> None:
    """Start a task with a short lifetime and wait until it ends by itself."""
    settings = live.settings.model_copy(update={"lifetime": LIFETIME})
    task = await live.launch(template=replace(live.template, settings=settings))
    stopped = await live.until(task, "STOPPED")
    lasted = seconds_between(stopped, "startedAt", "executionStoppedAt")
    if lasted is None:
        raise NotTriedError(f"the task did not run: {parse_task_description(stopped).reason}")
    code = stopped.get("stopCode")
    in_time = 0.8 * LIFETIME <= lasted <= LIFETIME + LIFETIME_TOLERANCE
    kept = in_time and code == "EssentialContainerExited"
    seen = f"{code} {lasted:.0f} s after its start, expected {LIFETIME:.0f} s"
    live.findings.report("a task that is not stopped ends by itself", kept, seen)


async def check_spot(live: Live) -> None:
    """Start a task on Spot."""
    task = await live.launch(provider=SPOT)
    provider = (await live.until(task, "RUNNING")).get("capacityProviderName")
    live.findings.report("a task runs on Spot", provider == SPOT, provider)


async def check_arm64(live: Live) -> None:
    """Start a task of the task definition for ARM64."""
    _require_answers(live)
    family, protocol = task_families(live.settings.task_definition)["ARM64"], live.settings.protocol
    try:
        definition = await describe_task_definition(live.aws, family, protocol=protocol)
    except ResourceMissingError:
        raise NotTriedError(f"init has made no task definition {family}") from None
    template = replace(live.template, definition=definition)
    subnets = await usable_subnets(live.aws, live.settings, definition.architecture)
    task = await live.launch(template=template, subnets=subnets)
    running = await live.until(task, "RUNNING")
    processor = {one.get("name"): one.get("value") for one in get_list(running, "attributes")}
    waited = await seconds_until_answer(await live.url_of(running))
    kept = waited is not None and processor.get("ecs.cpu-architecture") == "arm64"
    live.findings.report("a task on ARM64 answers", kept, f"after {waited} s; {processor}")


async def check_scene(live: Live) -> None:
    """Render a picture with two seconds of audio through the client."""
    _require_answers(live)
    with TemporaryDirectory() as name:
        folder = Path(name)
        scene = {"name": "scene", "image": folder / "scene.png", "audio": folder / "scene.wav"}
        await to_thread.run_sync(_write_inputs, folder)
        async with Client(fargate(live.settings), limits=Limits(workers=1)) as client:
            report = await client.render_all([scene], to=folder / "videos", name=LIVE_NAME)
            report = await report.settled()
        videos = [video for video in (folder / "videos").glob("*.mp4") if video.stat().st_size]
    seen = "; ".join([f"{report.status} in {report.wall_seconds:.0f} s", *map(str, report.errors)])
    kept = report.status == "complete" and len(videos) == 1
    live.findings.report("a scene becomes a video", kept, seen)
    cost = report.cost
    billed = report.is_billed and cost.billed_seconds >= MINIMUM_BILLED_SECONDS
    seen = f"${cost.usd:.5f} for {cost.billed_seconds} s"
    known = cost.final and cost.usd > 0 if billed else None
    live.findings.report("its bill is final when its task has stopped", known, seen)


def _write_inputs(folder: Path) -> None:
    from PIL import Image  # noqa: PLC0415 - only this part draws

    Image.new("RGB", (1280, 720), "teal").save(folder / "scene.png")
    with wave.open(str(folder / "scene.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 2 * 8000))


def _require_answers(live: Live) -> None:
    if live.silence:
        raise NotTriedError(f"tasks do not answer: {live.silence}")


def _has_interface(task: Mapping[str, Any]) -> bool:
    has_interface = parse_task_description(task).network_interface is not None
    return has_interface and task.get("desiredStatus") != "STOPPED"


def _note_containers(live: Live, running: Mapping[str, Any]) -> None:
    containers = get_list(running, "containers")
    images = {str(one.get("name")): str(one.get("image")) for one in containers}
    others = images.keys() - {live.template.definition.container, WATCHDOG_CONTAINER}
    live.findings.note("its image", images.get(live.template.definition.container))
    live.findings.note("containers that are not ours", ", ".join(sorted(others)) or "none")


async def check_subnets(live: Live) -> None:
    """Start a task in each subnet: a zone may lack Fargate, or a subnet a route."""
    by_id = {"Name": "subnet-id", "Values": [*live.settings.subnets]}
    described: list[dict[str, Any]] = await live.aws.collect_pages(
        EC2_SERVICE, "describe_subnets", "Subnets", Filters=[by_id]
    )
    states = [get_structure(one, "BlockPublicAccessStates") for one in described]
    modes = {str(one.get("InternetGatewayBlockMode", "not shown")) for one in states}
    live.findings.note("VPC Block Public Access", ", ".join(sorted(modes)))

    async def start_in(subnet: str) -> None:
        kept: bool | None = False
        try:
            task = await live.launch(tiny=True, subnets=(subnet,))
            shown = await live.until(task, "RUNNING")
            kept = f"'{subnet}'" in str(shown.get("attachments"))
            seen = str(shown.get("availabilityZone"))
        except CloudburstError as exc:
            kept, seen = (None if isinstance(exc, CapacityError) else False), str(exc)
        live.findings.report(f"a task runs in {subnet}", kept, seen)

    await for_each(live.settings.subnets, start_in, at_once=len(live.settings.subnets))


async def check_burst(live: Live) -> None:
    """Send as many requests at once as a large run; stop each task at once."""
    results, waits, refusals = Counter[str](), dict[str, float](), list[str]()
    started_at = anyio.current_time()

    async def start(_: int) -> None:
        try:
            task = await live.launch(tiny=True)
        except (CapacityError, ThrottledError) as exc:
            results["throttled" if isinstance(exc, ThrottledError) else "without capacity"] += 1
        else:
            results["started"] += 1
            waits[task], refusal = await live.stop(task)
            refusals.extend([refusal] if refusal else [])

    await for_each(range(BURST), start, at_once=BURST)
    took = anyio.current_time() - started_at
    counts = ", ".join(f"{number} {result}" for result, number in results.items())
    live.findings.note(f"{BURST} requests at once", f"{counts}, in {took:.1f} s")
    if not waits:
        raise NotTriedError("no task was started")
    longest = max(waits.values())
    seen = f"{len(waits)} tasks, accepted after {longest:.1f} s at most"
    seen += f"; {len(refusals)} refused at first: {refusals[0]}" if refusals else ""
    promise = f"a task may be stopped, by its tag, within {MAX_STOP_WAIT:.0f} s of its start"
    live.findings.report(promise, longest <= MAX_STOP_WAIT, seen)
    with anyio.move_on_after(BURST_STOP_TIMEOUT):
        for task in waits:  # until then they count against the quota of the next parts
            await live.until(task, "STOPPED")
