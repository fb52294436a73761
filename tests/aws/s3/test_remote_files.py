"""Requests for inputs in S3, and deliveries of videos, against an emulated account."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.s3 import deliveries, remote_files, request_waits
from cloudburst.aws.s3.deliveries import part_size
from cloudburst.aws.s3.object_info import as_finished, object_metadata, run_of
from cloudburst.aws.s3.object_store import URL_SECONDS, ObjectStore
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.emulator.faults import Fault
from cloudburst.errors import (
    CredentialsError,
    DownloadError,
    OutputWriteError,
    UploadError,
)
from cloudburst.models.limits import Backoff, Limits
from cloudburst.models.locations import HttpsUrl
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.put import put_part
from cloudburst.outputs.s3_destination import S3Destination
from cloudburst.testing import s3_fault
from support.emulator_calls import client
from support.s3_account import (
    BUCKET,
    account,
    content,
    fetch,
    keys,
    obj,
    open_store,
    operations,
    put,
    send,
    sha256,
    uploads,
)

pytestmark = pytest.mark.anyio

VIDEO = b"video" * 1000
QUICK = Backoff(first=0.01, factor=1.0, cap=0.01)
ROLE = "arn:aws:iam::123456789012:role/renderer"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_BACKOFF", QUICK)
    monkeypatch.setattr(request_waits, "TRANSFER_BACKOFF", QUICK)


def files(store, **more):
    remote = S3RemoteFiles(store, **{"run": "r", "inputs": {}, **more})
    remote.note_fingerprint("scene ä", "f" * 64)
    return remote


def delivery(remote, to, data=VIDEO):
    return remote.delivery(
        "scene ä", to, size=len(data), sha256=sha256(data), content_type="video/mp4"
    )


async def deliver(remote, to, data=VIDEO):
    async with delivery(remote, to, data) as running:
        sent = [await send(part, data) for part in await running.parts()]
        assert {status for status, _, _ in sent} == {200}, sent
        await running.finish([etag for _, _, etag in sent])


@contextmanager
def small_parts(monkeypatch, size=5 * 1024**2):
    with monkeypatch.context() as patched:
        patched.setattr(remote_files, "MULTIPART_BYTES", size)
        patched.setattr(deliveries, "MIN_PART_BYTES", size)
        yield


class TestInputs:
    async def test_a_worker_gets_the_checked_version(self, emulator, store, folder):
        where = folder.object("a b+ä.png")
        put(emulator, where, b"picture")
        file = (await store.head(where)).remote_file(where)
        remote = files(store, inputs={where: file})
        assert remote.version(where) == file.version
        request = await remote.fetch_request(where)
        assert (request.size, request.max_bytes, request.public_only) == (7, 7, False)
        assert await fetch(request) == (200, "", b"picture")
        put(emulator, where, b"another")
        assert (await fetch(request))[:2] == (412, "PreconditionFailed")

    async def test_urls_are_short_lived_and_not_shown(self, emulator, store, folder, caplog):
        caplog.set_level(logging.DEBUG)
        where = folder.object("a")
        put(emulator, where)
        remote = files(store, inputs={where: (await store.head(where)).remote_file(where)})
        request = await remote.fetch_request(where)
        url = request.url.get_secret_value()
        query = parse_qs(urlsplit(url).query)
        assert query["X-Amz-Expires"] == [str(URL_SECONDS)]
        async with delivery(remote, folder.object("v.mp4")) as running:
            [part] = await running.parts()
        assert "X-Amz-Signature" not in repr([request, part])
        for hidden in (query["X-Amz-Signature"][0], part.url.get_secret_value()):
            assert hidden not in caplog.text

    async def test_a_url_of_the_user_is_passed_on(self):
        where = HttpsUrl("https://example.com/a.png?token=x")
        file = RemoteFile(location=where, size=None, etag='"e"')
        request = await files(None, inputs={where: file}).fetch_request(where)
        assert request.url.get_secret_value() == where.url
        assert (request.headers, request.public_only) == ({"if-match": '"e"'}, True)
        assert request.max_bytes == Limits().file_bytes
        limited = files(None, inputs={where: file}, max_input_bytes=9)
        assert (await limited.fetch_request(where)).max_bytes == 9
        private = files(None, inputs={where: file}, private_inputs=True)
        assert not (await private.fetch_request(where)).public_only

    async def test_a_url_does_not_outlive_the_session(self, emulator, folder):
        where = folder.object("a")
        put(emulator, where)
        settings = Settings(**emulator.environment, role_arn=ROLE)
        async with open_aws(settings) as aws:
            store = ObjectStore(aws, settings)
            remote = files(store, inputs={where: (await store.head(where)).remote_file(where)})
            request = await remote.fetch_request(where)
        query = parse_qs(urlsplit(request.url.get_secret_value()).query)
        assert 3500 < int(query["X-Amz-Expires"][0]) < 3600
        assert await fetch(request) == (200, "", b"content")

    async def test_a_missing_bucket_is_an_error_of_the_scene(self, store):
        where = obj("a", "none-such")
        remote = files(store, inputs={where: RemoteFile(location=where, size=1, etag='"e"')})
        with pytest.raises(UploadError, match="bucket does not exist"):
            await remote.fetch_request(where)


class TestCredentials:
    """Credentials in a file, as those of a profile, which expire and are replaced there."""

    @pytest.fixture
    def profile(self, emulator, tmp_path, monkeypatch):
        path = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        monkeypatch.setattr("cloudburst.aws.client.client.RENEWAL_INTERVAL", 0.02)

        def write(key, secret):
            path.write_text(f"[p]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")

        return write

    @pytest.fixture
    def account_alone(self):
        with account() as emulator:
            yield emulator

    async def test_that_expire_and_return_are_waited_for(
        self, account_alone, profile, caplog, folder, monkeypatch
    ):
        caplog.set_level(logging.WARNING)
        emulator = account_alone
        environment = emulator.environment
        profile(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        where, other, to = (folder.object(name) for name in ("a", "b", "v.mp4"))
        put(emulator, where)
        put(emulator, other)
        settings = Settings(profile="p", endpoint_url=emulator.url, region="us-east-1")
        async with open_aws(settings) as aws:
            store = ObjectStore(aws, settings)
            inputs = {one: (await store.head(one)).remote_file(one) for one in (where, other)}
            remote = files(store, inputs=inputs)
            async with delivery(remote, to) as running:
                [part] = await running.parts()
                request = await remote.fetch_request(where)
                emulator.expire_credentials()
                assert (await send(part, VIDEO))[1] == "ExpiredToken"
                assert (await fetch(request))[1] == "ExpiredToken"

                async def sign_in():
                    while "waiting up to 10 minutes" not in caplog.text:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                    fresh = emulator.new_key()
                    profile(fresh["AWS_ACCESS_KEY_ID"], fresh["AWS_SECRET_ACCESS_KEY"])

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sign_in)
                    [part] = await running.parts()
                assert (await fetch(await remote.fetch_request(where)))[2] == b"content"
                status, _, etag = await send(part, VIDEO)
                assert status == 200
                await running.finish([etag])
            assert caplog.text.count("waiting up to 10 minutes") == 1
            emulator.expire_credentials()
            monkeypatch.setattr(request_waits, "CREDENTIALS_TIMEOUT", 0.1)
            with pytest.raises(CredentialsError, match="expired"):
                await remote.fetch_request(where)
            with pytest.raises(CredentialsError, match="expired"):
                await remote.fetch_request(other)  # not signed with credentials that are refused

    async def test_that_cannot_be_renewed_are_not_waited_for(self, account_alone, folder):
        where = folder.object("a")
        put(account_alone, where)
        async with open_store(account_alone) as store:
            remote = files(store, inputs={where: (await store.head(where)).remote_file(where)})
            await remote.fetch_request(where)
            account_alone.expire_credentials()
            with anyio.fail_after(30), pytest.raises(CredentialsError, match="expired"):
                await remote.fetch_request(where)


class TestDelivery:
    async def test_a_video_is_written_with_its_metadata(self, emulator, store, folder):
        to = folder.object("scene ä.mp4")
        await deliver(files(store), to)
        assert content(emulator, to) == VIDEO
        info = await store.head(to)
        assert info.metadata == {
            "cloudburst-run": "r",
            "cloudburst-scene": "scene%20%C3%A4",
            "cloudburst-fingerprint": "f" * 64,
            "cloudburst-sha256": sha256(VIDEO),
        }
        found = as_finished(info, run="r", scene="scene ä")
        assert (found.fingerprint, found.size) == ("f" * 64, len(VIDEO))
        assert run_of(info) == "r"
        assert as_finished(info, run="other", scene="scene ä") is None

    async def test_metadata_of_any_program_names_a_run(
        self, emulator, store, folder, monkeypatch, tmp_path
    ):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # without journals
        for name, run in (("one", "night-1"), ("two", "../night")):
            marks = object_metadata(run=run, scene=name, fingerprint="", sha256="")
            put(emulator, folder.object(f"{name}.mp4"), Metadata=marks)
        destination = S3Destination(folder, store)
        assert await destination.newest_run_with(["one"]) == "night-1"
        assert await destination.newest_run_with(["two"]) is None
        assert await destination.newest_run_with(["two", "one"]) == "night-1"

    async def test_a_film_may_have_a_long_key(self, store):
        remote = files(store)
        film = obj(f"{'影' * 330}.mp4")
        video = {"size": len(VIDEO), "sha256": sha256(VIDEO), "content_type": "video/mp4"}
        async with remote.delivery(str(film), film, **video) as running:
            [part] = await running.parts()
            assert sum(map(len, [*part.headers, *part.headers.values()])) < 2048
            await send(part, VIDEO)
            await running.finish([])
        info = await store.head(film)
        assert as_finished(info, run="r", scene=str(film))
        assert as_finished(info, run="r", scene=f"{film}x") is None

    async def test_another_content_is_refused_by_s3(self, emulator, store, folder):
        to = folder.object("v.mp4")
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            assert (await send(part, VIDEO[::-1]))[1] == "BadDigest"
            with pytest.raises(DownloadError, match="missing after it was written"):
                await running.finish(['"e"'])
        assert to.key not in keys(emulator)

    @pytest.mark.parametrize("header", ["if-none-match", "x-amz-meta-cloudburst-run"])
    async def test_a_header_cannot_be_left_out(self, store, folder, header):
        async with delivery(files(store), folder.object("v.mp4")) as running:
            [part] = await running.parts()
            fewer = {name: value for name, value in part.headers.items() if name != header}
            part = part.model_copy(update={"headers": fewer})
            assert (await send(part, VIDEO))[1] == "SignatureDoesNotMatch"

    async def test_an_object_of_another_program_is_kept(self, emulator, store, folder):
        to = folder.object("v.mp4")
        put(emulator, to, b"theirs")
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            assert (await send(part, VIDEO))[:2] == (412, "PreconditionFailed")
            with pytest.raises(DownloadError, match="another program") as caught:
                await running.finish([])
        assert not caught.value.retryable
        assert content(emulator, to) == b"theirs"
        await deliver(files(store, overwrite=True), to)
        assert content(emulator, to) == VIDEO

    async def test_an_object_of_another_run_is_kept_and_the_run_is_named(
        self, emulator, store, folder
    ):
        to = folder.object("v.mp4")
        await deliver(files(store, run="first"), to, b"theirs")
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            assert (await send(part, VIDEO))[:2] == (412, "PreconditionFailed")
            with pytest.raises(DownloadError, match="run first has written an object of this name"):
                await running.finish([])
        assert content(emulator, to) == b"theirs"

    @pytest.mark.parametrize("size", [4, 6 * 1024**2])
    async def test_an_object_that_takes_the_place_of_an_outdated_one_is_kept(
        self, emulator, store, folder, size, monkeypatch
    ):
        to, video = folder.object("v.mp4"), bytes(size)
        await deliver(files(store), to, b"outdated")
        with small_parts(monkeypatch):
            async with delivery(files(store), to, video) as running:
                parts = await running.parts()
                if len(parts) == 1:
                    assert not await running.is_written()
                    parts = await running.parts()
                put(emulator, to, b"theirs")
                sent = [await send(part, video) for part in parts]
                with pytest.raises(DownloadError, match="another program"):
                    await running.finish([etag for _, _, etag in sent])
        assert content(emulator, to) == b"theirs"

    async def test_an_outdated_object_that_is_deleted_meanwhile(self, emulator, store, folder):
        to = folder.object("v.mp4")
        await deliver(files(store), to, b"outdated")
        async with delivery(files(store), to, VIDEO) as running:
            await running.parts()
            assert not await running.is_written()
            client(emulator, "s3").delete_object(Bucket=BUCKET, Key=to.key)
            [part] = await running.parts()
            assert (await send(part, VIDEO))[0] == 200
            await running.finish(())
        assert content(emulator, to) == VIDEO

    async def test_an_object_of_an_earlier_attempt_with_the_same_size_is_replaced(
        self, emulator, store, folder
    ):
        to = folder.object("v.mp4")
        await deliver(files(store), to, VIDEO[::-1])
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            assert (await send(part, VIDEO))[0] == 412
            assert not await running.is_written()
            [part] = await running.parts()
            _, _, etag = await send(part, VIDEO)
            await running.finish([etag])
        assert content(emulator, to) == VIDEO

    async def test_the_same_description_with_another_content_is_noticed(
        self, emulator, store, folder
    ):
        to = folder.object("v.mp4")
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            await send(part, VIDEO)
            info = await store.head(to)
            put(emulator, to, VIDEO[::-1], Metadata=dict(info.metadata))
            with pytest.raises(DownloadError, match="does not confirm the SHA-256"):
                await running.finish(['"e"'])

    async def test_a_lost_answer_is_found_out(self, store, folder):
        async with delivery(files(store), folder.object("v.mp4")) as running:
            [part] = await running.parts()
            await send(part, VIDEO)
            assert (await send(part, VIDEO))[0] == 412
            await running.finish([])

    async def test_a_refusal_keeps_the_video_on_the_worker(self, emulator, store, folder):
        to = folder.object("v.mp4")
        async with delivery(files(store), to) as running:
            [part] = await running.parts()
            await send(part, VIDEO)
            emulator.add_fault(s3_fault("access denied", "HeadObject"))
            emulator.add_fault(s3_fault("access denied", "GetObject"))
            with pytest.raises(OutputWriteError, match="permission"):
                await running.finish(['"e"'])
            emulator.add_fault(s3_fault("slow down", "HeadObject", times=9))
            await running.finish(['"e"'])

    async def test_a_busy_store_is_given_up(self, emulator, store, folder, monkeypatch):
        monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.2)
        async with delivery(files(store), folder.object("v.mp4")) as running:
            await running.parts()
            with account() as other:  # its faults end with it
                other.add_fault(s3_fault("slow down", "HeadObject", times=None))
                async with open_store(other) as busy:
                    running._store = busy
                    with pytest.raises(OutputWriteError, match="503"):
                        await running.finish(['"e"'])


class TestParts:
    BIG = bytes(range(256)) * 4 * 11 * 1024
    """11 MiB."""

    async def test_a_large_video_is_written_in_parts(self, emulator, store, folder, monkeypatch):
        to = folder.object("v.mp4")
        since = len(emulator.calls)
        with small_parts(monkeypatch):
            await deliver(files(store), to, self.BIG)
        assert operations(emulator, since).count("UploadPart") == 3
        assert content(emulator, to) == self.BIG
        info = await store.head(to)
        assert info.etag.endswith('-3"')
        assert info.metadata["cloudburst-sha256"] == sha256(self.BIG)
        assert uploads(emulator) == []

    async def test_a_part_that_changes_on_its_way_is_refused(
        self, emulator, store, folder, monkeypatch
    ):
        reads = []

        async def read_block(offset, size):
            reads.append(offset)
            data = self.BIG[offset : offset + size]
            return data[::-1] if reads.count(offset) > 1 and offset < size else data

        with small_parts(monkeypatch):
            async with (
                delivery(files(store), folder.object("v.mp4"), self.BIG) as running,
                open_session(TRUSTED_URLS) as http,
            ):
                first, second, _ = await running.parts()
                await put_part(second, read_block, client=http, progress=lambda _: None)
                with pytest.raises(TransferError, match="BadDigest"):
                    await put_part(first, read_block, client=http, progress=lambda _: None)

    async def test_an_unfinished_one_leaves_nothing(self, emulator, store, folder, monkeypatch):
        to = folder.object("v.mp4")

        async def fail():
            async with delivery(files(store), to, self.BIG) as running:
                parts = await running.parts()
                await send(parts[0], self.BIG)
                assert uploads(emulator) == [to.key]
                raise KeyError

        with small_parts(monkeypatch), pytest.raises(KeyError):
            await fail()
        assert uploads(emulator) == []
        assert to.key not in keys(emulator)

    async def test_a_cancelled_one_leaves_nothing(self, emulator, store, folder, monkeypatch):
        with small_parts(monkeypatch), anyio.CancelScope() as scope:
            async with delivery(files(store), folder.object("v.mp4"), self.BIG) as running:
                await running.parts()
                scope.cancel()
                await anyio.sleep_forever()
        assert uploads(emulator) == []

    async def test_an_upload_that_is_cancelled_at_its_start_leaves_nothing(
        self, emulator, store, folder, monkeypatch
    ):
        await store.bucket_region(folder.bucket)
        since = len(emulator.calls)
        emulator.add_fault(Fault(kind="delay", seconds=0.5, operation="s3:CreateMultipartUpload"))

        async def run():
            async with delivery(files(store), folder.object("v.mp4"), self.BIG) as running:
                await running.parts()
                await anyio.sleep_forever()

        with small_parts(monkeypatch):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                while "CreateMultipartUpload" not in operations(emulator, since):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert operations(emulator, since)[-1] == "AbortMultipartUpload"
        assert uploads(emulator) == []

    async def test_the_object_of_an_earlier_attempt_is_replaced(
        self, emulator, store, folder, monkeypatch
    ):
        to = folder.object("v.mp4")
        with small_parts(monkeypatch):
            async with delivery(files(store), to, self.BIG) as running:
                sent = [await send(part, self.BIG) for part in await running.parts()]
                await deliver(files(store), to, VIDEO)
                await running.finish([etag for _, _, etag in sent])
        assert content(emulator, to) == self.BIG
        assert uploads(emulator) == []

    async def test_an_object_that_takes_the_place_of_an_earlier_attempt_is_kept(
        self, emulator, store, folder, monkeypatch
    ):
        to, complete = folder.object("v.mp4"), store.complete_upload

        async def complete_after_theirs(*args, etag=None, **facts):
            if etag is not None:
                await anyio.to_thread.run_sync(put, emulator, to, b"theirs")
            await complete(*args, etag=etag, **facts)

        monkeypatch.setattr(store, "complete_upload", complete_after_theirs)
        with small_parts(monkeypatch):
            async with delivery(files(store), to, self.BIG) as running:
                sent = [await send(part, self.BIG) for part in await running.parts()]
                await deliver(files(store), to, VIDEO)
                with pytest.raises(DownloadError, match="another program"):
                    await running.finish([etag for _, _, etag in sent])
        assert content(emulator, to) == b"theirs"

    async def test_parts_have_nothing_in_their_way(self, store, folder, monkeypatch):
        """A worker that says so is wrong, unless the object is complete."""
        to = folder.object("v.mp4")
        with small_parts(monkeypatch):
            async with delivery(files(store), to, self.BIG) as running:
                await running.parts()
                with pytest.raises(DownloadError, match="missing after it was written"):
                    await running.is_written()
            await deliver(files(store), to, self.BIG)
            async with delivery(files(store), to, self.BIG) as running:
                assert await running.is_written()

    async def test_an_existing_object_is_kept(self, emulator, store, folder, monkeypatch):
        to = folder.object("v.mp4")
        with small_parts(monkeypatch):
            async with delivery(files(store), to, self.BIG) as running:
                sent = [await send(part, self.BIG) for part in await running.parts()]
                put(emulator, to, b"theirs")
                with pytest.raises(DownloadError, match="another program"):
                    await running.finish([etag for _, _, etag in sent])
        assert content(emulator, to) == b"theirs"
        assert uploads(emulator) == []

    @pytest.mark.few(2, spread=True)
    @pytest.mark.parametrize("name", ["lost", "slow down", "dropped", "internal error"])
    async def test_faults_of_the_completion_are_survived(
        self, emulator, store, folder, monkeypatch, name
    ):
        to = folder.object("v.mp4")
        with small_parts(monkeypatch):
            emulator.add_fault(s3_fault(name, "CompleteMultipartUpload"))
            await deliver(files(store), to, self.BIG)
        assert content(emulator, to) == self.BIG
        assert uploads(emulator) == []

    async def test_a_missing_part_is_noticed_by_the_size(self, store, folder, monkeypatch):
        with small_parts(monkeypatch):
            async with delivery(files(store), folder.object("v.mp4"), self.BIG) as running:
                sent = [await send(part, self.BIG) for part in await running.parts()]
                with pytest.raises(DownloadError, match="another program"):
                    await running.finish([etag for _, _, etag in sent[:-1]])


def test_sizes_of_parts():
    assert part_size(101 * 1024**2) == 16 * 1024**2
    assert part_size(5 * 1024**4) // 1024**3 == 80
    for size in (2**30, 2**30 + 1, 5 * 2**30 - 1):
        assert -(-size // part_size(size)) <= deliveries.MAX_PARTS_OF_A_VIDEO
