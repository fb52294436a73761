"""Jobs: start, progress, result and deletion."""

from __future__ import annotations

import json
import pickle
from functools import partial

import anyio
import httpx
import pytest

from cloudburst.errors import (
    CloudburstError,
    EncodeError,
    RenderFailedError,
    UploadError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions
from cloudburst.workers.http.job import FinishedVideo, JobEvent
from cloudburst.workers.http.response import InvalidAnswerError, parse_json_as
from support.checked_scenes import as_checked
from support.fake_native_service import Pieces
from support.native_client import CUT, ignore, rendered, to_studio

pytestmark = pytest.mark.anyio


async def test_the_request_names_hashes_and_no_paths(studio, make_scene, tmp_path):
    mark = tmp_path / "mark.png"
    mark.write_bytes(b"mark")
    options = RenderOptions(watermark=mark, language="english", effects=())
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene("名 字"), options))
        await renderer.encode(upload, progress=ignore)
    asked = next(iter(studio.jobs.values())).asked
    assert asked["name"] == "名 字"
    assert studio.files[asked["watermark"]] == b"mark"
    expected = options.model_dump(mode="json", exclude={"watermark"}, exclude_defaults=True)
    assert asked["options"] == expected
    assert str(tmp_path) not in json.dumps(asked)


async def test_a_request_has_the_options_of_a_caption_as_they_are(studio, make_scene):
    """By its name, a worker would set again what was given as the default."""
    options = RenderOptions(caption="karaoke", background_box=True)
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene(), options))
        await renderer.encode(upload, progress=ignore)
    asked = next(iter(studio.jobs.values())).asked["options"]
    again = RenderOptions.model_validate(asked)
    assert JobOptions.from_options(again) == JobOptions.from_options(options)


async def test_warnings_of_a_video_are_kept_as_printable_lines(studio, make_scene):
    studio.warnings = ["subtitle: no glyph for X", "two\nlines\x1b[31m"]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        video = await renderer.encode(upload, progress=ignore)
    assert video.warnings == (
        "subtitle: no glyph for X",
        "two\N{REPLACEMENT CHARACTER}lines\N{REPLACEMENT CHARACTER}[31m",
    )


@pytest.mark.parametrize(("said", "kept"), [(None, 0.0), (4.5, 4.5)])
async def test_the_seconds_of_shared_encoding_are_kept(studio, make_scene, said, kept):
    studio.shared_seconds = said
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        video = await renderer.encode(upload, progress=ignore)
    assert video.shared_seconds == kept


@pytest.mark.parametrize("said", ["-0.1", "1e99", "NaN", "Infinity", '"x"', "null"])
def test_impossible_seconds_of_shared_encoding_are_an_invalid_answer(said):
    with pytest.raises(InvalidAnswerError):
        parse_json_as(JobEvent, f'{{"state": "done", "shared_seconds": {said}}}'.encode())


def test_too_many_warnings_are_an_invalid_answer():
    video = {"seconds": 1.0, "size": 5, "sha256": "0" * 64}
    good = json.dumps({**video, "warnings": ["again"] * 16}).encode()
    assert parse_json_as(FinishedVideo, good).warnings == ("again",) * 16
    with pytest.raises(InvalidAnswerError):
        parse_json_as(FinishedVideo, json.dumps({**video, "warnings": ["again"] * 17}).encode())


async def test_lost_files_are_sent_again(studio, make_scene):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        lost = list(studio.files)[:2]
        for sha256 in lost:
            del studio.files[sha256]
        await renderer.encode(upload, progress=ignore)
    assert studio.calls.count("PUT file") == 3 + 2
    assert studio.calls.count("POST job") == 2


async def test_files_that_are_lost_at_once_end_the_encode(studio, make_scene):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        missing = httpx.Response(409, json={"error": "?", "missing": [next(iter(studio.files))]})
        studio.script["POST job"] = [missing, missing]
        with pytest.raises(RenderFailedError, match="loses"):
            await renderer.encode(upload, progress=ignore)


async def test_changed_files_cannot_be_sent_again(studio, make_scene):
    scene = make_scene()
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(scene))
        studio.files.clear()
        scene.audio.write_bytes(b"another sound")
        with pytest.raises(UploadError, match="changed after it was sent") as caught:
            await renderer.encode(upload, progress=ignore)
    assert caught.value.field == "audio"


async def test_a_start_waits_while_the_worker_accepts_no_jobs(studio, make_scene, tmp_path, hasty):
    full = httpx.Response(429, json={"error": "too many jobs are waiting"})
    studio.script["POST job"] = [full] * 12
    await rendered(studio, make_scene(), tmp_path / "one.mp4", hasty)  # longer than its patience
    assert studio.calls.count("POST job") == 13


