"""An emulated account with a bucket, and what tests ask of it."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager, contextmanager

import aioboto3
import httpx

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.settings import Settings
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_calls import client

BUCKET, ABROAD = "videos", "abroad"
"""Buckets in the region of the emulator, and in another one."""
FOLDER = S3Prefix(BUCKET, "out/")


@contextmanager
def account(**changes):
    """Run an emulator with buckets; tests of a module share it, each with keys of its own."""
    with FargateEmulator(EmulatorConfig.quick(moto=False, **changes)) as emulator:
        s3 = client(emulator, "s3")
        s3.create_bucket(Bucket=BUCKET)
        region = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket=ABROAD, CreateBucketConfiguration=region)
        yield emulator


_SESSIONS = {}


def settings_of(emulator, **changes):
    return Settings(**{**emulator.environment, **changes})


@asynccontextmanager
async def open_store(emulator, **changes):
    """Yield a store. Tests share a session of boto, which reads the model of S3 only once."""
    environment = emulator.environment
    key = environment["AWS_ACCESS_KEY_ID"]
    if key not in _SESSIONS:
        _SESSIONS[key] = aioboto3.Session(
            aws_access_key_id=key,
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
    settings = settings_of(emulator, **changes)
    async with open_aws(settings, session=_SESSIONS[key]) as aws:
        yield ObjectStore(aws, settings)


def put(emulator, location, body=b"content", **more):
    return client(emulator, "s3").put_object(
        Bucket=location.bucket, Key=location.key, Body=body, **more
    )


def keys(emulator, bucket=BUCKET):
    found = client(emulator, "s3").list_objects_v2(Bucket=bucket)
    return [entry["Key"] for entry in found.get("Contents", ())]


def in_folder(emulator, folder):
    """Return the keys in a folder, without the prefix of the folder."""
    start = folder.prefix
    return [key.removeprefix(start) for key in keys(emulator) if key.startswith(start)]


def content(emulator, location):
    got = client(emulator, "s3").get_object(Bucket=location.bucket, Key=location.key)
    return got["Body"].read()


def uploads(emulator, bucket=BUCKET):
    found = client(emulator, "s3").list_multipart_uploads(Bucket=bucket)
    return [entry["Key"] for entry in found.get("Uploads", ())]


def operations(emulator, since=0):
    return [call.operation for call in emulator.calls[since:] if call.service == "s3"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def obj(key, bucket=BUCKET):
    return S3Object(bucket, key)


async def send(part, data):
    """Send a part as a worker does, and return status, code of the error, and ETag."""
    async with httpx.AsyncClient(trust_env=False) as http:
        body = data[part.offset : part.offset + part.size]
        got = await http.put(part.url.get_secret_value(), content=body, headers=dict(part.headers))
        code = got.text.partition("<Code>")[2].partition("<")[0]
        return got.status_code, code, got.headers.get("etag", "")


async def fetch(request):
    """Get a file as a worker does, and return status, code of the error, and content."""
    async with httpx.AsyncClient(trust_env=False) as http:
        got = await http.get(request.url.get_secret_value(), headers=dict(request.headers))
        code = got.text.partition("<Code>")[2].partition("<")[0] if got.is_error else ""
        return got.status_code, code, got.content


async def make_two_videos(remote, picture, folder):
    """Fetch an input and write two videos as a worker does."""
    assert (await fetch(await remote.fetch_request(picture)))[0] == 200
    for scene, data in (("a", b"video in a part"), ("b", b"v")):
        to = folder.object(f"{scene}.mp4")
        async with remote.delivery(
            scene, to, size=len(data), sha256=sha256(data), content_type="video/mp4"
        ) as delivery:
            sent = [await send(part, data) for part in await delivery.parts()]
            await delivery.finish([etag for _, _, etag in sent])
