"""Logins, redirects, retries and hostile answers of registries."""

from __future__ import annotations

import asyncio
import pickle
import random
import ssl
from contextlib import suppress

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio.testing

from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.documents import OCI_MANIFEST, Descriptor
from cloudburst.net.registry.errors import (
    DigestError,
    InvalidImageError,
    LoginError,
    NotInRegistryError,
    RegistryError,
    RegistryUnavailableError,
)
from cloudburst.net.registry.http import Credentials, TransferPolicy
from support.fake_registry import STORAGE, TOKENS, URL, FakeRegistry, error
from support.oci_layouts import digest_of

pytestmark = [
    pytest.mark.anyio,
    # httpx does not close its own stream if a body is left early, which trio reports.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored .*<async_generator object (ByteStream|Pieces)"
    ),
]

NAME = "team/image"
POLICY = TransferPolicy(first_delay=0.0, attempts=4)
LOGIN = Credentials("user", "password")
BLOB = random.Random(0).randbytes(4500)
KIND = "application/octet-stream"
OF_BLOB = Descriptor(KIND, digest_of(BLOB), len(BLOB))
MANIFEST = b'{"schemaVersion": 2}'


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def opened(fake, credentials=None, url=URL):
    return open_registry(url, credentials, transport=fake.transport, policy=POLICY)


@pytest.fixture
def blob_file(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    return path


def with_manifest(**peculiarities):
    fake = FakeRegistry(**peculiarities)
    fake.manifests["1"] = fake.manifests[digest_of(MANIFEST)] = (MANIFEST, OCI_MANIFEST)
    return fake


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        *("http://registry.example", "ftp://127.0.0.1", "registry.example", ""),
        *("http://127.0.0.1.example", "http://10.0.0.1", "http://[::2]"),
    ],
)
async def test_only_https_and_loopback_addresses_are_opened(url):
    with pytest.raises(RegistryError):
        async with open_registry(url):
            pass


# Logins


async def test_a_password_is_sent_after_a_challenge_only():
    fake = with_manifest(login="basic")
    async with opened(fake, LOGIN) as client:
        await client.resolve(NAME, "1")
        await client.resolve(NAME, "1")
    sent = ["Authorization" in request.headers for request in fake.requests]
    assert sent == [False, True, True]


@pytest.mark.parametrize("credentials", [None, Credentials("user", "wrong")])
async def test_a_refused_password_is_an_error(credentials):
    async with opened(with_manifest(login="basic"), credentials) as client:
        with pytest.raises(LoginError) as caught:
            await client.resolve(NAME, "1")
    assert caught.value.status == 401
    assert "wrong" not in f"{caught.value}{credentials!r}"


async def test_anonymous_tokens_are_fetched_once_for_each_scope():
    fake = with_manifest(login="bearer")
    async with opened(fake) as client:
        await client.resolve(NAME, "1")
        await client.resolve(NAME, "1")
        await client.resolve("other", "1")
        await client.push_manifest(NAME, "2", MANIFEST, OCI_MANIFEST)
    tokens = [request for request in fake.requests if request.url.host == "login.example"]
    assert [request.url.params["scope"] for request in tokens] == [
        f"repository:{NAME}:pull",
        "repository:other:pull",
        f"repository:{NAME}:pull,push",
    ]
    assert all("Authorization" not in request.headers for request in tokens)
    assert tokens[0].url.params["service"] == "registry.example"


async def test_the_scope_of_a_challenge_is_used():
    """As public.ecr.aws asks for."""
    fake = with_manifest(login="bearer", challenge=f'Bearer realm="{TOKENS}?a=b",scope="aws"')
    async with opened(fake, LOGIN) as client:
        await client.resolve(NAME, "1")
    (request,) = [one for one in fake.requests if one.url.host == "login.example"]
    assert dict(request.url.params) == {"a": "b", "service": "", "scope": "aws"}
    assert request.headers["Authorization"] == LOGIN.header


