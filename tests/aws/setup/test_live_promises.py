"""No promise is kept that was not seen: the emulator breaks each of them once."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst.cli import live_account, live_storage, live_tasks
from cloudburst.cli.live_account import REST
from cloudburst.cli.live_tasks import (
    check_arm64,
    check_burst,
    check_lifetime,
    check_one_task,
    check_scene,
    check_spot,
    check_subnets,
)
from cloudburst.emulator import logs, run_task, task_registry, tasks
from cloudburst.emulator.faults import NO_CAPACITY
from cloudburst.emulator.s3 import api, checksums, multipart
from cloudburst.emulator.signature import Signature
from cloudburst.image.built_image import BuiltImage, BuiltPlatform, LayerSize
from cloudburst.net.registry.images import PushReport
from cloudburst.testing import CapacityShortage, EmulatorConfig, FargateEmulator, Fault, TaskFault
from support.live_parts import findings_of, opened
from support.s3_account import FOLDER, account

pytestmark = [pytest.mark.anyio, pytest.mark.real]

KEPT, BROKEN, NOT_TRIED = "kept", "broken", "not tried"
NO_LINES = {"events": [], "nextForwardToken": "f/1", "nextBackwardToken": "b/1"}
NONE = {"max_running": 0}
"""An account without capacity."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(live_account, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(live_account, "REACH_TIMEOUT", 3.0)
    monkeypatch.setattr(live_account, "ACCEPT_TIMEOUT", 0.4)
    monkeypatch.setattr(live_tasks, "HEALTH_TIMEOUT", 0.1)
    monkeypatch.setattr(live_tasks, "LIFETIME", 1.0)
    monkeypatch.setattr(live_tasks, "BURST", 3)
    monkeypatch.setattr(live_storage, "EXPIRY_DELAY", 0.0)


def emulated(**config):
    return FargateEmulator(EmulatorConfig.quick(**{"moto": False, **config}))


def shown(monkeypatch, **change):
    """Describe tasks with other members, or with the results of functions of the description."""
    describe = task_registry.ecs_task

    def changed(task, *args, **options):
        found = describe(task, *args, **options)
        values = {k: v(task, found) if callable(v) else v for k, v in change.items()}
        return {k: v for k, v in {**found, **values}.items() if v is not None}

    monkeypatch.setattr(task_registry, "ecs_task", changed)


def when_stopped(value):
    return lambda task, found: value if task.stopped else None


TOKEN = "the same token is the same task"
CONFLICT = "other parameters with that token are refused"
INTERFACE = "its network interface is known before it runs"
ANSWERS = "this machine reaches it"
HEALTHY = "its health check passes"
STOPS = "StopTask stops it"
UNTAGGED = "a stopped task has no tags left"
LISTED = "ListTasks finds a stopped task by who has started it"
LOGGED = "its lines are in CloudWatch"


async def test_one_task_keeps_every_promise(monkeypatch):
    shown(monkeypatch, healthStatus=lambda task, _: "HEALTHY" if task.started else "UNKNOWN")
    with emulated(foreign_containers={"aws-guardduty-agent-1": "STOPPED"}) as emulator:
        found = await findings_of(emulator, check_one_task)
    promises = {TOKEN, CONFLICT, INTERFACE, "it runs", ANSWERS, HEALTHY, STOPS, UNTAGGED, LISTED}
    assert {name for name, (kind, _) in found.items() if kind == KEPT} == promises | {LOGGED}
    assert found["containers that are not ours"] == ("note", "aws-guardduty-agent-1")
    assert "123456789012" not in str(found)


def two_tasks(monkeypatch):
    run = run_task.TaskLauncher.run

    def without_token(launcher, parameters, network, **more):
        return run(launcher, {**parameters, "clientToken": None}, network, **more)

    monkeypatch.setattr(run_task.TaskLauncher, "run", without_token)


def no_tags_at_all(monkeypatch):
    shown(monkeypatch, tags=[])


def tags_stay(monkeypatch):
    shown(monkeypatch, tags=[{"key": "CreatedBy", "value": "animagent"}])


def other_stop(monkeypatch):
    shown(monkeypatch, stopCode=when_stopped("EssentialContainerExited"))


