"""Workers that lie about transfers: no video counts that is not in S3, and no URL is shown."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import httpx
import pytest

from cloudburst.aws.s3 import deliveries, remote_files
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.concurrency import collapse_single
from cloudburst.errors import (
    CloudburstError,
    DownloadError,
    OutputWriteError,
    UploadError,
    WorkerDiskFullError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.models.transfers import PutPart
from cloudburst.ports.renderer import EncodedVideo
from cloudburst.testing import s3_fault
from cloudburst.workers.http import retries as transfer_retries
from cloudburst.workers.http.native import connect
from support.bad_workers import (
    CONTROL,
    DEEP,
    HTML,
    KEY,
    MOVED,
    OPEN,
    Reply,
    Request,
    Worker,
    as_json,
    endless,
    http,
    in_crumbs,
    serving,
    silent,
)
from support.checked_scenes import as_checked
from support.s3_account import BUCKET, account, content, keys, open_store, put, send, uploads
from support.short_waits import repeat_quickly

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

HASTY = Timeouts(call=1.0, silence=0.6)
PATIENT = Timeouts(call=10.0, silence=20.0)
PICTURE, SOUND = b"a picture", b"a sound"
VIDEO = bytes(range(256)) * 4 * 6 * 1024
"""6 MiB: enough for two parts."""
SHA256 = hashlib.sha256(VIDEO).hexdigest()

Answer = Callable[[Request], Awaitable[Reply]]


def line(**values: object) -> Reply:
    return http(json.dumps(values).encode() + b"\n")


def failed(problem: str, reason: str = "none", **more: object) -> Reply:
    return line(failure={"problem": problem, "reason": reason, **more})


def always(reply: Reply) -> Answer:
    async def answer(_: Request) -> Reply:
        return reply

    return answer


@dataclass
class TransferWorker(Worker):
    """A worker whose answers to requests for transfers are made by ``answer``."""

    answer: Answer = field(kw_only=True)
    asked: list[dict] = field(default_factory=list)

    async def behave(self, request: Request) -> Reply:
        if request.route not in {"POST fetches", "POST uploads"}:
            return await super().behave(request)
        self.asked.append(json.loads(request.body))
        return await self.answer(request)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)
    monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 0.5)


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        yield running


@pytest.fixture
async def store(emulator):
    async with open_store(emulator) as opened:
        yield opened


@pytest.fixture
def folder():
    return S3Prefix(BUCKET, f"{uuid.uuid4().hex}/")


class Client:
    """What one client does with one worker."""

    def __init__(self, emulator, store, folder) -> None:
        self.emulator, self.store, self.folder = emulator, store, folder
        self.timeouts = PATIENT
        self.to = folder.object("one.mp4")
        self.inputs: dict = {}
        self.remote = S3RemoteFiles(store, run="r", inputs=self.inputs)

    async def scene(self, name="one"):
        for kind, data in {"png": PICTURE, "mp3": SOUND}.items():
            where = self.folder.object(f"{name}.{kind}")
            await anyio.to_thread.run_sync(put, self.emulator, where, data)
            self.inputs[where] = (await self.store.head(where)).remote_file(where)
        files = {"image": f"{name}.png", "audio": f"{name}.mp3"}
        return Scene(name=name, **{key: self.folder.object(at) for key, at in files.items()})

    def listed(self):
        found = [key for key in keys(self.emulator) if key.startswith(self.folder.prefix)]
        return [key.removeprefix(self.folder.prefix) for key in found]

    async def fetch(self, worker, name="one"):
        scene = await self.scene(name)
        async with self.connected(worker) as renderer:
            return await renderer.upload(as_checked(scene), remote=self.remote)

    async def deliver(self, worker):
        video = EncodedVideo(
            scene="one", reference="5", size=len(VIDEO), sha256=SHA256, seconds=1.0
        )
        async with self.connected(worker) as renderer:
            return await renderer.download(video, self.to, remote=self.remote)

    @asynccontextmanager
    async def connected(self, worker):
        secrets = Secrets(key=KEY)
        with collapse_single():
            async with (
                serving(worker),
                connect(worker.url, secrets=secrets, timeouts=self.timeouts) as renderer,
            ):
                yield renderer


@pytest.fixture
def client(emulator, store, folder):
    return Client(emulator, store, folder)


def check_shown(error: CloudburstError, text: str, worker: TransferWorker) -> None:
    """Check that neither an error nor the log shows a URL of a request, or controls a terminal."""
    for asked in worker.asked:
        for part in asked.get("parts", [asked]):
            signature = part["url"].partition("X-Amz-Signature=")[2]
            assert len(signature) == 64
            assert signature not in f"{error!r} {text}"
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text), "control characters in the log"


COMPRESSED = http(gzip.compress(b"{}\n"), "200 OK", "Content-Encoding: gzip")


async def repeats_url(request: Request) -> Reply:
    asked = json.loads(request.body)
    part = asked["parts"][0] if "parts" in asked else asked
    query = part["url"].partition("?")[2]
    return failed("refused", f"cannot get it: {query[-200:]}")


async def repeats_url_in_no_json(request: Request) -> Reply:
    asked = json.loads(request.body)
    part = asked["parts"][0] if "parts" in asked else asked
    return http(part["url"][-70:].encode() + b"\n")


async def repeats_url_in_an_error(request: Request) -> Reply:
    asked = json.loads(request.body)
    part = asked["parts"][0] if "parts" in asked else asked
    return as_json({"error": part["url"][-300:]}, "500 Internal Server Error")


EITHER: dict[str, tuple[Answer, type[CloudburstError]]] = {
    "says nothing": (always(silent), WorkerStoppedError),
    "ends before the transfer": (always(line()), WorkerProtocolError),
    "closes": (always(b""), WorkerStoppedError),
    "is HTML": (always(HTML), WorkerProtocolError),
    "redirects": (always(MOVED), WorkerProtocolError),
    "sends a line without end": (always(endless(OPEN, b"x" * 50_000)), WorkerProtocolError),
    "sends lines without end": (always(endless(OPEN, b"{}\n" * 1000)), WorkerProtocolError),
    "sends crumbs": (always(in_crumbs(b" " * 60_000)), WorkerProtocolError),
    "sends deep brackets": (always(http(DEEP + b"\n")), WorkerProtocolError),
    "has a reason of 10 MB": (always(failed("refused", "x" * 10**7)), WorkerProtocolError),
    "has an unknown problem": (always(failed("tired")), WorkerProtocolError),
    "repeats the URL in no JSON": (repeats_url_in_no_json, WorkerProtocolError),
    "repeats the URL in an error": (repeats_url_in_an_error, WorkerStoppedError),
}
FETCHES: dict[str, tuple[Answer, type[CloudburstError]]] = {
    "sends what was not asked for": (always(COMPRESSED), WorkerProtocolError),
    "has a hash with CRLF": (always(line(received=9, sha256="a\r\nX-Y: z")), WorkerProtocolError),
    "has a hash of fewer bytes": (always(line(received=5, sha256="0" * 64)), WorkerProtocolError),
    "has more bytes than the file": (always(line(received=10)), WorkerProtocolError),
    "knows no such request": (
        always(as_json({"error": "x"}, "404 Not Found")),
        WorkerProtocolError,
    ),
    "repeats the URL": (repeats_url, UploadError),
    "fails with control characters": (always(failed("missing", CONTROL)), UploadError),
    "is busy always": (always(failed("busy")), UploadError),
    "is busy for an hour": (always(failed("busy", retry_after=3600)), UploadError),
    "finds each URL expired": (always(failed("expired")), UploadError),
    "has no room": (always(failed("no space")), WorkerDiskFullError),
}


async def writes_another_video(request: Request) -> Reply:
    """Write other bytes to the URL, and say that all is well."""
    (part,) = json.loads(request.body)["parts"]
    await send(PutPart.model_validate(part), VIDEO[::-1])
    return line(sent=len(VIDEO), etags=['"a"'])


DELIVERIES: dict[str, tuple[Answer, type[CloudburstError]]] = {
    **{name: EITHER[name] for name in ("ends before the transfer", "repeats the URL in an error")},
    "has written nothing": (always(line(sent=len(VIDEO), etags=['"a"'])), DownloadError),
    "has written another video": (writes_another_video, DownloadError),
    "says that it is there": (always(failed("exists")), DownloadError),
    "has no ETag": (always(line(etags=[])), WorkerProtocolError),
    "has an ETag too many": (always(line(etags=['"a"', '"b"'])), WorkerProtocolError),
    "has an ETag with CRLF": (always(line(etags=['"a\r\nX-Y: z"'])), WorkerProtocolError),
    "has sent more than the video": (always(line(sent=len(VIDEO) + 1)), WorkerProtocolError),
    "has no such job": (always(as_json({"error": CONTROL}, "404 Not Found")), DownloadError),
    "repeats the URL": (repeats_url, WorkerProtocolError),
    "fails with control characters": (always(failed("invalid", CONTROL)), DownloadError),
}
OF_THE_BUCKET = ["refused", "missing", "expired", "busy", "forbidden address"]


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("name", EITHER | FETCHES)
async def test_a_fetch(client, caplog, name):
    caplog.set_level(logging.DEBUG)
    answer, kind = (EITHER | FETCHES)[name]
    worker = TransferWorker(answer=answer)
    if kind is WorkerStoppedError:  # after the time of silence
        client.timeouts = HASTY
    with anyio.fail_after(30), pytest.raises(kind) as caught:
        await client.fetch(worker)
    assert type(caught.value) is kind
    check_shown(caught.value, caplog.text, worker)
    if kind is UploadError:
        assert caught.value.scene == "one"
        assert caught.value.field in {"image", "audio"}, "both are fetched at the same time"


@pytest.mark.few(1)
@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "413 Content Too Large"])
async def test_a_fetch_that_is_refused_for_good(client, status):
    """It is not repeated, and the error has the worker's reason."""
    worker = TransferWorker(answer=always(as_json({"error": "no such endpoint"}, status)))
    reason = rf"refuses POST /fetches: HTTP {status[:3]}: no such endpoint"
    with pytest.raises(WorkerProtocolError, match=reason):
        await client.fetch(worker)
    files = [asked["url"].partition("?")[0] for asked in worker.asked]
    assert len(files) == len(set(files)) >= 1