async def test_an_expired_token_is_replaced():
    fake = with_manifest(login="bearer")
    async with opened(fake) as client:
        await client.resolve(NAME, "1")
        fake.valid_tokens.clear()
        fake.valid_tokens.add("another")
        await client.resolve(NAME, "1")


@pytest.mark.parametrize(
    "challenge",
    [
        *("", "Negotiate abc", 'Bearer realm="http://login.example/token"', 'Bearer service="x"'),
    ],
)
async def test_passwords_are_not_sent_to_token_servers_without_https(challenge):
    fake = with_manifest(login="bearer", challenge=challenge)
    async with opened(fake, LOGIN) as client:
        with pytest.raises(LoginError):
            await client.resolve(NAME, "1")
    assert all(request.url.host == "registry.example" for request in fake.requests)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, json={}),
        httpx.Response(403, json={}),
        error(401, "UNAUTHORIZED"),
    ],
)
async def test_invalid_tokens_are_errors(answer):
    fake = with_manifest(login="bearer", token_answer=answer)
    async with opened(fake) as client:
        with pytest.raises(RegistryError):
            await client.resolve(NAME, "1")


# Manifests


async def test_manifests_are_checked_against_their_digest():
    fake = with_manifest()
    digest = digest_of(MANIFEST)
    async with opened(fake) as client:
        found, data = await client.resolve(NAME, digest)
        assert (found, data) == (Descriptor(OCI_MANIFEST, digest, len(MANIFEST)), MANIFEST)
        fake.manifests[digest] = (MANIFEST + b" ", OCI_MANIFEST)
        with pytest.raises(DigestError):
            await client.resolve(NAME, digest)


@pytest.mark.parametrize(
    "page",
    [
        httpx.Response(200, html="<html>"),
        httpx.Response(302, headers={"Location": f"{STORAGE}/login"}),
    ],
)
async def test_a_login_page_is_no_registry(page, blob_file):
    fake = with_manifest(faults=[page])
    fake.blobs["login"] = b"<html>"
    async with opened(fake) as client:
        with pytest.raises(InvalidImageError, match="is this the address of a registry"):
            await client.resolve(NAME, "1")
        fake.faults = [None, httpx.Response(200, html="<html>")]
        with pytest.raises(RegistryError, match="is this the address of a registry"):
            await client.push_blob(NAME, OF_BLOB, blob_file)


# Failures


async def test_temporary_failures_are_repeated():
    faults = [httpx.ConnectError("refused"), error(503, "X"), error(429, "TOOMANYREQUESTS")]
    fake = with_manifest(faults=faults)
    async with opened(fake) as client:
        await client.resolve(NAME, "1")
    assert len(fake.requests) == 4


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(404, "NAME_UNKNOWN"), NotInRegistryError),
        (error(403, "DENIED"), LoginError),
        (error(400, "TAG_INVALID"), RegistryError),
        (httpx.Response(404, content=b"<html>"), NotInRegistryError),
        (httpx.Response(404, json={"errors": []}), NotInRegistryError),
    ],
)
async def test_refusals_are_not_repeated(answer, kind):
    fake = with_manifest(faults=[answer])
    async with opened(fake) as client:
        with pytest.raises(kind) as caught:
            await client.resolve(NAME, "1")
    assert len(fake.requests) == 1
    assert caught.value.status == answer.status_code
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), vars(again)) == (str(caught.value), vars(caught.value))


async def test_a_registry_that_does_not_answer_is_an_error():
    fake = with_manifest(faults=[error(500, "X")] * 10)
    async with opened(fake) as client:
        with pytest.raises(RegistryUnavailableError, match=r"registry\.example.*HTTP 500"):
            await client.resolve(NAME, "1")
    assert len(fake.requests) == POLICY.attempts


