"""The native protocol, request by request."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from cloudburst.service.app import build_app
from support.service_caller import Caller, OpenCaller

pytestmark = pytest.mark.anyio

ABSENT = "0" * 64


async def test_every_call_wants_the_key_but_health(caller: OpenCaller) -> None:
    async with caller() as to:
        calls = [
            ("HEAD", f"/files/{ABSENT}"),
            ("PUT", f"/files/{ABSENT}"),
            ("POST", "/jobs"),
            ("GET", "/jobs/x"),
            ("DELETE", "/jobs/x"),
            ("DELETE", "/jobs"),
            ("GET", "/jobs/x/events"),
            ("GET", "/jobs/x/video"),
            ("GET", "/jobs/x/cover"),
            ("POST", "/films"),
        ]
        for key in ("", "wrong", "correct hors", "correct horse "):
            for method, path in calls:
                answer = await to.http.request(
                    method, path, headers={"X-Authentication-Key": key}, content=b"{}"
                )
                assert answer.status_code == 401, (method, path)
                assert method == "HEAD" or answer.json()["error"] == "Authentication failed"
        assert (await to.http.get("/health", headers={"X-Authentication-Key": ""})).is_success


@pytest.mark.parametrize("path", ["/jobs/", "/health/"])
async def test_a_path_with_a_slash_too_many_is_not_redirected(
    caller: OpenCaller, path: str
) -> None:
    """A redirect would name whatever host the caller has named."""
    async with caller() as to:
        answer = await to.http.get(path, headers={"Host": "elsewhere.example"})
        assert answer.status_code == 404
        assert "Location" not in answer.headers


@pytest.mark.parametrize("key", [None, "", "your-authentication-key-placeholder-uuid-here"])
async def test_without_a_key_native_is_shut(caller: OpenCaller, key: str | None) -> None:
    async with caller(key=key) as to:
        for given in ("", key or "x"):
            answer = await to.http.get("/jobs/x", headers={"X-Authentication-Key": given})
            assert answer.status_code == 401


async def test_contents_are_known_by_their_hash(caller: OpenCaller) -> None:
    async with caller() as to:
        content = bytes(range(256)) * 20_000
        sha = hashlib.sha256(content).hexdigest()
        assert (await to.http.head(f"/files/{sha}")).status_code == 404
        stored = await to.http.put(f"/files/{sha}", content=content)
        assert (stored.status_code, stored.json()) == (201, {"sha256": sha})
        assert (await to.http.head(f"/files/{sha}")).status_code == 200
        assert (await to.http.put(f"/files/{sha}", content=content)).status_code == 200
        assert to.files() == [f"files/{sha}"]
        assert (to.service.folder / "files" / sha).read_bytes() == content


async def test_a_chunked_body_is_taken(caller: OpenCaller) -> None:
    async def chunks() -> Any:
        for _ in range(5):
            yield b"x" * 700_000

    async with caller() as to:
        sha = hashlib.sha256(b"x" * 3_500_000).hexdigest()
        assert (await to.http.put(f"/files/{sha}", content=chunks())).status_code == 201


async def test_a_wrong_hash_is_refused_and_nothing_kept(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await to.http.put(f"/files/{ABSENT}", content=b"something else")
        assert answer.status_code == 400
        assert answer.json()["sha256"] == hashlib.sha256(b"something else").hexdigest()
        assert (await to.http.head(f"/files/{ABSENT}")).status_code == 404
        assert to.files() == []


@pytest.mark.parametrize("size", [1001, 5000])
async def test_a_body_over_the_limit_is_refused(caller: OpenCaller, size: int) -> None:
    async def in_chunks() -> Any:
        for _ in range(size // 100 + 1):
            yield b"x" * 100

    async with caller(body_bytes=1000) as to:
        sha = hashlib.sha256(b"x" * size).hexdigest()
        for content in (b"x" * size, in_chunks()):
            answer = await to.http.put(f"/files/{sha}", content=content)
            assert answer.status_code == 413
            assert answer.json()["limit"] == 1000
        assert to.files() == []
        assert (await to.put(b"x" * 1000)) in to.files()[0]


async def test_the_same_content_twice_at_once_is_stored_once(caller: OpenCaller) -> None:
    content = b"w" * 3_000_000
    sha = hashlib.sha256(content).hexdigest()
    statuses: list[int] = []

    async with caller() as to:

        async def put() -> None:
            statuses.append((await to.http.put(f"/files/{sha}", content=content)).status_code)

        async with create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(put)
        assert sorted(statuses) == [200, 200, 200, 201]
        assert to.files() == [f"files/{sha}"]


async def raw_put(
    to: Caller, sha: str, messages: list[dict[str, Any]], *, headers: dict[str, str]
) -> list[dict[str, Any]]:
    """One PUT as the server sees it, piece by piece; the last message repeats for ever."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"x-authentication-key": "correct horse", **headers}
    scope = {
        "type": "http",
        "method": "PUT",
        "path": f"/files/{sha}",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await build_app(to.service)(scope, receive, send)
    return sent


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_caller_who_leaves_mid_upload_leaves_nothing(caller: OpenCaller) -> None:
    async with caller() as to:
        pieces = [piece(b"x" * 2_000_000, more=True), {"type": "http.disconnect"}]
        await raw_put(to, ABSENT, pieces, headers={"content-length": "4000000"})
        assert to.files() == []


async def test_a_stalled_upload_is_given_up(caller: OpenCaller) -> None:
    async with caller(stall_seconds=0.1) as to:
        sent = await raw_put(to, ABSENT, [piece(b"x", more=True)], headers={"content-length": "10"})
        assert sent[0]["status"] == 408
        assert to.files() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 411),
        ({"content-length": "-1"}, 400),
        ({"content-length": "1e3"}, 400),
        ({"content-length": "١"}, 400),
        ({"content-length": "9" * 5000}, 413),
        ({"content-length": "7"}, 400),
        ({"content-length": "2"}, 400),
    ],
)
async def test_bad_framing_is_refused(
    caller: OpenCaller, headers: dict[str, str], status: int
) -> None:
    async with caller() as to:
        sha = hashlib.sha256(b"abc").hexdigest()
        sent = await raw_put(to, sha, [piece(b"abc", more=False)], headers=headers)
        assert sent[0]["status"] == status
        assert "error" in json.loads(sent[1]["body"])
        assert to.files() == []


