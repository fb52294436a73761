"""Jobs and their processes: every way to an end, and nothing left running."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from support.service_caller import OpenCaller, alive, eventually, read_pids

pytestmark = pytest.mark.anyio


async def test_a_render_ends_with_a_video_and_keeps_nothing_else(caller: OpenCaller) -> None:
    async with caller() as to:
        job = await to.start({"do": "render"}, options={"effects": []})
        done = await to.until(job, "done")
        assert done["progress"] == 1
        assert done["done"]["seconds"] == 3
        assert done["error"] is None
        assert [f for f in to.files() if f.startswith("jobs")] == [
            f"jobs/{to.video(job).parent.name}/video.mp4"
        ]
    assert not to.service.folder.exists()


async def test_each_job_and_each_refused_request_has_a_line_in_the_log(
    caller: OpenCaller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cloudburst.service")
    async with caller() as to:
        done = await to.start({"do": "render"}, options={"effects": []})
        await to.until(done, "done")
        size = to.video(done).stat().st_size
        await to.until(await to.start({"do": "fault"}), "failed")
        refused = await to.http.post("/jobs", content=b"{}")
        assert refused.status_code == 400
    lines = [each.getMessage() for each in caplog.records if each.name == "cloudburst.service"]
    assert any(re.fullmatch(rf"'[^']+': done, \d+\.\d s, {size} bytes", line) for line in lines)
    assert any(line.endswith("audio: a poem; expected sound") for line in lines)
    assert any(line.startswith("POST /jobs: 400, ") for line in lines)


async def test_an_input_fault_names_the_field(caller: OpenCaller) -> None:
    async with caller() as to:
        failed = await to.until(await to.start({"do": "fault"}), "failed")
        assert failed["error"] == {
            "error": "audio: a poem; expected sound",
            "field": "audio",
            "found": "a poem",
            "expected": "sound",
        }
        assert not [f for f in to.files() if f.startswith("jobs")]


@pytest.mark.parametrize(
    ("do", "told"), [("crash", "exit -11: something broke"), ("lie", "exit 0: no error output")]
)
async def test_a_broken_child_is_the_services_fault(
    caller: OpenCaller, do: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with caller() as to:
        failed = await to.until(await to.start({"do": do}), "failed")
        assert failed["error"]["error"] == f"the render failed ({told})"
        assert failed["error"]["field"] is None
    assert do == "lie" or "something broke" in caplog.text
    assert len(caplog.text) < 20_000


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (signal.SIGXCPU, "a file that takes too much CPU time to read"),
        (signal.SIGSEGV, "a file that crashes its decoder (SIGSEGV)"),
    ],
)
async def test_the_file_that_a_child_was_reading_is_to_blame_for_its_death(
    caller: OpenCaller, number: int, found: str
) -> None:
    todo = {"do": "killed", "reading": "watermark", "signal": number}
    async with caller() as to:
        failed = await to.until(await to.start(todo), "failed")
        assert failed["error"]["field"] == "watermark"
        assert failed["error"]["found"] == found
        assert failed["error"]["expected"] == "a smaller picture"


@pytest.mark.parametrize("reading", ["", "audio"])
async def test_a_child_that_was_killed_from_outside_is_no_fault_of_a_file(
    caller: OpenCaller, reading: str
) -> None:
    todo = {"do": "killed", "reading": reading, "signal": signal.SIGKILL}
    async with caller() as to:
        failed = await to.until(await to.start(todo), "failed")
        assert failed["error"]["field"] is None
        assert failed["error"]["error"].startswith("the render failed (exit -9")


async def test_noise_from_a_child_is_passed_over(caller: OpenCaller) -> None:
    async with caller() as to:
        await to.until(await to.start({"do": "flood"}), "done")


async def test_what_a_child_leaves_behind_is_killed(caller: OpenCaller, tmp_path: Path) -> None:
    async with caller() as to:
        job = await to.start({"do": "leave", "pids": str(tmp_path / "pids")})
        await to.until(job, "done")
        pids = await to_thread.run_sync(read_pids, tmp_path / "pids")
        assert not any(map(alive, pids))


async def test_delete_kills_the_whole_group_before_it_answers(
    caller: OpenCaller, tmp_path: Path
) -> None:
    async with caller() as to:
        job = await to.start({"do": "fork", "pids": str(tmp_path / "pids")})
        pids = await to_thread.run_sync(read_pids, tmp_path / "pids")
        assert all(map(alive, pids))
        answer = await to.http.delete(f"/jobs/{job}")
        assert not any(map(alive, pids))
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await to.state(job))["state"] == "cancelled"
        assert not [f for f in to.files() if f.startswith("jobs")]


async def test_a_render_without_progress_is_killed_although_it_ignores_signals(
    caller: OpenCaller,
) -> None:
    async with caller(scene_seconds=0.3) as to:
        failed = await to.until(await to.start({"do": "hang"}), "failed")
        assert failed["error"]["error"] == "the render made no progress for 0.3 s"


async def test_a_render_may_take_any_time_as_long_as_it_makes_progress(caller: OpenCaller) -> None:
    async with caller(scene_seconds=0.8) as to:
        began = anyio.current_time()
        await to.until(await to.start({"do": "render", "steps": 12, "seconds": 1.8}), "done")
        assert anyio.current_time() - began > 1.5


async def test_only_so_many_encode_at_once_and_in_order(caller: OpenCaller) -> None:
    async with caller(encoders=2) as to:
        jobs = [await to.start({"do": "hang"}) for _ in range(4)]
        await to.until(jobs[1], "running")
        await anyio.sleep(0.2)
        states = [(await to.state(job))["state"] for job in jobs]
        assert states == ["running", "running", "queued", "queued"]
        await to.http.delete(f"/jobs/{jobs[1]}")
        await to.until(jobs[2], "running")
        assert (await to.state(jobs[3]))["state"] == "queued"
        await to.http.delete(f"/jobs/{jobs[3]}")
        assert (await to.state(jobs[3]))["state"] == "cancelled"


async def test_a_full_queue_refuses_and_leaves_nothing(caller: OpenCaller) -> None:
    async with caller(encoders=1, waiting=1) as to:
        for _ in range(2):
            await to.start({"do": "hang"})
        refused = await to.post({"do": "render"})
        assert refused.status_code == 429
        assert "error" in refused.json()
        assert len({f.split("/")[1] for f in to.files() if f.startswith("jobs")}) == 2


async def test_leaving_the_service_ends_all_jobs(caller: OpenCaller, tmp_path: Path) -> None:
    async with caller() as to:
        await to.start({"do": "fork", "pids": str(tmp_path / "pids")})
        pids = await to_thread.run_sync(read_pids, tmp_path / "pids")
    assert not any(map(alive, pids))
    assert not to.service.folder.exists()


async def test_trouble_with_one_job_spares_the_others(
    caller: OpenCaller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with caller() as to:
        other = await to.start({"do": "fork", "pids": str(tmp_path / "pids")})
        await to_thread.run_sync(read_pids, tmp_path / "pids")
        to.service.jobs._render = (str(tmp_path / "no such program"),)
        failed = await to.until(await to.start({"do": "render"}), "failed")
        assert failed["error"]["error"] == "the service failed; see its log"
        assert (await to.state(other))["state"] == "running"
    assert "no such program" in caplog.text


async def test_a_folder_that_cannot_be_listed_ends_nothing(
    caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlisted(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    async with caller() as to:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "iterdir", unlisted)
            await to.until(await to.start({"do": "render"}), "done")
        await to.until(await to.start({"do": "render"}), "done")


async def test_ended_jobs_and_unused_contents_expire(caller: OpenCaller) -> None:
    async with caller(keep_seconds=0.3) as to:
        job = await to.start({"do": "render"})
        await to.until(job, "done")
        await eventually(lambda: not to.files())
        assert (await to.http.get(f"/jobs/{job}")).status_code == 404
        again = await to.start({"do": "render"})
        await to.until(again, "done")


async def test_asking_keeps(caller: OpenCaller) -> None:
    async with caller(keep_seconds=0.4) as to:
        sha = await to.put(b"watermark")
        for _ in range(10):
            await anyio.sleep(0.1)
            assert (await to.http.head(f"/files/{sha}")).status_code == 200


async def test_the_log_never_has_the_key(
    caller: OpenCaller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cloudburst")
    async with caller() as to:
        await to.until(await to.start({"do": "crash"}), "failed")
        assert "correct horse" not in caplog.text + repr(to.service.settings)