async def test_an_invalid_certificate_is_not_repeated():
    failure = httpx.ConnectError("certificate verify failed")
    failure.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    fake = with_manifest(faults=[failure])
    async with opened(fake) as client:
        with pytest.raises(RegistryUnavailableError, match="certificate"):
            await client.resolve(NAME, "1")
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})]
)
async def test_delays_grow_up_to_a_limit():
    fake = with_manifest(faults=[error(500, "X")] * 10)
    policy = TransferPolicy(first_delay=1.0, max_delay=3.0, attempts=5)
    async with open_registry(URL, transport=fake.transport, policy=policy) as client:
        began_at = anyio.current_time()
        with pytest.raises(RegistryUnavailableError):
            await client.resolve(NAME, "1")
        assert (1 + 2 + 3 + 3) / 2 <= anyio.current_time() - began_at <= 1 + 2 + 3 + 3


# Downloads


class Breaking(httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, data):
        self.data = data

    async def __aiter__(self):
        yield self.data
        raise httpx.ReadError("broken")


async def test_blobs_are_redirected_to_storage_without_our_password(tmp_path):
    fake = FakeRegistry(login="basic", redirect=STORAGE)
    fake.add_blob(BLOB)
    async with opened(fake, LOGIN) as client:
        await client.download(NAME, OF_BLOB, tmp_path / "deep/file")
        assert await client.has_blob(NAME, OF_BLOB.digest)
    assert (tmp_path / "deep/file").read_bytes() == BLOB
    (stored,) = [request for request in fake.requests if request.url.host == "storage.example"]
    assert "Authorization" not in stored.headers


async def test_a_broken_download_begins_again(tmp_path):
    fake = FakeRegistry(faults=[httpx.Response(200, stream=Breaking(BLOB[:2000]))])
    fake.add_blob(BLOB)
    async with opened(fake) as client:
        await client.download(NAME, OF_BLOB, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BLOB
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [BLOB[:-1] + b"x", BLOB + b"x", BLOB[:-1], b""])
async def test_other_content_leaves_no_file(content, tmp_path):
    fake = FakeRegistry()
    fake.blobs[OF_BLOB.digest] = content
    async with opened(fake) as client:
        with pytest.raises(DigestError):
            await client.download(NAME, OF_BLOB, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    fake = FakeRegistry()
    fake.add_blob(BLOB)
    (tmp_path / "file").write_bytes(b"not a folder")
    async with opened(fake) as client:
        with pytest.raises(RegistryError, match="cannot be written"):
            await client.download(NAME, OF_BLOB, tmp_path / "file/blob")


async def pass_turns(count):
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("native", [False, True])
async def test_a_cancelled_download_leaves_no_file(native, tmp_path, anyio_backend_name):
    """At any point; asyncio's own cancellation interrupts what shields protect."""
    if native and anyio_backend_name != "asyncio":
        pytest.skip("Task.cancel() is a cancellation of asyncio, which trio does not have")
    fake = FakeRegistry()
    content = BLOB * 600
    blob = Descriptor(KIND, fake.add_blob(content), len(content))
    whole = 0
    for turns in range(0, 120, 6):
        path = tmp_path / f"{turns}"
        async with opened(fake) as client:
            if native:
                task = asyncio.ensure_future(client.download(NAME, blob, path))
                await pass_turns(turns)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.download, NAME, blob, path)
                    await pass_turns(turns)
                    tasks.cancel_scope.cancel()
        found = [one.name for one in tmp_path.iterdir()]
        assert found in ([], [path.name])
        if found:
            assert path.read_bytes() == content
            path.unlink()
            whole += 1
    assert whole < 20, "some downloads were cancelled"


# Uploads


async def push(fake, path):
    async with opened(fake) as client:
        sent = await client.push_blob(NAME, OF_BLOB, path)
        assert not await client.push_blob(NAME, OF_BLOB, path)
    assert fake.blobs == {OF_BLOB.digest: BLOB}
    return sent