async def test_a_full_disk_is_507_until_used_contents_can_go(caller: OpenCaller) -> None:
    async with caller() as to:
        job = await to.start({"do": "render"})
        await to.until(job, "done")
        assert len([f for f in to.files() if f.startswith("files")]) == 2
        to.service.store._reserve = 2**62
        new = await to.http.put(f"/files/{ABSENT}", content=b"y")
        assert new.status_code == 507
        assert "error" in new.json()
        # What jobs have had goes first; that did not help here.
        assert [f for f in to.files() if f.startswith("files")] == []
        assert (await to.http.post("/jobs", json=request())).status_code == 507


async def test_a_write_that_finds_the_disk_full_is_507(caller: OpenCaller) -> None:
    import errno

    from cloudburst.service import request_body

    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    async with caller() as to:
        sink = request_body._Sink(Full())  # type: ignore[arg-type]
        sink.waiting += b"x"
        with pytest.raises(request_body.RejectedRequestError) as caught:
            async with request_body._translated():
                sink.flush()
        assert caught.value.status == 507
        assert to.files() == []


def request(**more: Any) -> dict[str, Any]:
    return {"name": "scene", "image": ABSENT, "audio": ABSENT, **more}


async def test_unknown_contents_are_named(caller: OpenCaller) -> None:
    async with caller() as to:
        image = await to.put(b"image")
        answer = await to.http.post(
            "/jobs", json=request(image=image, audio="a" * 64, watermark="b" * 64)
        )
        assert answer.status_code == 409
        assert answer.json()["missing"] == ["a" * 64, "b" * 64]
        assert to.files() == [f"files/{image}"]


async def test_the_same_request_sent_again_starts_nothing_new(caller: OpenCaller) -> None:
    async with caller() as to:
        sha = await to.put(json.dumps({"sleep": 30}).encode())
        body, answers = request(image=sha, audio=sha), []

        async def post() -> None:
            headers = {"Idempotency-Key": "0123456789abcdef" * 2}
            answers.append(await to.http.post("/jobs", json=body, headers=headers))

        async with create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(post)
        await post()
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        assert {answer.json()["id"] for answer in answers} == {"0123456789abcdef" * 2}
        assert len(to.service.jobs.all()) == 1
        for key in ("", "x" * 32, "../" * 10, "A" * 32):
            answer = await to.http.post("/jobs", json=body, headers={"Idempotency-Key": key})
            assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")