async def test_a_refusal_that_is_not_of_the_worker_is_repeated(client):
    """Its body is not that of our service, but perhaps that of a proxy that starts."""

    async def answer(request):
        if len(worker.asked) <= 2:
            return http(b"<html>no such server</html>", "404 Not Found")
        return line(received=json.loads(request.body)["size"], sha256="0" * 64)

    worker = TransferWorker(answer=answer)
    await client.fetch(worker)
    assert len(worker.asked) == 4


async def test_a_delivery_that_is_refused_for_good(client):
    worker = TransferWorker(answer=always(as_json({"error": "no video"}, "409 Conflict")))
    with pytest.raises(WorkerProtocolError, match="HTTP 409: no video"):
        await client.deliver(worker)
    assert len(worker.asked) == 1


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize("name", DELIVERIES)
async def test_a_delivery(client, caplog, name):
    caplog.set_level(logging.DEBUG)
    answer, kind = DELIVERIES[name]
    worker = TransferWorker(answer=answer)
    if kind is WorkerStoppedError:  # after the time of silence
        client.timeouts = HASTY
    with anyio.fail_after(30), pytest.raises(kind) as caught:
        await client.deliver(worker)
    assert type(caught.value) is kind
    check_shown(caught.value, caplog.text, worker)
    assert client.to.key not in keys(client.emulator)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("problem", OF_THE_BUCKET)
