"""Jobs that name where, how fast and at what price they are rendered, on fake clouds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest

from cloudburst import Client, Tier, fargate
from cloudburst.client.backends import on_spot
from cloudburst.errors import InvalidScenesError
from cloudburst.jobs import JobLimits, JobQueue, JobRequest, JobState, Place, Places
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.settings import Settings
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def machine():
    return FakeCloud(name="local")


@pytest.fixture
def tasks():
    return FakeCloud(name="fargate", rates=US_EAST_1_RATES)


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


@asynccontextmanager
async def open_queue(client, folder, machine, tasks, **more):
    places = Places(machine=machine.backend, fargate=tasks.backend)
    async with client, JobQueue(client, folder, places=places, **more) as queue:
        yield queue


async def rendered(queue, made, **more):
    with anyio.fail_after(30):
        job = await queue.wait((await queue.submit(made, **more)).id)
    assert job.state is JobState.COMPLETE, job.error
    return job


async def begun(queue, job):
    async for item in queue.events(job):
        if item.type == "scene.encoding":
            return


async def test_each_job_is_rendered_at_the_place_that_it_names(
    machine, tasks, make_scene, tmp_path
):
    default = FakeCloud()
    client = Client(default.backend)
    async with open_queue(client, tmp_path / "jobs", machine, tasks) as queue:
        assert queue.places.offered == ["machine", "fargate", "both"]
        done = await rendered(queue, request(make_scene, "a"))
        assert (len(default.launched), machine.launched, tasks.launched) == (1, {}, {})
        assert (done.place, done.cost) == (None, None)
        done = await rendered(queue, request(make_scene, "b", place="machine"))
        assert (len(default.launched), len(machine.launched), tasks.launched) == (1, 1, {})
        assert done.place is Place.MACHINE
        done = await rendered(queue, request(make_scene, "c", place="fargate"))
        assert (len(default.launched), len(machine.launched), len(tasks.launched)) == (1, 1, 1)
        assert done.cost.usd > 0
        assert not tasks.running  # not kept for other jobs


async def test_a_job_has_tasks_of_the_size_and_number_that_it_names(
    machine, tasks, make_scene, tmp_path
):
    tasks.encode = 0.2
    names = [f"s{number}" for number in range(6)]
    client = Client(machine.backend)
    async with open_queue(client, tmp_path / "jobs", machine, tasks) as queue:
        job = request(make_scene, *names, place="fargate", tier=5, workers=3, deadline=60)
        done = await rendered(queue, job)
        assert (done.tier, done.workers, done.deadline) == (Tier.ECONOMY, 3, 60)
        assert done.model_dump(mode="json")["tier"] == "ECONOMY"
        assert {request.spec.tier for request, _ in tasks._requests.values()} == {Tier.ECONOMY}
        assert tasks.max_running == 3


async def test_jobs_of_both_places_share_no_workers_of_this_machine(
    machine, tasks, make_scene, tmp_path
):
    machine.encode = tasks.encode = 60.0
    client = Client(machine.backend)
    async with open_queue(client, tmp_path / "jobs", machine, tasks) as queue:
        first = await queue.submit(request(make_scene, "a", place="both"))
        await begun(queue, first.id)
        assert (len(machine.running), tasks.running) == (1, {})
        second = await queue.submit(request(make_scene, "b", place="both"))
        await begun(queue, second.id)
        assert (len(machine.running), len(tasks.running)) == (1, 1)
    assert not machine.running
    assert not tasks.running


async def test_a_stopped_job_with_own_tasks_goes_on_at_the_same_place(
    machine, tasks, make_scene, tmp_path
):
    tasks.encode = lambda scene: 60.0 if scene == "b" else 0.0
    client = Client(machine.backend)
    folder = tmp_path / "jobs"
    made = request(make_scene, "a", "b", place="fargate", workers=1, max_usd=1)
    async with open_queue(client, folder, machine, tasks) as queue:
        job = await queue.submit(made)
        with anyio.fail_after(30):
            async for item in queue.events(job.id):
                if item.type == "scene.completed":
                    break
    assert not tasks.running
    tasks.encode = 0.0
    async with open_queue(client, folder, machine, tasks) as queue:
        with anyio.fail_after(30):
            done = await queue.wait(job.id)
        assert (done.state, done.place, done.max_usd) == (JobState.COMPLETE, "fargate", Decimal(1))
        assert machine.launched == {}
        assert tasks.log.count("encoded a on fake-1") <= 1


async def test_a_place_that_is_not_offered_is_refused(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        with pytest.raises(InvalidScenesError) as caught:
            await queue.submit(request(make_scene, "a", place="fargate", workers=17))
        assert [tuple(fault)[1:5] for fault in caught.value.faults] == [
            ("place", "fargate", "null", "not_permitted"),
            ("workers", "17", "at most 16", "out_of_range"),
        ]
        assert (await queue.page()).jobs == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("place", "moon"),
        ("tier", 6),
        ("tier", "HUGE"),
        ("workers", 0),
        ("max_usd", "0"),
        ("max_usd", "1e-9"),
        ("max_usd", "NaN"),
        ("max_usd", 100_001),
        ("deadline", float("inf")),
        ("name", "x" * 201),
    ],
)
def test_invalid_terms_are_faults_of_their_field(make_scene, field, value):
    with pytest.raises(InvalidScenesError) as caught:
        request(make_scene, "a", **{field: value})
    assert [fault.field for fault in caught.value.faults] == [field]


async def test_own_tasks_are_on_spot_if_the_job_says_so():
    backend = fargate(Settings(None, subnets="subnet-1"))
    assert on_spot(backend, spot=True).settings.capacity == "FARGATE_SPOT"
    assert on_spot(on_spot(backend, spot=True), spot=False).settings.capacity == "FARGATE"
    cloud = FakeCloud()
    assert on_spot(cloud.backend, spot=True) == cloud.backend


async def test_jobs_are_found_by_their_names_and_counted_by_month(
    client, cloud, make_scene, tmp_path
):
    cloud.rates = US_EAST_1_RATES
    limits = JobLimits(owner_usd=Decimal(1))
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        first = await rendered(queue, request(make_scene, "a", name="Äpfel 100%"), owner="x")
        await rendered(queue, request(make_scene, "b"), owner="x")
        await rendered(queue, request(make_scene, "c", name="äpfel"), owner="y")
        found = await queue.page(owner="x", search="ÄPFEL")
        assert [job.id for job in found.jobs] == [first.id]
        assert (await queue.page(owner="x", search="%")).jobs == found.jobs
        assert (await queue.page(owner="x", search="_")).jobs == ()
        month, usd = (
            first.created_at.strftime("%Y-%m"),
            sum(job.cost.usd for job in (await queue.page(owner="x")).jobs),
        )
        assert [(each.month, each.jobs, each.usd) for each in found.months] == [(month, 2, usd)]
        assert (await queue.rename(first.id, "Birnen")).name == "Birnen"
        assert (await queue.page(search="äpfel")).jobs[0].owner == "y"