async def test_a_content_whose_file_is_gone_is_missing_and_can_come_again(
    caller: OpenCaller,
) -> None:
    async with caller() as to:
        sha = await to.put(b"image")
        (to.service.folder / "files" / sha).unlink()
        body = request(image=sha, audio=sha)
        assert (await to.http.post("/jobs", json=body)).json()["missing"] == [sha]
        assert (await to.http.head(f"/files/{sha}")).status_code == 404
        await to.put(b"image")
        assert (await to.http.post("/jobs", json=body)).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b"[" * 60_000, ""),
        (b"[1, 2]", ""),
        (b'"text"', ""),
        (b"null", ""),
        (b'{"name": NaN}', ""),
        (b'{"name": "\\ud800"}', ""),
        (b'{"name": ' + b"9" * 10_000 + b"}", ""),
        (json.dumps(request(name="")).encode(), "name"),
        (json.dumps(request(name="../../etc/passwd")).encode(), "name"),
        (json.dumps(request(name="n" * 5000)).encode(), "name"),
        (json.dumps(request(name=7)).encode(), "name"),
        (json.dumps(request(image=None)).encode(), ""),
        (json.dumps(request(image="../" + "0" * 61)).encode(), "image"),
        (json.dumps(request(image="A" * 64)).encode(), "image"),
        (json.dumps(request(image=ABSENT + "\n")).encode(), "image"),
        (json.dumps(request(audio=[ABSENT])).encode(), "audio"),
        (json.dumps(request(subtitle="")).encode(), "subtitle"),
        (json.dumps(request(surprise=1)).encode(), "surprise"),
        (json.dumps(request(options=None)).encode(), "options"),
        (json.dumps(request(options={"zoom": 1})).encode(), "options.zoom"),
        (json.dumps(request(options={"effects": ["spin"]})).encode(), "options.effects.0"),
        (json.dumps(request(options={"background_opacity": 1e400})).encode(), ""),
        (
            json.dumps(request(options={"background_opacity": 2})).encode(),
            "options.background_opacity",
        ),
        (json.dumps(request(options={"font_size": 10**30})).encode(), "options.font_size"),
        (json.dumps(request(options={"outline_color": "&H0\n"})).encode(), "options.outline_color"),
        (json.dumps(request(options={"font": "/etc/passwd"})).encode(), "options"),
        (json.dumps(request(options={"font": "Arial"})).encode(), "options.font"),
        (json.dumps(request(font="Arial")).encode(), "font"),
        (json.dumps(request(options={"watermark": "/etc/passwd"})).encode(), "options"),
        (json.dumps(request(options={"watermark_path": "/etc/passwd"})).encode(), "options"),
    ],
)
async def test_a_bad_job_is_a_400_that_names_the_field(
    caller: OpenCaller, body: bytes, field: str
) -> None:
    async with caller() as to:
        answer = await to.http.post("/jobs", content=body)
        assert answer.status_code == 400, answer.text
        told = answer.json()
        assert told["field"] == field
        assert told["error"]
        assert told["expected"]
        assert len(told["found"]) < 300
        assert to.files() == []


