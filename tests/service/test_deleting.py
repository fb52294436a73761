"""Deleting a job while its id is used again."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
import pytest

from support.service_caller import OpenCaller

pytestmark = pytest.mark.anyio


async def test_deleting_a_job_while_it_is_posted_again_never_fails(caller: OpenCaller) -> None:
    """A folder that is being removed must not meet the one that is being made."""
    async with caller(encoders=1, waiting=100) as to:
        todo = await to.put(json.dumps({"do": "render", "steps": 1}).encode())
        headers = {"Idempotency-Key": "a" * 32}
        body = {"name": "s", "image": todo, "audio": todo}
        seen: set[tuple[str, int]] = set()

        async def repeat(method: str, path: str, **more: Any) -> None:
            for _ in range(40):
                answer = await to.http.request(method, path, **more)
                seen.add((method, answer.status_code))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(partial(repeat, "POST", "/jobs", json=body, headers=headers))
                tasks.start_soon(partial(repeat, "DELETE", f"/jobs/{'a' * 32}"))
        assert seen <= {("POST", 200), ("POST", 201), ("DELETE", 204), ("DELETE", 404)}


async def test_a_folder_that_is_still_being_removed_is_not_in_the_way(caller: OpenCaller) -> None:
    async with caller() as to:
        old = await to.start({"do": "render"})
        await to.until(old, "done")
        todo = await to.put(json.dumps({"do": "render"}).encode())
        body = {"name": "s", "image": todo, "audio": todo}
        to.video(old).parent.rename(to.service.folder / "jobs" / ("a" * 32))
        answer = await to.http.post("/jobs", json=body, headers={"Idempotency-Key": "a" * 32})
        assert answer.status_code == 201
        await to.until("a" * 32, "done")


async def test_a_job_that_was_deleted_twice_takes_no_newer_one_along(caller: OpenCaller) -> None:
    async with caller() as to:
        headers = {"Idempotency-Key": "a" * 32}
        assert (await to.post({"do": "render"})).status_code == 201
        image = await to.put(json.dumps({"do": "render"}).encode())
        body = {"name": "s", "image": image, "audio": await to.put(b"sound")}
        assert (await to.http.post("/jobs", json=body, headers=headers)).status_code == 201
        old = to.service.jobs.find("a" * 32)
        assert old is not None
        await to.until("a" * 32, "done")
        await to.service.jobs.delete(old)
        assert (await to.http.post("/jobs", json=body, headers=headers)).status_code == 201
        await to.service.jobs.delete(old)
        await to.until("a" * 32, "done")
        assert (await to.http.get(f"/jobs/{'a' * 32}/video")).status_code == 200