async def test_a_blob_is_sent_whole_in_one_request(blob_file):
    fake = FakeRegistry()
    assert await push(fake, blob_file)
    assert [request.method for request in fake.requests] == ["HEAD", "POST", "PUT", "HEAD"]
    (request,) = fake.sent("PUT")
    assert request.headers["Content-Length"] == str(len(BLOB))
    assert "Content-Range" not in request.headers


async def test_an_empty_blob_is_sent(tmp_path):
    fake = FakeRegistry()
    (tmp_path / "empty").touch()
    empty = Descriptor(KIND, digest_of(b""), 0)
    async with opened(fake) as client:
        await client.push_blob(NAME, empty, tmp_path / "empty")
    assert fake.blobs == {empty.digest: b""}


async def test_progress_begins_again_with_the_blob(blob_file):
    fake = FakeRegistry(faults=[None, None, error(500, "UNKNOWN")])
    seen = []
    async with opened(fake) as client:
        assert await client.push_blob(NAME, OF_BLOB, blob_file, seen.append)
    assert seen == [len(BLOB)] * 2


@pytest.mark.parametrize(
    ("before", "fault"),
    [
        (["HEAD"], httpx.ReadTimeout("silent")),
        (["HEAD"], httpx.Response(500)),
        (["HEAD", "POST"], httpx.WriteError("cut")),
        (["HEAD", "POST"], httpx.Response(500)),
        (["HEAD", "POST"], error(404, "BLOB_UPLOAD_UNKNOWN")),
        (["HEAD", "POST"], error(400, "BLOB_UPLOAD_INVALID")),
        (["HEAD", "POST"], error(400, "DIGEST_INVALID")),
    ],
)
async def test_an_upload_that_fails_once_begins_again(before, fault, blob_file):
    fake = FakeRegistry(faults=[*(None for _ in before), fault])
    assert await push(fake, blob_file)
    assert len(fake.sent("POST")) == 2


async def test_the_answer_to_an_upload_may_be_lost(blob_file):
    class Losing(FakeRegistry):
        def _upload(self, request, number):
            super()._upload(request, number)
            raise httpx.ReadError("lost")

    fake = Losing()
    assert await push(fake, blob_file)
    assert len(fake.sent("POST")) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (httpx.Response(500), "HTTP 500"),
        (error(404, "BLOB_UPLOAD_UNKNOWN"), "HTTP 404 BLOB_UPLOAD_UNKNOWN refused"),
    ],
)
async def test_an_upload_that_always_fails_is_an_error(fault, said, blob_file):
    class Failing(FakeRegistry):
        def _upload(self, request, number):
            return fault

    fake = Failing()
    async with opened(fake) as client:
        with pytest.raises(RegistryUnavailableError) as caught:
            await client.push_blob(NAME, OF_BLOB, blob_file)
    assert str(caught.value) == f"registry.example: upload of {OF_BLOB.digest} to {NAME}: {said}"
    assert len(fake.sent("PUT")) == POLICY.attempts


async def test_another_host_gets_no_password(blob_file):
    """Also if it asks for one."""
    fake = FakeRegistry(login="basic", location=f"{STORAGE}/upload?signature=secret")
    async with opened(fake, LOGIN) as client:
        with pytest.raises(RegistryError) as caught:
            await client.push_blob(NAME, OF_BLOB, blob_file)
        fake.faults = [httpx.Response(307, headers={"Location": f"{STORAGE}/gone"})]
        with pytest.raises(LoginError):
            await client.download(NAME, OF_BLOB, blob_file.with_name("file"))
    (request,) = fake.sent("PUT")
    assert request.url.host == "storage.example"
    foreign = [one for one in fake.requests if one.url.host == "storage.example"]
    assert len(foreign) == 2
    assert not any("Authorization" in one.headers for one in foreign)
    assert "secret" not in str(caught.value)


async def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BLOB[:-1] + b"x")
    fake = FakeRegistry()
    async with opened(fake) as client:
        with pytest.raises(DigestError, match=rf"{path} is damaged: delete it"):
            await client.push_blob(NAME, OF_BLOB, path)
    assert fake.blobs == {}