async def test_a_huge_job_is_413(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await to.http.post("/jobs", content=b" " * 100_000)
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "/jobs/..%2f..%2fetc%2fpasswd", {404}),
        ("GET", "/jobs/%00", {404}),
        ("GET", "/jobs/%ff/video", {404}),
        ("GET", "/jobs/" + "x" * 5000, {404}),
        ("DELETE", "/jobs/unknown", {404}),
        ("GET", "/jobs/unknown/events", {404}),
        ("GET", "/jobs/../health", {200, 404}),
        ("GET", "/jobs", {405}),
        ("POST", "/jobs/x", {405}),
        ("GET", f"/files/{ABSENT}", {405}),
        ("PUT", "/files/..%2f..%2fetc%2fpasswd", {404}),
        ("PUT", "/files/%2e%2e", {400, 404}),
        ("PUT", f"/files/{'G' * 64}", {400}),
        ("PUT", f"/files/{'A' * 64}", {400}),
        ("PUT", f"/files/{'٠' * 64}", {400}),
        ("PUT", f"/files/{'0' * 63}", {400}),
        ("PUT", f"/files/{ABSENT}%0a", {400}),
        ("HEAD", "/files/xyz", {400}),
        ("GET", "/", {404}),
        ("GET", "/jobs/../../etc/passwd", {404}),
        ("PATCH", "/health", {405}),
    ],
)
async def test_odd_paths_are_refused_in_json(
    caller: OpenCaller, method: str, path: str, statuses: set[int]
) -> None:
    async with caller() as to:
        answer = await to.http.request(method, path, content=b"x" if method == "PUT" else None)
        assert answer.status_code in statuses
        assert method == "HEAD" or answer.status_code == 200 or answer.json()["error"]


async def video(to: Caller) -> tuple[str, bytes]:
    job = await to.start({"do": "render"})
    await to.until(job, "done")
    return f"/jobs/{job}/video", to.video(job).read_bytes()


async def test_the_video_comes_whole_or_in_parts(caller: OpenCaller) -> None:
    async with caller() as to:
        path, content = await video(to)
        whole = await to.http.get(path)
        assert (whole.status_code, whole.content) == (200, content)
        tag = whole.headers["etag"]
        assert tag == f'"{hashlib.sha256(content).hexdigest()}"'
        assert whole.headers["content-length"] == str(len(content))
        assert whole.headers["content-type"] == "video/mp4"

        size = len(content)
        for asked, start, end in [
            ("bytes=0-0", 0, 1),
            ("bytes=5-", 5, size),
            ("bytes=5-9", 5, 10),
            ("bytes=5-99999", 5, size),
            (f"bytes={size - 1}-{'9' * 30}", size - 1, size),
        ]:
            part = await to.http.get(path, headers={"Range": asked})
            assert part.status_code == 206, asked
            assert part.content == content[start:end]
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert part.headers["content-length"] == str(end - start)

        for asked in ("bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-b", "x", ""):
            refused = await to.http.get(path, headers={"Range": asked})
            assert refused.status_code == 400, asked

        for asked in (f"bytes={size}-", f"bytes={'9' * 30}-"):
            refused = await to.http.get(path, headers={"Range": asked})
            assert refused.status_code == 416
            assert refused.headers["content-range"] == f"bytes */{size}"

        for condition, status in [(tag, 206), ('"other"', 200), (f"W/{tag}", 200)]:
            headers = {"Range": "bytes=1-3", "If-Range": condition}
            assert (await to.http.get(path, headers=headers)).status_code == status

        head = await to.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(size)


async def test_a_video_that_is_not_there_yet_is_409(caller: OpenCaller) -> None:
    async with caller() as to:
        running = await to.start({"do": "hang"})
        assert (await to.http.get(f"/jobs/{running}/video")).status_code == 409
        failed = await to.start({"do": "fault"})
        await to.until(failed, "failed")
        answer = await to.http.get(f"/jobs/{failed}/video")
        assert (answer.status_code, answer.json()["state"]) == (409, "failed")


async def test_a_cover_is_kept_and_sent(caller: OpenCaller) -> None:
    async with caller() as to:
        ident = await to.start({"do": "cover"})
        done = (await to.until(ident, "done"))["done"]
        answer = await to.http.get(f"/jobs/{ident}/cover")
        assert (answer.status_code, answer.content) == (200, b"a picture")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["etag"] == f'"{done["cover"]["sha256"]}"'
        rest = await to.http.get(f"/jobs/{ident}/cover", headers={"Range": "bytes=2-"})
        assert (rest.status_code, rest.content) == (206, b"picture")
        assert not to.service.jobs.find(ident).delivered, "the video was not sent yet"
        await to.http.get(f"/jobs/{ident}/video")
        assert to.service.jobs.find(ident).delivered
        await to.http.delete(f"/jobs/{ident}")
        assert not [f for f in to.files() if f.startswith("jobs")]
        assert (await to.http.get(f"/jobs/{ident}/cover")).status_code == 404