def unlisted(monkeypatch):
    monkeypatch.setattr(tasks.TaskOperations, "_list", lambda *_: {"taskArns": []})


def no_lines(monkeypatch):
    monkeypatch.setattr(logs.CloudWatchLogs, "_get_events", lambda *_: NO_LINES)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("defect", "promises"),
    [
        (two_tasks, [TOKEN, CONFLICT]),
        (other_stop, [STOPS]),
        (no_tags_at_all, [UNTAGGED]),
        (tags_stay, [UNTAGGED]),
        (unlisted, [LISTED]),
        (no_lines, [LOGGED]),
    ],
)
async def test_a_promise_of_one_task_that_aws_breaks_is_broken(monkeypatch, defect, promises):
    defect(monkeypatch)
    with emulated() as emulator:
        found = await findings_of(emulator, check_one_task)
        assert not emulator.live
    assert {found[promise][0] for promise in promises} == {BROKEN}
    assert found[HEALTHY] == (BROKEN, "UNKNOWN after 0 s")  # the definition has no health check
    assert REST not in found


async def test_an_interface_that_is_first_shown_when_the_task_runs_breaks_the_promise(monkeypatch):
    shown(monkeypatch, attachments=lambda task, found: found["attachments"] if task.started else [])
    with emulated() as emulator:
        found = await findings_of(emulator, check_one_task)
    assert found[INTERFACE] == (BROKEN, "in RUNNING")


async def test_a_task_that_cannot_be_reached_explains_itself_and_later_parts_are_not_tried(
    monkeypatch,
):
    monkeypatch.setattr(live_account, "REACH_TIMEOUT", 0.3)
    with emulated(task_faults={0: TaskFault(black_hole=True)}) as emulator:
        found = await findings_of(emulator, check_one_task, check_arm64, check_scene)
        assert len(emulator.tasks) == 1
    assert found[ANSWERS][0] == BROKEN
    assert "port 5000 lets in" in found[ANSWERS][1]
    assert found[REST][0] == NOT_TRIED
    assert found[REST][1].startswith("tasks do not answer: ")
    assert found[STOPS][0] == KEPT


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("config", "outcome", "text"),
    [
        ({"task_faults": {0: TaskFault(image_missing=True)}}, BROKEN, "CannotPullContainer"),
        ({"max_running": 0}, NOT_TRIED, NO_CAPACITY),
        (
            {"capacity_shortages": [CapacityShortage(as_stopped_task=True)]},
            NOT_TRIED,
            NO_CAPACITY,
        ),
        ({"denied": frozenset({"ecs:RunTask"})}, NOT_TRIED, "not authorized"),
        ({"denied": frozenset({"ecs:StopTask"})}, NOT_TRIED, "not authorized"),
        ({"denied": frozenset({"logs:*"})}, NOT_TRIED, "not authorized"),
    ],
)
async def test_a_task_that_does_not_run_ends_its_part_only(config, outcome, text):
    with emulated(**config) as emulator:
        found = await findings_of(emulator, check_one_task)
    assert found[REST][0] == outcome
    assert text in found[REST][1]
    broken = {name: seen for name, (kind, seen) in found.items() if kind == BROKEN}
    assert broken.keys() <= {REST, HEALTHY}, broken


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("config", "outcome", "text"),
    [
        ({}, KEPT, "EssentialContainerExited 1 s after its start, expected 1 s"),
        ({"task_faults": {0: TaskFault(crash_after=0.1)}}, BROKEN, "0 s after its start"),
        ({"task_faults": {0: TaskFault(image_missing=True)}}, NOT_TRIED, "did not run"),
        (NONE, NOT_TRIED, NO_CAPACITY),
    ],
)
async def test_a_lifetime_is_kept_only_by_a_task_that_has_run_for_it(config, outcome, text):
    with emulated(**config) as emulator:
        found = await findings_of(emulator, check_lifetime)
    ((kind, seen),) = found.values()
    assert kind == outcome
    assert text in seen


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("change", "config", "outcome"),
    [
        ({}, {}, KEPT),
        ({"capacityProviderName": "FARGATE"}, {}, BROKEN),
        ({}, {"as_stopped_task": False}, NOT_TRIED),
        ({}, {"as_stopped_task": True}, NOT_TRIED),
    ],
)
async def test_spot_is_kept_only_by_a_task_that_runs_there(monkeypatch, change, config, outcome):
    shown(monkeypatch, **change)
    shortages = [CapacityShortage(provider="FARGATE_SPOT", **config)] if config else []
    with emulated(capacity_shortages=shortages) as emulator:
        found = await findings_of(emulator, check_spot)
    ((kind, _),) = found.values()
    assert kind == outcome


