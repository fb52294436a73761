"""The client's side of the native protocol against a service in memory."""

from __future__ import annotations

import json
import logging
import os
import pickle

import anyio
import httpx
import pytest
from studio import KEY, Pieces, mp4

from cloudburst.adapters.http.files import Hashes
from cloudburst.adapters.http.native import connect
from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    DownloadError,
    GenerateError,
    OutputWriteError,
    RenderFailedError,
    UploadError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts

pytestmark = pytest.mark.anyio

OPTIONS = RenderOptions()
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For bodies that are left before their end: httpx leaves generators behind, of which trio warns."""
CUT = httpx.RemoteProtocolError("cut")


def to_studio(studio, timeouts=Timeouts(), key=KEY, **more):  # noqa: B008
    return connect("http://w", key=key, timeouts=timeouts, transport=studio.transport, **more)


def ignore(share):
    pass


async def rendered(studio, scene, to, timeouts=Timeouts()):  # noqa: B008
    async with to_studio(studio, timeouts) as renderer:
        upload = await renderer.upload(scene, OPTIONS)
        output = await renderer.generate(upload, progress=ignore)
        return await renderer.download(output, to)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".mp4", ".part"})


async def test_a_scene_goes_there_and_a_video_comes_back(studio, make_scene, tmp_path):
    shares = []
    async with to_studio(studio) as renderer:
        assert await renderer.healthy()
        upload = await renderer.upload(make_scene(), OPTIONS)
        output = await renderer.generate(upload, progress=shares.append)
        download = await renderer.download(output, tmp_path / "one.mp4")
    assert shares == [0.25, 0.5, 1.0]
    assert (output.seconds, output.size) == (2.5, len(studio.video))
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    assert (download.size, download.sha256) == (len(studio.video), studio.sha256)
    assert not studio.jobs, "a video that has arrived is deleted"
    assert upload.sent == sum(map(len, studio.files.values()))
    assert studio.calls == [
        "GET health",
        *["PUT file"] * 3,
        "POST job",
        "GET events",
        "GET video",
        "DELETE job",
    ]


async def test_the_request_names_contents_and_no_paths(studio, make_scene, tmp_path):
    mark = tmp_path / "mark.png"
    mark.write_bytes(b"mark")
    options = RenderOptions(watermark=mark, language="english", effects=())
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene("名 字"), options)
        await renderer.generate(upload, progress=ignore)
    asked = next(iter(studio.jobs.values())).asked
    assert asked["name"] == "名 字"
    assert studio.files[asked["watermark"]] == b"mark"
    assert asked["options"] == options.model_dump(mode="json", exclude={"watermark"})
    assert str(tmp_path) not in json.dumps(asked)


async def test_a_shared_file_travels_once(studio, make_scene, tmp_path):
    mark = tmp_path / "mark.png"
    mark.write_bytes(b"mark")
    studio.pause = 0.01
    sent = []

    async def upload(renderer, number):
        scene = make_scene(f"s{number}", image=b"%d" % number)
        sent.append((await renderer.upload(scene, RenderOptions(watermark=mark))).sent)

    async with to_studio(studio) as renderer, anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(upload, renderer, number)
    assert studio.calls.count("PUT file") == 8 + 3  # pictures; sound, subtitle and watermark once
    assert sum(sent) == sum(map(len, studio.files.values()))


async def test_a_file_is_hashed_once_for_all_workers(tmp_path):
    path, hashes = tmp_path / "a", Hashes()
    path.write_bytes(b"first")
    os.utime(path, ns=(1, 1))
    first = await hashes.of(path)
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    assert await hashes.of(path) == first, "read again though nothing said it had changed"
    os.utime(path, ns=(1, 2))
    assert (await hashes.of(path)).sha256 != first.sha256


async def test_a_large_file_that_is_there_does_not_travel(studio, make_scene):
    scene = make_scene(image=bytes(300_000))
    async with to_studio(studio) as renderer:
        first = await renderer.upload(scene, OPTIONS)
    async with to_studio(studio) as renderer:
        again = await renderer.upload(scene, OPTIONS)
    assert first.sent - again.sent == 300_000


@pytest.mark.parametrize("field", ["image", "audio", "subtitle"])
async def test_a_file_that_cannot_be_read(studio, make_scene, field):
    scene = make_scene()
    getattr(scene, field).unlink()
    async with to_studio(studio) as renderer:
        with pytest.raises(UploadError, match="No such file") as caught:
            await renderer.upload(scene, OPTIONS)
    assert (caught.value.scene, caught.value.field) == ("one", field)


class Interfering(httpx.AsyncBaseTransport):
    """Does something after the first block of an upload."""

    def __init__(self, studio, deed):
        self.studio = studio
        self.deed = deed

    async def handle_async_request(self, request):
        if request.method == "PUT":
            async for _ in request.stream:
                await anyio.to_thread.run_sync(self.deed)
        return await self.studio.answer(request)


@pytest.mark.parametrize("content", [b"short", bytes(1_000_001), None])
async def test_a_file_that_changes_while_it_is_sent(studio, make_scene, content):
    scene = make_scene(image=bytes(1_000_000))

    def change():
        if content is None:
            scene.image.unlink(missing_ok=True)
        else:
            scene.image.write_bytes(content)

    transport = Interfering(studio, change)
    async with connect("http://w", key=KEY, timeouts=Timeouts(), transport=transport) as renderer:
        message = "No such file" if content is None else "changed while it was read"
        with pytest.raises(UploadError, match=message) as caught:
            await renderer.upload(scene, OPTIONS)
    assert caught.value.field == "image"
    assert not studio.files


@pytest.mark.parametrize("status", [400, 411, 413])
async def test_a_refused_file_names_its_field(studio, make_scene, status):
    studio.script["PUT file"] = [None, httpx.Response(status, json={"error": "more than 5 bytes"})]
    async with to_studio(studio) as renderer:
        with pytest.raises(UploadError, match="more than 5 bytes") as caught:
            await renderer.upload(make_scene(), OPTIONS)
    assert (caught.value.field, caught.value.retryable) == ("audio", False)


@pytest.mark.parametrize(
    "trouble", [httpx.Response(500), httpx.Response(507), CUT, httpx.ReadTimeout("slow")]
)
@pytest.mark.parametrize("route", ["HEAD file", "PUT file", "POST job", "GET events", "GET video"])
async def test_passing_trouble_is_borne(studio, make_scene, tmp_path, route, trouble):
    studio.script[route] = [trouble, trouble]
    await rendered(studio, make_scene(image=bytes(300_000)), tmp_path / "one.mp4")
    assert left_in(tmp_path) == ["one.mp4"]
    assert studio.calls.count(route) >= 3
    assert not studio.jobs


@pytest.mark.parametrize("trouble", [httpx.Response(500), CUT, httpx.Response(200, content=b"?")])
@pytest.mark.parametrize("route", ["PUT file", "POST job", "GET events", "GET video"])
async def test_lasting_trouble_is_a_lost_worker(
    studio, make_scene, tmp_path, hasty, route, trouble
):
    if (
        isinstance(trouble, httpx.Response)
        and trouble.is_success
        and route in {"PUT file", "GET video"}
    ):
        pytest.skip("any 2xx will do for a PUT; the video's bytes are tested elsewhere")
    studio.script[route] = [trouble] * 1000
    with pytest.raises(WorkerStoppedError) as caught:
        await rendered(studio, make_scene(), tmp_path / "one.mp4", hasty)
    assert caught.value.retryable
    assert left_in(tmp_path) == []
    assert not studio.jobs


async def test_a_machine_that_refuses_connections_is_given_up_at_once(unused_port, make_scene):
    async with connect(f"http://127.0.0.1:{unused_port}", key=KEY, timeouts=Timeouts()) as renderer:
        assert not await renderer.healthy()
        with anyio.fail_after(5), pytest.raises(WorkerStoppedError, match="refuses connections"):
            await renderer.upload(make_scene(), OPTIONS)


@pytest.fixture
async def unused_port():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        return listener.extra(anyio.abc.SocketAttribute.local_port)


@pytest.mark.parametrize("route", ["PUT file", "POST job", "GET events", "GET video", "DELETE job"])
async def test_a_refused_key_says_so_and_never_shows(studio, make_scene, tmp_path, caplog, route):
    caplog.set_level(logging.DEBUG)
    studio.script[route] = [httpx.Response(401, json={"error": "no"})] * 1000
    if route == "DELETE job":
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    else:
        with pytest.raises(WorkerError, match="refused the key") as caught:
            await rendered(studio, make_scene(), tmp_path / "one.mp4")
        assert not caught.value.retryable
        assert KEY not in repr(caught.value)
    async with to_studio(studio) as renderer:
        assert KEY not in repr(renderer) + repr(vars(renderer)) + repr(vars(renderer._line))
    assert caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
async def test_a_key_that_no_header_carries_is_not_shown(studio, key):
    with pytest.raises(ConfigurationError) as caught:
        async with to_studio(studio, key=key):
            pass
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "worker:5000", "ftp://w", "http://", "http://w:x", "http://[::"]
)
async def test_an_address_that_is_none(address):
    with pytest.raises(ConfigurationError, match="base URL"):
        async with connect(address, key=KEY, timeouts=Timeouts()):
            pass


@pytest.mark.parametrize(
    "answer",
    [CUT, httpx.ConnectTimeout(""), httpx.Response(503), httpx.Response(200, content=b"<html>"),
     httpx.Response(200, json=[]), httpx.Response(200, json={"status": "starting"})],
)  # fmt: skip
async def test_healthy_never_raises(studio, answer):
    studio.script["GET health"] = [answer]
    async with to_studio(studio) as renderer:
        assert not await renderer.healthy()
        assert await renderer.healthy()


async def test_contents_that_were_lost_are_sent_again(studio, make_scene):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        lost = list(studio.files)[:2]
        for sha256 in lost:
            del studio.files[sha256]
        await renderer.generate(upload, progress=ignore)
    assert studio.calls.count("PUT file") == 3 + 2
    assert studio.calls.count("POST job") == 2


async def test_contents_that_are_lost_at_once_end_it(studio, make_scene):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        missing = httpx.Response(409, json={"error": "?", "missing": [next(iter(studio.files))]})
        studio.script["POST job"] = [missing, missing]
        with pytest.raises(RenderFailedError, match="loses"):
            await renderer.generate(upload, progress=ignore)


async def test_contents_that_changed_since_cannot_be_sent_again(studio, make_scene):
    scene = make_scene()
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(scene, OPTIONS)
        studio.files.clear()
        scene.audio.write_bytes(b"another sound")
        with pytest.raises(UploadError, match="changed after it was sent") as caught:
            await renderer.generate(upload, progress=ignore)
    assert caught.value.field == "audio"


async def test_a_full_queue_is_waited_for(studio, make_scene, tmp_path, hasty):
    full = httpx.Response(429, json={"error": "too many jobs wait"})
    studio.script["POST job"] = [full] * 12
    await rendered(studio, make_scene(), tmp_path / "one.mp4", hasty)  # longer than its patience
    assert studio.calls.count("POST job") == 13


async def test_repeated_starts_carry_one_token(studio, make_scene, tmp_path):
    studio.script["POST job"] = [CUT, httpx.Response(500)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    posts = [request for request in studio.requests if request.method == "POST"]
    assert len(posts) == 3
    assert len({request.headers["Idempotency-Key"] for request in posts}) == 1


@pytest.mark.parametrize(
    ("state", "error", "kind", "retryable"),
    [
        ("failed", {"error": "e", "field": "image", "found": "a text", "expected": "a picture"}, GenerateError, False),
        ("failed", {"error": "exit 3"}, RenderFailedError, True),
        ("failed", None, RenderFailedError, True),
        ("cancelled", None, RenderFailedError, True),
        ("interrupted", None, WorkerStoppedError, True),
    ],
)  # fmt: skip
async def test_jobs_that_end_badly(studio, make_scene, state, error, kind, retryable):
    def end_badly(request):
        job = studio.jobs["j0"]
        job.state, job.error = state, error

    studio.script["GET events"] = [end_badly]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        with pytest.raises(CloudburstError) as caught:
            await renderer.generate(upload, progress=ignore)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    if kind is GenerateError:
        assert (caught.value.scene, caught.value.field) == ("one", "image")
        assert "found" not in str(caught.value)
        assert "a text; expected a picture" in str(caught.value)
    assert not studio.jobs


async def test_a_refused_job_is_the_scenes_fault(studio, make_scene):
    refusal = {"error": "e", "field": "options.font_size", "found": "7", "expected": "8 or more"}
    studio.script["POST job"] = [httpx.Response(400, json=refusal)]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        with pytest.raises(GenerateError, match="7; expected 8 or more") as caught:
            await renderer.generate(upload, progress=ignore)
    assert caught.value.field == "options.font_size"


@pytest.mark.parametrize("take", range(7))
async def test_a_stream_of_events_may_be_cut_anywhere(studio, make_scene, tmp_path, take):
    def cut(request):
        whole = studio.events(studio.jobs["j0"])
        inside = [piece for line in whole for piece in (line[:9], line[9:])]
        return httpx.Response(200, stream=Pieces(*inside[:take], CUT))

    def ended(request):
        return httpx.Response(200, stream=Pieces(*studio.events(studio.jobs["j0"])[: take // 2]))

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
        await renderer.generate(
            await renderer.upload(make_scene(), OPTIONS), progress=shares.append
        )
    assert shares == [0.7, 1.0]


async def test_a_worker_that_forgot_the_job_is_lost(studio, make_scene):
    studio.script["GET events"] = [httpx.Response(404, json={"error": "no such job"})]
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        with pytest.raises(WorkerStoppedError, match="no longer knows"):
            await renderer.generate(upload, progress=ignore)


async def test_a_heartbeat_holds_a_silent_job(studio, make_scene):
    beat = b'{"state":"running","progress":0.1}\n'
    beats = [part for _ in range(8) for part in (beat, 0.1)]
    studio.script["GET events"] = [httpx.Response(200, stream=Pieces(*beats, CUT))]
    timeouts = Timeouts(silence=0.5)
    async with to_studio(studio, timeouts) as renderer:
        await renderer.generate(await renderer.upload(make_scene(), OPTIONS), progress=ignore)
    assert studio.calls.count("GET events") == 2


def piece(studio, start, stop, *more, status=200, headers=None):
    return httpx.Response(
        status,
        headers=headers or {"ETag": f'"{studio.sha256}"'},
        stream=Pieces(studio.video[start:stop], *more),
    )


@pytest.mark.parametrize("at", [0, 1, 7, 8, 500, 32_000])
async def test_a_download_goes_on_where_it_was_cut(studio, make_scene, tmp_path, at):
    studio.script["GET video"] = [piece(studio, 0, at, CUT)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    asked = [
        request.headers.get("Range")
        for request in studio.requests
        if request.url.path.endswith("video")
    ]
    assert asked == [None, f"bytes={at}-" if at else None]


@pytest.mark.parametrize(
    "second",
    [
        lambda studio: piece(studio, 0, None),
        lambda studio: httpx.Response(416, json={"error": "no byte"}),
        lambda studio: piece(studio, 4, None, status=206, headers={"Content-Range": "bytes 4-9/9"}),
    ],
)
async def test_an_answer_that_does_not_continue_begins_anew(studio, make_scene, tmp_path, second):
    studio.script["GET video"] = [piece(studio, 0, 1000, CUT), second(studio)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video


async def test_a_video_damaged_on_the_way_is_fetched_once_more(studio, make_scene, tmp_path):
    damaged = httpx.Response(200, stream=Pieces(studio.video[:-1], b"?"))
    studio.script["GET video"] = [damaged]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    assert studio.calls.count("GET video") == 2


@ASYNCIO
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: httpx.Response(200, stream=Pieces(s.video[:-1], b"?")), "has the hash"),
        (lambda s: httpx.Response(200, stream=Pieces(s.video, b"?")), "more than"),
        (
            lambda s: httpx.Response(200, stream=Pieces(s.video[:0])),
            "does not arrive beyond byte 0",
        ),
        (lambda s: httpx.Response(200, headers={"ETag": '"b"'}, stream=Pieces(s.video)), "another"),
        (lambda s: httpx.Response(404, json={"error": "deleted"}), "deleted"),
        (lambda s: httpx.Response(409, json={"error": "not done"}), "not done"),
    ],
)
async def test_a_video_that_will_not_arrive_whole(studio, make_scene, tmp_path, answer, message):
    studio.script["GET video"] = [answer(studio) for _ in range(20)]
    with pytest.raises(DownloadError, match=message) as caught:
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (caught.value.retryable, caught.value.scene) == (True, "one")
    assert left_in(tmp_path) == []
    assert not studio.jobs


@pytest.mark.parametrize(
    "video",
    [b"text" * 100, mp4(order=["ftyp", "mdat", "moov"]), mp4(order=["ftyp", "moov"]), mp4()[:-5]],
)
async def test_what_cannot_be_played_is_no_video(studio, make_scene, tmp_path, video):
    studio.video = video
    with pytest.raises(DownloadError, match="cannot be played"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert left_in(tmp_path) == []


async def test_a_folder_that_is_not_there(studio, make_scene, tmp_path):
    with pytest.raises(OutputWriteError, match="No such file") as caught:
        await rendered(studio, make_scene(), tmp_path / "no" / "one.mp4")
    assert not caught.value.retryable
    assert "one.mp4" in str(caught.value)


@ASYNCIO
async def test_a_disk_that_is_full(studio, make_scene, tmp_path):
    import resource

    studio.video = mp4(bytes(3_000_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(OutputWriteError, match="too large"):
            await rendered(studio, make_scene(), tmp_path / "one.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


async def test_a_video_may_replace_another(studio, make_scene, tmp_path):
    (tmp_path / "one.mp4").write_bytes(b"old")
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video


async def test_a_delete_that_hangs_delays_nothing_for_long(studio, make_scene, tmp_path, caplog):
    def hang(request):
        studio.pause = 60.0

    studio.script["DELETE job"] = [hang]
    with anyio.fail_after(6):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert "may still be at its worker" in caplog.text