async def test_a_cover_of_another_size_than_reported_fails_the_job(caller: OpenCaller) -> None:
    async with caller() as to:
        failed = await to.start({"do": "cover", "size": 8})
        assert (await to.until(failed, "done", "failed"))["state"] == "failed"
        assert (await to.http.get(f"/jobs/{failed}/cover")).status_code == 409


async def test_a_video_without_a_cover_has_none(caller: OpenCaller) -> None:
    async with caller() as to:
        ident = await to.start({"do": "render"})
        assert (await to.until(ident, "done"))["done"]["cover"] is None
        answer = await to.http.get(f"/jobs/{ident}/cover")
        assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (
            404,
            "there is no cover",
        )


async def test_delete_of_a_done_job_deletes_the_video(caller: OpenCaller) -> None:
    async with caller() as to:
        path, _ = await video(to)
        job = path.removesuffix("/video")
        assert (await to.http.delete(job)).status_code == 204
        assert not [f for f in to.files() if f.startswith("jobs")]
        assert (await to.http.get(path)).status_code == 404
        assert (await to.http.delete(job)).status_code == 404


async def test_delete_of_all_jobs_makes_room_for_who_takes_the_worker_over(
    caller: OpenCaller,
) -> None:
    async with caller() as to:
        path, _ = await video(to)
        contents = [f for f in to.files() if f.startswith("files")]
        running = await to.start({"do": "hang"})
        await to.until(running, "running")
        waiting = await to.start({"do": "hang"})
        assert (await to.http.delete("/jobs")).status_code == 204
        for job in (path.removesuffix("/video"), f"/jobs/{running}", f"/jobs/{waiting}"):
            assert (await to.http.get(job)).status_code == 404
        assert not [f for f in to.files() if f.startswith("jobs")]
        assert set(contents) <= set(to.files()), "what was uploaded stays"
        again, _ = await video(to)
        assert again != path
        assert (await to.http.delete("/jobs")).status_code == 204
        assert (await to.http.delete("/jobs")).status_code == 204


async def events(to: Caller, job: str) -> list[dict[str, Any]]:
    answer = await to.http.get(f"/jobs/{job}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_events_tell_each_change_and_end(caller: OpenCaller) -> None:
    async with caller() as to:
        job = await to.start({"do": "render", "seconds": 1.2, "steps": 200})
        began = anyio.current_time()
        lines = await events(to, job)
        seconds = anyio.current_time() - began
        assert lines[0]["state"] in {"queued", "running"}
        assert lines[-1] == await to.state(job)
        assert lines[-1]["state"] == "done"
        progress = [line["progress"] for line in lines]
        assert progress == sorted(progress)
        assert 5 <= len(lines) <= seconds * 10 + 3, "not one line for each of 200 steps"


async def test_events_of_an_ended_job_are_its_last_state(caller: OpenCaller) -> None:
    async with caller() as to:
        job = await to.start({"do": "fault"})
        await to.until(job, "failed")
        assert await events(to, job) == [await to.state(job)]


async def test_a_silent_job_is_told_again_and_again(caller: OpenCaller) -> None:
    async with caller(heartbeat_seconds=0.15) as to:
        job = await to.start({"do": "hang"})

        async def later() -> None:
            await anyio.sleep(0.8)
            await to.http.delete(f"/jobs/{job}")

        async with create_task_group() as tasks:
            tasks.start_soon(later)
            lines = await events(to, job)
        running = [line for line in lines if line["state"] == "running"]
        assert len(running) >= 4
        assert lines[-1]["state"] == "cancelled"


async def test_a_reader_who_leaves_does_not_end_the_job(caller: OpenCaller) -> None:
    async with caller() as to:
        job = await to.start({"do": "render", "seconds": 0.5})
        with anyio.move_on_after(0.1):
            await events(to, job)
        await to.until(job, "done")


async def test_a_finished_upload_is_whole_for_a_job_even_if_it_expires(caller: OpenCaller) -> None:
    async with caller(encoders=1) as to:
        first = await to.start({"do": "hang"})
        second = await to.start({"do": "render"})
        await to.service.store.expire(-1)
        assert [f for f in to.files() if f.startswith("files")] == []
        await to.http.delete(f"/jobs/{first}")
        await to.until(second, "done")