@pytest.mark.parametrize(("processor", "outcome"), [("arm64", KEPT), ("x86_64", BROKEN)])
async def test_arm64_is_kept_only_by_a_task_of_that_processor(monkeypatch, processor, outcome):
    shown(monkeypatch, attributes=[{"name": "ecs.cpu-architecture", "value": processor}])
    with emulated(image_platforms={}) as emulator:
        emulator.register(family="cloudburst-task-arm64", architecture="ARM64")
        found = await findings_of(emulator, check_arm64)
    assert found["a task on ARM64 answers"][0] == outcome


async def test_without_a_task_definition_for_arm64_it_is_not_tried():
    with emulated() as emulator:
        found = await findings_of(emulator, check_arm64)
    assert found[REST] == (NOT_TRIED, "init has made no task definition cloudburst-task-arm64")


async def test_a_subnet_is_kept_only_by_a_task_in_it(monkeypatch):
    other = [{"type": "ElasticNetworkInterface", "details": [{"name": "subnetId", "value": "x"}]}]
    with emulated(capacity_shortages=[CapacityShortage(zone="b")]) as emulator:
        subnets = emulator.environment["AWS_SUBNET_ID"].split(",")
        found = await findings_of(emulator, check_subnets)
        assert [found[f"a task runs in {one}"][0] for one in subnets] == [KEPT, NOT_TRIED, KEPT]
        shown(monkeypatch, attachments=other)
        found = await findings_of(emulator, check_subnets)
    assert found.pop("VPC Block Public Access") == ("note", "off")
    assert {kind for kind, _ in found.values()} == {BROKEN, NOT_TRIED}


STOPPED = "a task may be stopped, by its tag, within 5 s of its start"


async def test_a_burst_tells_how_soon_its_tasks_may_be_stopped(monkeypatch):
    denied = Fault(
        operation="StopTask", code="AccessDeniedException", message="no tag yet", times=2
    )
    with emulated(new_task_invisible=0.0) as emulator:
        emulator.add_fault(denied)
        found = await findings_of(emulator, check_burst)
    assert found["3 requests at once"][1].startswith("3 started, in ")
    kind, seen = found[STOPPED]
    assert kind == KEPT
    assert "2 refused at first: AccessDeniedException" in seen


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("limit", "config", "outcome"),
    [
        (0.0, {}, BROKEN),
        (5.0, {"denied": frozenset({"ecs:StopTask"})}, NOT_TRIED),
        (5.0, NONE, NOT_TRIED),
    ],
)
async def test_tasks_that_cannot_be_stopped_are_no_kept_promise(
    monkeypatch, limit, config, outcome
):
    monkeypatch.setattr(live_tasks, "MAX_STOP_WAIT", limit)
    with emulated(**config) as emulator:
        if not config:
            emulator.add_fault(Fault(operation="StopTask", code="AccessDeniedException"))
        found = await findings_of(emulator, check_burst)
    assert {kind for name, (kind, _) in found.items() if name != "3 requests at once"} == {outcome}


async def test_a_scene_that_fails_is_broken_and_its_bill_is_not_known():
    with emulated(denied=frozenset({"ecs:RunTask"})) as emulator:
        found = await findings_of(emulator, check_scene)
    assert found["a scene becomes a video"][0] == BROKEN
    assert found["its bill is final when its task has stopped"][0] == NOT_TRIED


# Images.

PUSHES = [
    ("it is all there", [(60, 40), (0, 100)], KEPT, KEPT),
    ("it is sent from the start", [(100, 0), (0, 100)], BROKEN, KEPT),
    ("a part is missing", [(30, 40), (0, 70)], BROKEN, BROKEN),
    ("nothing is remembered", [(60, 40), (100, 0)], KEPT, BROKEN),
    ("nothing was cut", [(0, 100), (0, 100)], NOT_TRIED, KEPT),
    ("it was there before", [(1, 99), (0, 100)], NOT_TRIED, KEPT),
]


