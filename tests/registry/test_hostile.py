"""Registries that send anything, on real sockets: each ends in one error of ours, soon."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
import re
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.lowlevel
import httpx
import pytest

from cloudburst.registry import (
    Credentials,
    Descriptor,
    DigestError,
    InvalidImageError,
    LoginError,
    NotInRegistryError,
    Platform,
    RegistryError,
    RegistryUnavailableError,
    TransferPolicy,
    open_registry,
    pull_image,
)
from cloudburst.registry.documents import MAX_IMAGE_BYTES, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from cloudburst.registry.private_urls import LOGGERS
from support.hostile_registry import (
    endless,
    head,
    hostile_registry,
    manifest,
    reset,
    silent,
    whole,
)
from support.oci_layouts import digest_of

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NAME = "team/image"
LOGIN = Credentials("user", "secret-password")
POLICY = TransferPolicy(
    connect_timeout=15,
    idle_timeout=15,
    answer_timeout=15,
    attempts=2,
    first_delay=0,
    max_delay=0,
)
HURRIED = replace(POLICY, connect_timeout=0.2, idle_timeout=0.2, answer_timeout=0.2)
BOUND = 20
"""Seconds in which each test ends, on a machine that is busy with others."""
BLOB = random.Random(0).randbytes(4500)
OF_BLOB = Descriptor("application/octet-stream", digest_of(BLOB), len(BLOB))
CHUNKED = head("200 OK", Transfer_Encoding="chunked", Content_Type=OCI_MANIFEST)
MEGABYTE = bytes(2**20)
ABSENT = whole("404 No")
BEGUN = whole("202 Begun", Location="/v2/x?state=secret")


def without_blob(answer):
    """An answer to all requests but HEAD: the registry does not have the blob."""

    async def answered(request, writer):
        if request.method == "HEAD":
            writer.write(ABSENT)
        else:
            await answer(request, writer)

    return answered


def resolve(client, _):
    return client.resolve(NAME, "1")


def download(client, folder):
    return client.download(NAME, OF_BLOB, folder / "blobs" / "file")


def upload(client, folder):
    path = folder / "blob"
    path.write_bytes(BLOB)
    return client.push_blob(NAME, OF_BLOB, path)


@asynccontextmanager
async def client_of(registry, policy=POLICY, credentials=LOGIN):
    async with open_registry(registry.url, credentials, policy=policy) as client:
        yield client


async def refused(registry, call, folder, policy=POLICY):
    """Make a call that must end in an error of ours, and leave no task, file and connection."""
    tasks = asyncio.all_tasks()
    with anyio.fail_after(BOUND):
        async with client_of(registry, policy) as client:
            with pytest.raises(RegistryError) as caught:
                await call(client, folder)
        await registry.left()
        # The loop closes generators of httpx in tasks of its own.
        while asyncio.all_tasks() - tasks:
            await anyio.lowlevel.checkpoint()
    assert not list(folder.rglob("*.part"))
    assert not (folder / "blobs/file").exists()
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value


# Answers that are not HTTP, or more of it than is read


ENDLESS = {
    "body": (endless(head("200 OK", Content_Type=OCI_MANIFEST), MEGABYTE), InvalidImageError),
    "chunks": (
        endless(CHUNKED, b"100000\r\n" + MEGABYTE + b"\r\n"),
        InvalidImageError,
    ),
    "small chunks": (endless(CHUNKED, b"1\r\nx\r\n" * 1000), RegistryUnavailableError),
    "chunk extension": (endless(CHUNKED + b"5;", MEGABYTE), RegistryUnavailableError),
    "trailers": (endless(CHUNKED + b"0\r\n", b"a: b\r\n" * 9999), RegistryUnavailableError),
    "header": (endless(b"HTTP/1.1 200 OK\r\nA: ", MEGABYTE), RegistryUnavailableError),
    "headers": (endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 9999), RegistryUnavailableError),
    "status line": (endless(b"HTTP/1.1 200 ", MEGABYTE), RegistryUnavailableError),
    "error": (endless(head("404 No"), MEGABYTE), InvalidImageError),
    "announced body": (
        endless(head("200 OK", Content_Length=10**15, Content_Type=OCI_MANIFEST), MEGABYTE),
        InvalidImageError,
    ),
}


@pytest.mark.parametrize(
    ("call", "name"),
    [*((resolve, name) for name in ENDLESS), (download, "body"), (download, "small chunks")],
)
async def test_endless_answers_end_in_bounded_memory(call, name, tmp_path):
    answer, kind = ENDLESS[name]
    if call is download:  # the size of a blob is known
        kind = InvalidImageError
    peak = 0
    async with hostile_registry(answer) as registry:
        if "small" not in name:  # tracing takes as long as the rest
            tracemalloc.start()
        try:
            error = await refused(registry, call, tmp_path, replace(POLICY, attempts=1))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert type(error) is kind
    assert "small" not in name or call is download or "small pieces" in str(error)
    assert peak < 24 * 2**20, "a document of 4 MiB, and buffers of both sides"


WRONG = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": bytes.fromhex("15030300020228"),
    "no status": b"HTTP/1.1 \r\n\r\n",
    "a status of 6 digits": b"HTTP/1.1 200000 OK\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: secret\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nsecret\r\n\r\n",
    "a chunk of no number": CHUNKED + b"zz\r\n",
    "a chunk of 2**80 bytes": CHUNKED + b"f" * 20 + b"\r\nx",
    "a chunk with a longer end": CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n",
    "a chunk that is cut": CHUNKED + b"5\r\nabc",
    "a negative length": head("200 OK", Content_Length=-1) + b"x",
    "two lengths": head("200 OK", "Content-Length: 1", "Content-Length: 2") + b"xy",
    "a length without a number": head("200 OK", Content_Length="0x10") + b"x",
    "a body that is cut": head("200 OK", Content_Length=9999) + b"x",
    "a protocol that was not asked for": head("101 Switching", Upgrade="h2c") + b"PRI",
    "another encoding": head("200 OK", Transfer_Encoding="gzip, chunked") + b"0\r\n\r\n",
    "a compressed body": whole(
        "200 OK", gzip.compress(MEGABYTE), Content_Type=OCI_MANIFEST, Content_Encoding="gzip"
    ),
    "a server error": whole("599 No", b"<html>"),
    "a year of waiting": whole("429 Slow", Retry_After=365 * 86400),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_answers_are_repeated_and_then_reported(name, tmp_path):
    waits = "waiting" in name
    policy = HURRIED if waits else POLICY
    for call in (resolve,) if waits else (resolve, download):
        async with hostile_registry(WRONG[name]) as registry:
            error = await refused(registry, call, tmp_path, policy)
            assert type(error) is RegistryUnavailableError
            assert len(registry.requests) == (1 if waits else policy.attempts)


DEEP = b'{"schemaVersion": 2, "layers": ' + b"[" * 200_000
INVALID = {
    "many headers": (
        head("200 OK", *["a: b"] * 10_000, Content_Length=2) + b"{}",
        InvalidImageError,
    ),
    "many cookies": (
        head("200 OK", *['Set-Cookie: a="; expires=1'] * 3000, Content_Length=2) + b"{}",
        InvalidImageError,
    ),
    "a document that is too large": (manifest(b" " * (4 * 2**20 + 1)), InvalidImageError),
    "nested JSON": (manifest(DEEP), InvalidImageError),
    "a long number": (manifest(b'{"schemaVersion": ' + b"9" * 10**6 + b"}"), InvalidImageError),
    "no UTF-8": (manifest(b'{"schemaVersion": "\xff"}'), InvalidImageError),
    "many layers": (
        manifest(b'{"schemaVersion": 2, "config": {}, "layers": [' + b"1," * 10**6 + b"1]}"),
        InvalidImageError,
    ),
    "no type": (whole("200 OK", b"{}"), InvalidImageError),
    "a status of success without content": (whole("204 No Content"), RegistryError),
    "a part": (whole("206 Part", b"{}", Content_Type=OCI_MANIFEST), RegistryError),
    "a nested error": (whole("404 No", b"[" * 200_000), NotInRegistryError),
    "an error of another form": (
        whole("404 No", b'{"errors": [{"code": 7, "message": {}}]}'),
        NotInRegistryError,
    ),
    "another digest": (
        whole(
            "200 OK", b"{}", Content_Type=OCI_MANIFEST, Docker_Content_Digest="sha256:" + "0" * 64
        ),
        DigestError,
    ),
    "an unknown login": (whole("401 No", WWW_Authenticate="Negotiate"), LoginError),
    "a login without end": (whole("401 No", WWW_Authenticate='Basic realm="x"'), LoginError),
    "a long login": (whole("401 No", WWW_Authenticate='Bearer realm="' + "x" * 90_000), LoginError),
    "a redirect": (whole("307 Moved", Location="/v2/"), RegistryError),
}


@pytest.mark.parametrize("name", INVALID)
async def test_invalid_documents_are_not_asked_for_again(name, tmp_path):
    answer, kind = INVALID[name]

    def pull(client, folder):
        return pull_image(client, NAME, "1", Platform("amd64"), folder / "blobs")

    async with hostile_registry(answer) as registry:
        error = await refused(registry, pull, tmp_path)
        assert type(error) is kind
        assert len(registry.requests) <= 2


# Answers that are slow


SLOW = {
    "connection": silent(),
    "head": endless(b"HTTP/1.1 200 OK\r\nA: ", b"x", pause=0.01),
    "hints": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.001),
    "body": endless(head("200 OK", Content_Type=OCI_MANIFEST), b"x", pause=0.01),
    "chunks": endless(CHUNKED, b"1\r\nx\r\n", pause=0.01),
    "rest": silent(head("200 OK", Content_Length=4500) + BLOB[:2000]),
    "redirect": silent(head("307 Moved", Location="/v2/other")),
}


async def test_slow_answers_end(tmp_path):
    """All at once, because each takes its time."""

    async def check(name, call):
        folder = tmp_path / f"{name}-{call.__name__}"
        folder.mkdir()
        answer = without_blob(SLOW[name]) if call is upload else SLOW[name]
        async with (
            hostile_registry(answer) as registry,
            client_of(registry, HURRIED) as client,
        ):
            with pytest.raises(RegistryUnavailableError):
                await call(client, folder)
        assert not list(folder.rglob("*.part"))

    with anyio.fail_after(BOUND):
        async with anyio.create_task_group() as tasks:
            for name in SLOW:
                for call in (resolve, download, upload):
                    tasks.start_soon(check, name, call)


async def test_a_connection_that_is_too_slow_is_broken(tmp_path):
    """Long before the total time limit."""
    policy = replace(POLICY, idle_timeout=0.2)
    async with hostile_registry(SLOW["body"]) as registry:
        error = await refused(registry, download, tmp_path, policy)
        assert len(registry.requests) == policy.attempts
    assert re.search(r"too slow: \d+ bytes in \d+ s", str(error))


async def test_a_pull_has_a_total_time_limit(tmp_path):
    """Each layer arrives in time."""
    contents = [b"%d" % number for number in range(9)]
    found = {digest_of(content): content for content in contents}
    layers = [
        {"mediaType": OCI_LAYER, "digest": digest, "size": len(content)}
        for digest, content in found.items()
    ]
    config = {"mediaType": OCI_CONFIG, "digest": digest_of(contents[0]), "size": 1}
    document = {"schemaVersion": 2, "config": config, "layers": layers}

    async def answer(request, writer):
        if "manifests" in request.path:
            writer.write(manifest(json.dumps(document).encode()))
        else:
            await asyncio.sleep(0.2)
            writer.write(whole("200 OK", found[request.path.rpartition("/")[2]]))

    def pull(client, folder):
        return pull_image(client, NAME, "1", Platform("amd64"), folder / "all")

    async with hostile_registry(answer) as registry:
        policy = replace(POLICY, max_time=1, concurrent_blobs=1)
        error = await refused(registry, pull, tmp_path, policy)
        assert 1 < len(registry.requests) < 10
    assert f"pull of {NAME} 1: not finished within 1 s" in str(error)


async def test_a_download_that_makes_some_progress_has_a_total_time_limit(tmp_path):
    """Each connection breaks after enough bytes to count as progress."""
    size = 10**8
    blob = Descriptor("application/octet-stream", digest_of(b""), size)

    async def answer(request, writer):
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        lines = head("206 Part", Content_Range=f"bytes {start}-{size - 1}/{size}")
        writer.write((lines if start else head("200 OK")) + bytes(70_000))
        await asyncio.sleep(0.02)

    def call(client, folder):
        return client.download(NAME, blob, folder / "blobs/file")

    async with hostile_registry(answer) as registry:
        policy = replace(POLICY, max_time=1)
        error = await refused(registry, call, tmp_path, policy)
        assert len(registry.requests) > policy.attempts
    assert re.search(r"not finished within \d s; last failure: the answer ended after", str(error))


def test_time_limits_follow_from_the_size():
    policy = TransferPolicy()
    assert policy.time_limit(0) == 6 * (10 + 120)
    assert policy.time_limit(110 * 10**6) == 780 + 11_000
    assert policy.time_limit(MAX_IMAGE_BYTES) == policy.max_time < 12 * 3600


# Blobs


PART = {"Content_Range": "bytes 2000-4499/4500"}
CUT = head("200 OK", Content_Length=4500) + BLOB[:2000]
BLOBS = {
    "other content": ([], whole("200 OK", BLOB[::-1]), DigestError),
    "more content": ([], whole("200 OK", BLOB + b"x"), InvalidImageError),
    "a lower length": ([], head("200 OK", Content_Length=4000) + BLOB, RegistryUnavailableError),
    "a blob that grows": (
        [CUT],
        whole("206 Part", BLOB[2000:] + BLOB, Content_Range="bytes 2000-8999/9000"),
        InvalidImageError,
    ),
    "a part of another content": ([CUT], whole("206 Part", bytes(2500), **PART), DigestError),
    "a part from another place": (
        [CUT],
        whole("206 Part", BLOB[2000:], Content_Range="bytes 1-2500/4500"),
        RegistryUnavailableError,
    ),
    "a part from nowhere": ([CUT], whole("206 Part", BLOB[2000:]), RegistryUnavailableError),
    "several parts": (
        [CUT],
        whole("206 Part", BLOB[2000:], Content_Type="multipart/byteranges; boundary=x"),
        RegistryUnavailableError,
    ),
    "a part with a huge number": (
        [CUT],
        whole("206 Part", b"x", Content_Range=f"bytes {'9' * 5000}-1/1"),
        RegistryUnavailableError,
    ),
    "no such part": ([CUT], whole("416 Range", b""), RegistryError),
    "nothing after a part": ([CUT], whole("404 No", b""), NotInRegistryError),
    "a part that was not asked for": (
        [],
        whole("206 Part", BLOB[2000:], **PART),
        RegistryUnavailableError,
    ),
}


@pytest.mark.parametrize("name", BLOBS)
async def test_blobs_of_other_content_leave_no_file(name, tmp_path):
    numbered, answer, kind = BLOBS[name]
    async with hostile_registry(answer, numbered=list(numbered)) as registry:
        assert type(await refused(registry, download, tmp_path)) is kind


async def test_an_image_larger_than_the_disk_of_a_task_is_not_downloaded(tmp_path):
    layers = [
        {"mediaType": OCI_LAYER, "digest": digest_of(b"%d" % number), "size": MAX_IMAGE_BYTES // 4}
        for number in range(5)
    ]
    config = {"mediaType": OCI_CONFIG, "digest": digest_of(b""), "size": 0}
    document = {"schemaVersion": 2, "config": config, "layers": layers}

    def pull(client, folder):
        return pull_image(client, NAME, "1", Platform("amd64"), folder / "blobs")

    async with hostile_registry(manifest(json.dumps(document).encode())) as registry:
        error = await refused(registry, pull, tmp_path)
        assert len(registry.requests) == 1
    assert "more than 20 GiB" in str(error)


# Other hosts


OTHER = [
    *("file:///etc/passwd", "http://169.254.169.254/latest/meta-data?secret", "http://[", ""),
    *("ftp://127.0.0.1/x", "//10.0.0.1/x?secret", "https:///x", "http://user:secret@127.0.0.1/x"),
    *("mailto:a@127.0.0.1?secret", "/\x01", "x" * 70_000, "http://localhost.example/"),
]


@pytest.mark.parametrize("location", OTHER)
async def test_redirects_and_locations_elsewhere_are_refused(location, tmp_path):
    redirect = whole("307 Moved", Location=location)
    async with hostile_registry(redirect) as registry:
        error = await refused(registry, download, tmp_path)
        assert re.search(
            "redirects to|invalid redirect|InvalidURL|Invalid URL|HTTP 307", str(error)
        )
    begun = [whole("404 No"), whole("202 Begun", Location=location)]
    async with hostile_registry(numbered=begun) as registry:
        await refused(registry, upload, tmp_path)
        assert [one.method for one in registry.requests] in (["HEAD", "POST"], ["HEAD", "POST"] * 2)


async def test_a_redirect_in_a_circle_ends(tmp_path):
    async with hostile_registry(whole("302 Moved", Location="/v2/again")) as registry:
        error = await refused(registry, download, tmp_path)
        assert len(registry.requests) == 6
        assert "HTTP 302" in str(error)


async def test_passwords_stay_at_the_registry(tmp_path):
    """Neither storage, nor another token server, nor the location of an upload gets one."""
    stored = whole("200 OK", BLOB)
    async with hostile_registry(stored, keep=True) as other:
        redirect = whole("307 Moved", Location=f"{other.url}/x?signature=secret")
        challenge = whole("401 No", WWW_Authenticate='Basic realm="x"')
        numbered = [challenge, redirect]
        async with hostile_registry(numbered=numbered) as registry, client_of(registry) as client:
            await client.download(NAME, OF_BLOB, tmp_path / "file")
            assert "authorization" in registry.requests[1].headers
        (request,) = other.requests
        assert "authorization" not in request.headers
        other.requests.clear()
        bearer = whole("401 No", WWW_Authenticate=f'Bearer realm="{other.url}/token?secret"')
        begun = whole("202 Begun", Location=f"{other.url}/x?secret")
        for call, numbered in ((resolve, [bearer]), (upload, [ABSENT, begun])):
            async with hostile_registry(numbered=numbered) as registry:
                await refused(registry, call, tmp_path)
                assert registry.numbered == []
        assert other.requests == []


async def test_a_token_that_is_refused_again_ends_the_login(tmp_path):
    async def answer(request, writer):
        if request.path.startswith("/token"):
            writer.write(whole("200 OK", b'{"token": "abc", "expires_in": -1}'))
        else:
            realm = f'Bearer realm="http://{request.headers["host"]}/token"'
            writer.write(whole("401 No", WWW_Authenticate=realm))

    async with hostile_registry(answer) as registry:
        assert type(await refused(registry, resolve, tmp_path)) is LoginError
        assert len(registry.requests) == 3


# Uploads


UPLOADS = {
    "no location": ([ABSENT], whole("202 Begun")),
    "a blob that is never right": ([ABSENT, BEGUN], whole("416 Range", b"", Location="/v2/x")),
    "a forgotten upload": (
        [ABSENT],
        whole("404 No", b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}', Location="/v2/x"),
    ),
    "an error": ([ABSENT, BEGUN], whole("400 No", b"[" * 90_000)),
    "a redirect": ([ABSENT, BEGUN], whole("307 Moved", Location="/v2/x")),
    "success without an upload": ([ABSENT], whole("200 OK", Location="https://[")),
}


@pytest.mark.parametrize("name", UPLOADS)
async def test_uploads_that_get_nowhere_end(name, tmp_path):
    numbered, answer = UPLOADS[name]
    async with hostile_registry(answer, numbered=list(numbered)) as registry:
        await refused(registry, upload, tmp_path)
        assert len(registry.requests) < 30


async def test_an_upload_has_a_total_time_limit(tmp_path):
    """The registry fails as long as it is asked."""

    async def answer(request, writer):
        found = {"HEAD": ABSENT, "POST": BEGUN, "PUT": whole("503 No")}
        writer.write(found[request.method])

    async with hostile_registry(answer) as registry:
        policy = replace(POLICY, max_time=0.3, attempts=10**6)
        error = await refused(registry, upload, tmp_path, policy)
        assert "not finished within 0 s; last failure: HTTP 503" in str(error)


# Connections that break


CUTS = {
    "before an answer": b"",
    "in the head": b"HTTP/1.1 200 O",
    "after the head": head("200 OK", Content_Length=4500, Content_Type=OCI_MANIFEST),
    "in the body": head("200 OK", Content_Length=4500, Content_Type=OCI_MANIFEST) + BLOB[:100],
    "in a chunk": CHUNKED + b"1000\r\nxyz",
}
STAGES = {
    "resolve": (resolve, []),
    "download": (download, []),
    "upload, before it begins": (upload, []),
    "upload, when it begins": (upload, [ABSENT]),
    "upload, at the blob": (upload, [ABSENT, BEGUN]),
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_connection_that_is_reset_at_any_stage_is_an_error(stage, tmp_path):
    call, numbered = STAGES[stage]
    cuts = list(CUTS.values())
    if stage == "upload, before it begins":
        cuts = cuts[:2]  # the head of an answer is enough to know that there is a blob
    for cut in cuts:
        answer = without_blob(reset(cut)) if numbered else reset(cut)
        async with hostile_registry(answer, numbered=list(numbered)) as registry:
            await refused(registry, call, tmp_path)
            assert registry.numbered == []


async def test_a_port_without_a_server_is_an_error(tmp_path):
    async with hostile_registry() as registry:
        pass
    assert type(await refused(registry, resolve, tmp_path)) is RegistryUnavailableError


async def test_a_cancelled_call_closes_its_connection(tmp_path):
    for answer in (silent(), SLOW["body"], SLOW["rest"]):
        for call, numbered in ((resolve, []), (download, []), (upload, [ABSENT])):
            async with (
                hostile_registry(answer, numbered=numbered.copy()) as registry,
                client_of(registry) as client,
            ):
                with anyio.fail_after(BOUND):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(call, client, tmp_path)
                        await registry.asked()
                        await anyio.sleep(0.005)
                        tasks.cancel_scope.cancel()
                    await registry.left()
            assert {path.name for path in tmp_path.rglob("*")} <= {"blob", "blobs"}


# Logs


async def test_no_url_with_a_secret_is_logged(tmp_path, caplog):
    """Those of a client of the user are, as before, even at the same time."""
    caplog.set_level(logging.DEBUG)
    own = []

    async def answer(request, writer):
        async with httpx.AsyncClient() as users_client:  # in another task than the call
            own.append(await users_client.get(f"{other.url}/users?page=1"))
        writer.write(whole("307 Moved", Location=f"{other.url}/x?signature=secret"))

    async with hostile_registry(whole("200 OK", BLOB)) as other:
        async with hostile_registry(answer) as registry, client_of(registry) as client:
            await client.download(NAME, OF_BLOB, tmp_path / "file")
        assert [one.path for one in other.requests] == ["/users?page=1", "/x?signature=secret"]
        moved = [ABSENT, whole("202 Begun", Location="/v2/x?state=secret")]
        begun = hostile_registry(whole("201 Yes"), numbered=moved)
        async with begun as registry, client_of(registry) as client:
            await upload(client, tmp_path)
        async with httpx.AsyncClient() as users_client:
            await users_client.get(f"{other.url}/users?page=2")
    assert "secret" not in caplog.text
    assert "team/image" not in caplog.text
    for text in ("/users?page=1", "/users?page=2", "receive_response_headers.complete"):
        assert text in caplog.text


def test_every_logger_of_the_http_libraries_is_known():
    found = {
        name
        for name, logger in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] in {"httpx", "httpcore"} and isinstance(logger, logging.Logger)
    }
    assert "httpx" in found
    assert found - {"httpcore"} <= set(LOGGERS)