async def test_repeated_starts_carry_one_idempotency_key(studio, make_scene, tmp_path):
    studio.script["POST job"] = [CUT, httpx.Response(500)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    posts = [request for request in studio.requests if request.method == "POST"]
    assert len(posts) == 3
    assert len({request.headers["Idempotency-Key"] for request in posts}) == 1


async def test_a_job_whose_answer_was_lost_is_deleted_by_its_key(studio, make_scene):
    """The service names a job after the token of its request."""
    patience = Timeouts(silence=30)
    cut = anyio.Event()

    def lost(request):
        cut.set()
        raise CUT

    async with to_studio(studio, patience) as renderer, anyio.create_task_group() as tasks:
        upload = await renderer.upload(as_checked(make_scene()))
        studio.script["POST job"] = [lost] * 100
        tasks.start_soon(partial(renderer.encode, upload, progress=ignore))
        await cut.wait()
        await anyio.sleep(0.05)  # within the pause before the next try
        tasks.cancel_scope.cancel()
    tokens = {r.headers["Idempotency-Key"] for r in studio.requests if r.method == "POST"}
    deleted = [r.url.path for r in studio.requests if r.method == "DELETE"]
    assert deleted == [f"/jobs/{token}" for token in tokens]


@pytest.mark.parametrize(
    "answer",
    [httpx.ConnectError("?"), httpx.Response(429, json={"error": "too many jobs are waiting"})],
)
async def test_a_job_that_was_never_created_is_not_deleted(studio, make_scene, answer):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        studio.script["POST job"] = [answer] * 100
        with anyio.move_on_after(0.05):
            await renderer.encode(upload, progress=ignore)
    assert "POST job" in studio.calls
    assert "DELETE job" not in studio.calls


BAD_IMAGE = {"error": "e", "field": "image", "found": "a text", "expected": "a picture"}


@pytest.mark.parametrize(
    ("state", "error", "kind", "retryable"),
    [
        ("failed", BAD_IMAGE, EncodeError, False),
        ("failed", {"error": "exit 3"}, RenderFailedError, True),
        ("failed", None, RenderFailedError, True),
        ("cancelled", None, RenderFailedError, True),
        ("interrupted", None, WorkerStoppedError, True),
    ],
)
async def test_jobs_that_end_badly(studio, make_scene, *, state, error, kind, retryable):
    def end_badly(request):
        job = next(iter(studio.jobs.values()))
        job.state, job.error = state, error

    studio.script["GET events"] = [end_badly]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        with pytest.raises(CloudburstError) as caught:
            await renderer.encode(upload, progress=ignore)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    if kind is EncodeError:
        assert (caught.value.scene, caught.value.field) == ("one", "image")
        assert "found" not in str(caught.value)
        assert "a text; expected a picture" in str(caught.value)
    assert not studio.jobs


async def test_a_refused_job_is_a_problem_of_the_scene(studio, make_scene):
    refusal = {"error": "e", "field": "options.font_size", "found": "7", "expected": "8 or more"}
    studio.script["POST job"] = [httpx.Response(400, json=refusal)]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        with pytest.raises(EncodeError, match="7; expected 8 or more") as caught:
            await renderer.encode(upload, progress=ignore)
    assert caught.value.field == "options.font_size"


@pytest.mark.parametrize("take", range(7))
async def test_a_stream_of_events_may_be_cut_anywhere(studio, make_scene, tmp_path, take):
    def cut(request):
        whole = studio.events(next(iter(studio.jobs.values())))
        inside = [piece for line in whole for piece in (line[:9], line[9:])]
        return httpx.Response(200, stream=Pieces(*inside[:take], CUT))

    def ended(request):
        return httpx.Response(
            200, stream=Pieces(*studio.events(next(iter(studio.jobs.values())))[: take // 2])
        )

    studio.script["GET events"] = [cut, ended]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert studio.calls.count("GET events") == 3
    assert studio.calls.count("POST job") == 1


async def test_progress_never_goes_back(studio, make_scene):
    studio.script["GET events"] = [
        httpx.Response(200, stream=Pieces(b'{"state":"running","progress":0.7}\n', CUT))
    ]
    shares = []
    async with to_studio(studio) as renderer:
        await renderer.encode(
            await renderer.upload(as_checked(make_scene())), progress=shares.append
        )
    assert shares == [0.7, 1.0]


async def test_a_worker_that_does_not_know_the_job_has_stopped(studio, make_scene):
    studio.script["GET events"] = [httpx.Response(404, json={"error": "no such job"})]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        with pytest.raises(WorkerStoppedError, match="does not know the job"):
            await renderer.encode(upload, progress=ignore)


async def test_a_heartbeat_keeps_a_silent_job(studio, make_scene):
    beat = b'{"state":"running","progress":0.1}\n'
    beats = [part for _ in range(8) for part in (beat, 0.1)]
    studio.script["GET events"] = [httpx.Response(200, stream=Pieces(*beats, CUT))]
    timeouts = Timeouts(silence=0.5)
    async with to_studio(studio, timeouts) as renderer:
        await renderer.encode(await renderer.upload(as_checked(make_scene())), progress=ignore)
    assert studio.calls.count("GET events") == 2


@pytest.mark.parametrize("begun", [False, True])
async def test_the_first_progress_means_that_the_job_has_begun(studio, make_scene, begun):
    """A stopping worker ends jobs of its queue, and finishes those that have begun."""
    lines = ["queued", *["running"] * begun, "interrupted"]
    text = "".join(json.dumps({"state": state, "progress": 0.0}) + "\n" for state in lines)
    studio.script["GET events"] = [httpx.Response(200, text=text)]
    shares = []
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        with pytest.raises(WorkerStoppedError) as caught:
            await renderer.encode(upload, progress=shares.append)
    assert shares == [0.0] * begun
    assert caught.value.draining is not begun
    assert pickle.loads(pickle.dumps(caught.value)).draining is not begun