LAYERS = tuple(LayerSize(name=str(size), digest=f"d{size}", size=size) for size in (10, 90))
BUILT = BuiltImage(
    folder=Path(),
    digest="d",
    base="base",
    platforms=(BuiltPlatform(architecture="amd64", digest="d", layers=LAYERS),),
    version="1",
    labels={},
)


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(("name", "pushes", "cut", "second"), PUSHES, ids=[p[0] for p in PUSHES])
async def test_pushes_are_judged_by_their_bytes(monkeypatch, name, pushes, cut, second):
    reports = [
        PushReport(digest="d", bytes_sent=s, bytes_present=p, seconds=1.0) for s, p in pushes
    ]

    async def push(*_, on_progress=None, **__):
        if on_progress is None:
            return reports.pop(0)
        done = 0 if name == "nothing was cut" else 2
        progress = {"bytes_done": 40, "bytes_total": 100, "blobs_total": 5}
        on_progress(live_storage.PushProgress(**progress, blobs_done=done))
        await live_storage.anyio.sleep(0)
        return None

    monkeypatch.setattr(live_storage, "push_to_ecr", push)
    with emulated() as emulator:
        async with opened(emulator) as checked:
            await live_storage._check_pushes(checked, BUILT)
            assert [str(one.outcome) for one in checked.findings.all] == [cut, second]


# S3.


def no_conditions(monkeypatch):
    for module in (api, multipart):
        monkeypatch.setattr(module, "check_conditions", lambda *_: None)


def no_conditions_for_reads(monkeypatch):
    read = api.S3.head_object

    def unconditional(self, request, caller):
        headers = {name: one for name, one in request.headers.items() if name != "if-match"}
        return read(self, replace(request, headers=headers), caller)

    monkeypatch.setattr(api.S3, "head_object", unconditional)


def no_expiry(monkeypatch):
    monkeypatch.setattr(Signature, "has_expired", lambda *_: False)


def no_checksums(monkeypatch):
    monkeypatch.setattr(checksums.BodyHash, "check", lambda self: self._declared)


def no_metadata(monkeypatch):
    described = api.object_headers

    def without(stored, **options):
        headers = described(stored, **options)
        return {name: one for name, one in headers.items() if not name.startswith("x-amz-meta-")}

    monkeypatch.setattr(api, "object_headers", without)


def other_content(monkeypatch):
    read = api.S3.head_object

    def zeros(self, request, caller):
        response = read(self, request, caller)
        response.content.close()
        response.content = io.BytesIO(bytes(response.size))
        return response

    monkeypatch.setattr(api.S3, "head_object", zeros)


def no_deletion(monkeypatch):
    monkeypatch.setattr(api.S3, "delete_object", lambda *_: api.S3Response(status=204))


def no_sha256(monkeypatch):
    headers = api.object_headers
    monkeypatch.setattr(api, "object_headers", lambda stored, **_: headers(stored, checksums=False))


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("defect", "promises"),
    [
        (
            no_conditions,
            [
                "a second PUT with If-None-Match is refused",
                "an object that has changed is not replaced",
                "a second one of its name is refused",
            ],
        ),
        (no_conditions_for_reads, ["an object that has changed is refused"]),
        (no_expiry, ["an expired URL is recognized"]),
        (no_checksums, ["content with another checksum is refused"]),
        (no_metadata, ["its metadata are those that were signed"]),
        (
            other_content,
            [
                "a presigned PUT writes an object",
                "a presigned GET with If-Match reads it",
                "a range of it is read",
                "an object is written in parts",
            ],
        ),
        (no_deletion, ["an object is deleted"]),
        (no_sha256, [REST]),
    ],
)
async def test_a_promise_of_s3_that_is_broken_is_told(monkeypatch, defect, promises):
    defect(monkeypatch)
    with account() as emulator:
        found = await findings_of(emulator, lambda checked: live_storage.check_s3(checked, FOLDER))
    assert {
        promise: found.get(promise, ("missing", ""))[0] for promise in promises
    } == dict.fromkeys(promises, BROKEN)
