"""Registries that are cut or silent, on real sockets: each is one error, and leaves nothing."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.documents import OCI_MANIFEST, Descriptor
from cloudburst.net.registry.errors import LoginError, RegistryError, RegistryUnavailableError
from cloudburst.net.registry.http import Credentials, TransferPolicy
from support.hostile_registry import endless, head, hostile_registry, reset, silent, whole
from support.oci_layouts import digest_of

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NAME = "team/image"
LOGIN = Credentials("user", "secret-password")
POLICY = TransferPolicy(connect_timeout=15, idle_timeout=15, attempts=2, first_delay=0, max_delay=0)
HURRIED = replace(POLICY, connect_timeout=0.2, idle_timeout=0.2)
BOUND = 20
"""Seconds in which each test ends, on a machine that is busy with others."""
BLOB = random.Random(0).randbytes(4500)
OF_BLOB = Descriptor("application/octet-stream", digest_of(BLOB), len(BLOB))
CHUNKED = head("200 OK", Transfer_Encoding="chunked", Content_Type=OCI_MANIFEST)
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


WRONG = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": bytes.fromhex("15030300020228"),
    "a chunk that is cut": CHUNKED + b"5\r\nabc",
    "a body that is cut": head("200 OK", Content_Length=9999) + b"x",
    "a server error": whole("599 No", b"<html>"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_answers_are_repeated_and_then_reported(name, tmp_path):
    for call in (resolve, download):
        async with hostile_registry(WRONG[name]) as registry:
            error = await refused(registry, call, tmp_path)
            assert type(error) is RegistryUnavailableError
            assert len(registry.requests) == POLICY.attempts


SILENT = {
    "head": silent(),
    "body": silent(head("200 OK", Content_Length=4500, Content_Type=OCI_MANIFEST) + BLOB[:2000]),
    "storage": silent(head("307 Moved", Location="/v2/other")),
}


async def test_a_registry_that_falls_silent_is_an_error(tmp_path):
    """All at once, because each takes its time."""

    async def check(name, call):
        folder = tmp_path / f"{name}-{call.__name__}"
        folder.mkdir()
        answer = without_blob(SILENT[name]) if call is upload else SILENT[name]
        async with (
            hostile_registry(answer) as registry,
            client_of(registry, HURRIED) as client,
        ):
            with pytest.raises(RegistryUnavailableError, match="ReadTimeout"):
                await call(client, folder)
        assert not list(folder.rglob("*.part"))

    with anyio.fail_after(BOUND):
        async with anyio.create_task_group() as tasks:
            for name in SILENT:
                for call in (resolve, download):
                    tasks.start_soon(check, name, call)
            for name in ("head", "body"):
                tasks.start_soon(check, name, upload)


async def test_a_redirect_in_a_circle_ends(tmp_path):
    async with hostile_registry(whole("302 Moved", Location="/v2/again")) as registry:
        error = await refused(registry, download, tmp_path)
    assert "redirects" in str(error)


async def test_passwords_stay_at_the_registry(tmp_path):
    """Neither storage, nor another token server without https, nor another host gets one."""
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
        async with hostile_registry(numbered=[bearer]) as registry:
            assert type(await refused(registry, resolve, tmp_path)) is LoginError
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
    trickle = endless(head("200 OK", Content_Type=OCI_MANIFEST), b"x", pause=0.01)
    for answer in (silent(), trickle, SILENT["body"]):
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


async def test_no_signature_of_a_url_is_logged(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with hostile_registry(whole("200 OK", BLOB)) as storage:
        location = f"{storage.url}/x?X-Amz-Signature=secret"
        moved = hostile_registry(whole("307 Moved", Location=location))
        async with moved as registry, client_of(registry) as client:
            await client.download(NAME, OF_BLOB, tmp_path / "file")
    assert "X-Amz-Signature=***" in caplog.text
    assert "secret" not in caplog.text
