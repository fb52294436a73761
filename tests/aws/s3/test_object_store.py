"""Objects in S3, against an emulated account."""

from __future__ import annotations

import anyio
import pytest

from cloudburst.aws.client.client import CALL_BACKOFF
from cloudburst.aws.s3.object_store import PRECONDITION_FAILED
from cloudburst.emulator.s3 import api
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CredentialsError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Prefix
from cloudburst.outputs.s3_destination import S3Destination
from cloudburst.testing import AWS_S3_FAULTS, s3_fault
from support.s3_account import (
    ABROAD,
    BUCKET,
    account,
    keys,
    obj,
    open_store,
    operations,
    put,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    assert CALL_BACKOFF.first > 0.01
    monkeypatch.setattr(
        "cloudburst.aws.client.client.CALL_BACKOFF", Backoff(first=0.01, factor=1.0, cap=0.01)
    )


async def test_an_object_is_described(emulator, store, folder):
    where = folder.object("ä +%.bin")
    put(emulator, where, b"12345", ChecksumSHA256="WZRHGrsBESr8wYFZ9sx0tPURuZgG2lmzyvWpwXPKz8U=")
    info = await store.head(where)
    assert (info.size, info.version_id) == (5, None)
    assert info.sha256 == "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
    assert info.remote_file(where).version == f"etag {info.etag} 5"


async def test_a_range_is_read_with_the_size_of_the_object(emulator, store, folder):
    where = folder.object("a")
    put(emulator, where, b"0123456789")
    found = await store.read_range(where, 2, 5)
    assert (found.data, found.info.size) == (b"234", 10)
    assert (await store.read_range(where, 8, 99, etag=found.info.etag)).data == b"89"
    behind = await store.read_range(where, 10, 20)
    assert (behind.data, behind.info.size) == (b"", 10)
    with pytest.raises(AWSError) as changed:
        await store.read_range(where, 0, 5, etag='"0"')
    assert changed.value.code == PRECONDITION_FAILED


async def test_a_bucket_in_another_region_is_asked_for_its_region_once(emulator, store):
    where = obj("a", ABROAD)
    await store.put_small(where, b"x")
    assert (await store.head(where)).size == 1
    assert await store.bucket_region(ABROAD) == "eu-west-1"
    assert await store.bucket_region(BUCKET) == "us-east-1"


async def test_missing_things_are_named(store):
    with pytest.raises(ResourceMissingError, match=r"^s3://videos/no: .*object does not exist"):
        await store.head(obj("no"))
    with pytest.raises(ResourceMissingError, match=r"^s3://videos/no: .*object does not exist"):
        await store.read_range(obj("no"), 0, 1)
    with pytest.raises(ResourceMissingError, match=r"^s3://none-such/: .*bucket does not exist"):
        await store.head(obj("a", "none-such"))
    assert await store.find(obj("no")) is None


@pytest.mark.parametrize(
    ("name", "error", "heads"),
    [
        ("access denied", AccessDeniedError, 1),
        ("clock skew", CredentialsError, 1),
        ("token expired", CredentialsError, 2),  # boto repeats it, as if for another region
    ],
)
async def test_a_refused_head_is_explained_by_a_request_with_a_reason(
    emulator, store, name, error, heads
):
    where = obj("explained")
    put(emulator, where)
    await store.bucket_region(BUCKET)
    emulator.add_fault(s3_fault(name, "HeadObject", times=heads))
    emulator.add_fault(s3_fault(name, "GetObject"))
    with pytest.raises(error):
        await store.head(where)
    assert (await store.head(where)).size == 7


async def test_a_head_for_a_bucket_that_has_moved_is_explained(emulator, store):
    where = obj("moved")
    put(emulator, where)
    await store.bucket_region(BUCKET)
    for operation in ("HeadObject", "GetObject"):  # boto repeats each of them
        emulator.add_fault(s3_fault("wrong region", operation, times=2))
    with pytest.raises(AWSError, match=r"PermanentRedirect.*the bucket is in another region"):
        await store.head(where)
    assert (await store.head(where)).size == 7


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("name", sorted(AWS_S3_FAULTS))
async def test_each_fault_is_survived_or_explained(emulator, store, folder, name):
    where = folder.object("a")
    put(emulator, where, b"x" * 1000)
    await store.bucket_region(BUCKET)
    since = len(emulator.calls)
    emulator.add_fault(s3_fault(name, "GetObject"))
    fatal = {
        "access denied": AccessDeniedError,
        "archived": AWSError,
        "clock skew": CredentialsError,
        "key disabled": AWSError,
        "no such key": ResourceMissingError,
        "token expired": CredentialsError,
        "url expired": AccessDeniedError,
        "url not valid yet": AccessDeniedError,
    }
    if error := fatal.get(name):
        with pytest.raises(error):
            await store.read_range(where, 0, 1000)
        return
    assert (await store.read_range(where, 0, 1000)).data == b"x" * 1000
    calls = {"slow": 1, "doubled": 1, "wrong region": 3}  # boto asks for the region
    assert len(operations(emulator, since)) == calls.get(name, 2)


@pytest.mark.parametrize(
    ("name", "error"), [("slow down", ThrottledError), ("truncated", NoAnswerError)]
)
async def test_a_fault_without_end_is_raised(emulator, store, folder, name, error):
    where = folder.object("a")
    put(emulator, where, b"x" * 1000)
    since = len(emulator.calls)
    emulator.add_fault(s3_fault(name, "GetObject", times=4))
    with pytest.raises(error):
        await store.read_range(where, 0, 1000)
    assert operations(emulator, since)[-4:] == ["GetObject"] * 4


async def test_more_than_was_asked_for_is_not_read(emulator, store, folder):
    where = folder.object("a")
    put(emulator, where, b"x" * 1_000_000)
    with pytest.raises(AWSError, match="more than 1000 bytes"):
        await store.aws.call("s3", "get_object", max_body=1000, Bucket=where.bucket, Key=where.key)


async def test_a_folder_is_listed_by_pages(emulator, store, folder, monkeypatch):
    for name in ("a", "b", "c", "in/d"):
        put(emulator, folder.object(name))

    async def listed(**more):
        return [one.key for one in await store.list_folder(folder, **more)]

    prefix = folder.prefix
    everything = [f"{prefix}{name}" for name in ("a", "b", "c", "in/d")]
    assert await listed(below=True) == everything
    assert await listed() == everything[:3]
    call = store.aws.call

    async def small_pages(service, operation, **more):
        size = {"MaxKeys": 2} if operation == "list_objects_v2" else {}
        return await call(service, operation, **more, **size)

    monkeypatch.setattr(store.aws, "call", small_pages)
    assert await listed(below=True) == everything
    with pytest.raises(ResourceMissingError):
        await store.list_folder(S3Prefix("none-such", ""))


async def test_list_folder_of_several_pages_returns_all(emulator, store, folder, monkeypatch):
    for name in ("a", "b"):
        put(emulator, folder.object(name))
    call = store.aws.call

    async def small_pages(service, operation, **more):
        size = {"MaxKeys": 1} if operation == "list_objects_v2" else {}
        return await call(service, operation, **more, **size)

    monkeypatch.setattr(store.aws, "call", small_pages)
    assert [at.name for at in await store.list_folder(folder)] == ["a", "b"]


async def test_an_entry_of_a_list_without_a_key(emulator, store, folder, monkeypatch):
    put(emulator, folder.object("a"))
    response = api.xml_response

    def without_key(name, content):
        # Without the encoding, botocore does not look at the keys.
        return response(name, {**content, "Contents": [{"Size": 1}], "EncodingType": ""})

    monkeypatch.setattr(api, "xml_response", without_key)
    with pytest.raises(NoAnswerError, match="Key is missing"):
        await store.list_folder(folder)


async def test_conditions_of_small_objects(store, folder):
    where = folder.object("a")
    await store.put_small(where, b"1", new=True)
    with pytest.raises(AWSError) as refused:
        await store.put_small(where, b"2", new=True)
    assert refused.value.code == PRECONDITION_FAILED
    await store.put_small(where, b"2")
    await store.delete(where)
    assert await store.find(where) is None


async def test_the_endpoint_of_s3_alone_is_used(emulator, folder):
    elsewhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_S3": emulator.url}
    async with open_store(emulator, **elsewhere) as store:
        await store.put_small(folder.object("a"), b"x")
    assert folder.object("a").key in keys(emulator)


async def test_plain_http_to_another_machine_is_refused_before_a_run(emulator, folder):
    """Workers would refuse it, when the first scene has been paid for."""
    url = "http://user:password@store.example:9000"
    async with open_store(emulator, AWS_ENDPOINT_URL=url) as store:
        with anyio.fail_after(5):  # nothing is resolved or sent
            [fault] = await S3Destination(folder, store).find_faults(None)
    assert "http://store.example:9000, but" in fault.found
    assert "set AWS_ENDPOINT_URL_S3" in fault.found


async def test_without_permission_to_list_a_missing_object_is_found_missing():
    with account(denied=frozenset({"s3:ListBucket"})) as emulator:
        put(emulator, obj("there"))
        async with open_store(emulator) as store:
            assert (await store.head(obj("there"))).size == 7
            with pytest.raises(AccessDeniedError):
                await store.head(obj("no"))
            with pytest.raises(AccessDeniedError):
                await store.find(obj("no"))


async def test_a_denied_object_is_looked_for_in_the_list_of_its_folder(emulator, store, folder):
    """With limited permission to list the bucket, S3 denies missing objects as well."""
    put(emulator, folder.object("a b"))
    put(emulator, folder.object("a b c"))

    def deny():
        for operation in ("HeadObject", "GetObject"):
            emulator.add_fault(s3_fault("access denied", operation))

    deny()
    with pytest.raises(AccessDeniedError):
        await store.find(folder.object("a b"))
    deny()
    assert await store.find(folder.object("a")) is None