async def test_a_refusal_that_s3_does_not_confirm(client, problem):
    """It is a fault of the worker, so that the run is not paused, and nothing is left."""
    worker = TransferWorker(answer=always(failed(problem, "AccessDenied")))
    with pytest.raises(WorkerProtocolError, match=r"one \(AccessDenied\), but S3 accepts objects"):
        await client.deliver(worker)
    assert client.listed() == []


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("problem", OF_THE_BUCKET)
async def test_a_refusal_that_s3_confirms(client, emulator, problem):
    """The run is paused, and the worker keeps the video."""
    worker = TransferWorker(answer=always(failed(problem, "AccessDenied")))
    emulator.add_fault(s3_fault("access denied", "PutObject", presigned=True))
    with pytest.raises(OutputWriteError, match="cannot be written to S3: AccessDenied"):
        await client.deliver(worker)
    assert "DELETE job" not in worker.calls
    assert client.listed() == []


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_refusal_of_a_video_in_parts(client, emulator, monkeypatch, confirmed):
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 5 * 1024**2)
    worker = TransferWorker(answer=always(failed("refused", "AccessDenied")))
    if confirmed:
        emulator.add_fault(s3_fault("access denied", "PutObject", presigned=True))
    with pytest.raises(OutputWriteError if confirmed else WorkerProtocolError):
        await client.deliver(worker)
    assert client.listed() == []
    assert uploads(emulator) == []


