"""Parts about the account: its subnets, many requests at once, and CloudTrail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.fargate.public_addresses import EC2_SERVICE
from cloudburst.concurrency import for_each
from cloudburst.errors import CapacityError, CloudburstError, ThrottledError
from cloudburst.live_check.findings import NotTriedError
from cloudburst.live_check.live import Live

BURST = 25
"""Number of requests at once: more than the 20 a second that Fargate accepts ("AWS Fargate
throttling quotas", ECS developer guide, 2026-11)."""
BURST_STOP_TIMEOUT = 120.0
"""Maximum seconds to wait until the tasks of the burst have stopped."""
MAX_STOP_WAIT = 5.0
"""Seconds after which AWS has to accept the stop of a new task."""
TRAIL_INTERVAL = 30.0
"""Seconds between two lists of CloudTrail's records."""


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
            kept, seen = _subnet_of(shown) == subnet, str(shown.get("availabilityZone"))
        except CloudburstError as exc:
            kept, seen = (None if isinstance(exc, CapacityError) else False), str(exc)
        live.findings.report(f"a task runs in {subnet}", kept, seen)

    await for_each(live.settings.subnets, start_in, at_once=len(live.settings.subnets))


def _subnet_of(task: Mapping[str, Any]) -> str | None:
    details = [one for each in task.get("attachments") or () for one in each.get("details") or ()]
    return next((one.get("value") for one in details if one.get("name") == "subnetId"), None)


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


async def check_trail(live: Live, minutes: float) -> None:
    """Wait for the records of RunTask, which take some minutes, and search them for keys."""
    since = datetime.now(UTC) - timedelta(hours=2)
    query = [{"AttributeKey": "EventName", "AttributeValue": "RunTask"}]
    with anyio.move_on_after(minutes * 60):
        while live.keys:
            events = await live.aws.collect_pages(
                "cloudtrail", "lookup_events", "Events", LookupAttributes=query, StartTime=since
            )
            if (shown := keys_shown(events, live.keys)) is not None:
                live.findings.report("CloudTrail does not record the keys of tasks", not shown)
                return
            await anyio.sleep(TRAIL_INTERVAL)
    raise NotTriedError(f"no record of a task within {minutes:g} minutes")


def keys_shown(events: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> bool | None:
    """Return whether the records of our requests contain a key; ``None`` if there is no record."""
    texts = [str(event.get("CloudTrailEvent", "")) for event in events]
    ours = [text for text in texts if any(task in text for task in keys)]
    return any(key in text for key in keys.values() for text in ours) if ours else None