async def test_a_refusal_that_has_passed(client):
    """The same worker tries again, because S3 accepts objects by now."""

    async def refused_once(request):
        if len(worker.asked) == 1:
            return failed("refused")
        (part,) = json.loads(request.body)["parts"]
        _, _, etag = await send(PutPart.model_validate(part), VIDEO)
        return line(sent=len(VIDEO), etags=[etag])

    worker = TransferWorker(answer=refused_once)
    await client.deliver(worker)
    assert client.listed() == ["one.mp4"]


@pytest.mark.few(1)
@pytest.mark.parametrize("etags", [['"a"', '"b"'], ['"0123456789abcdef0123456789abcdef"'] * 2])
async def test_parts_that_were_not_sent(client, monkeypatch, etags):
    """Nothing stays in the bucket, and the run is not paused, as it is for faults of the bucket."""
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 5 * 1024**2)
    monkeypatch.setattr(deliveries, "MIN_PART_BYTES", 5 * 1024**2)
    worker = TransferWorker(answer=always(line(etags=etags)))
    with pytest.raises(DownloadError, match="has not sent all parts") as caught:
        await client.deliver(worker)
    assert type(caught.value) is DownloadError
    assert uploads(client.emulator) == []
    assert client.to.key not in keys(client.emulator)


async def test_a_worker_learns_the_urls_of_its_scenes_only(client):
    """Its URL of an input reads this object only, and cannot be used to write it."""

    async def fetched(request: Request) -> Reply:
        asked = json.loads(request.body)
        async with httpx.AsyncClient(trust_env=False) as web:
            url, headers = asked["url"], asked["headers"]
            body = (await web.get(url, headers=headers)).content
            assert (await web.put(url, content=b"mine")).status_code == 403
            for other in ("two", "../one"):
                stolen = url.replace("/one.", f"/{other}.")
                assert (await web.get(stolen, headers=headers)).status_code == 403
        return line(received=len(body), sha256=hashlib.sha256(body).hexdigest())

    first, second = TransferWorker(answer=fetched), TransferWorker(answer=fetched)
    await client.fetch(first, "one")
    for worker, name in ((first, "one"), (second, "two")):
        if worker is second:
            worker.answer = always(failed("missing"))
            with pytest.raises(UploadError):
                await client.fetch(worker, name)
        paths = {httpx.URL(asked["url"]).path.rpartition("/")[2] for asked in worker.asked}
        assert paths <= {f"{name}.png", f"{name}.mp3"}
    assert content(client.emulator, client.folder.object("one.png")) == PICTURE
