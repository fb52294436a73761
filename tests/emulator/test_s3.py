"""The emulated S3, as boto and plain HTTP see it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.exceptions import ClientError

from cloudburst.testing import (
    AWS_S3_FAULTS,
    EmulatorConfig,
    FargateEmulator,
    s3_fault,
)
from support.emulator_calls import client, new_client, until

BODY = b"0123456789" * 1000
PART = 5 << 20
ANSWERS = {
    "access denied": (403, "AccessDenied"),
    "no such key": (404, "NoSuchKey"),
    "slow down": (503, "SlowDown"),
    "internal error": (500, "InternalError"),
    "url expired": (403, "AccessDenied"),
    "url not valid yet": (403, "AccessDenied"),
    "token expired": (400, "ExpiredToken"),
    "clock skew": (403, "RequestTimeTooSkewed"),
    "key disabled": (400, "KMS.DisabledException"),
    "archived": (403, "InvalidObjectState"),
    "conflict": (409, "ConditionalRequestConflict"),
    "wrong region": (301, "PermanentRedirect"),
}
"""Status and code of the answers to faults that are errors."""


@pytest.fixture(scope="module")
def emulator():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as running:
        client(running, "s3").create_bucket(Bucket="mine")
        yield running


@pytest.fixture
def s3(emulator):
    return client(emulator, "s3")


@pytest.fixture
def key(s3):
    name = f"a b/{uuid.uuid4().hex}+ü"
    s3.put_object(Bucket="mine", Key=name, Body=BODY, Metadata={"who": "me"})
    return {"Bucket": "mine", "Key": name}


@contextmanager
def refused(code, status=None):
    with pytest.raises(ClientError) as refusal:
        yield
    response = refusal.value.response
    assert response["Error"]["Code"] == code
    assert status in {None, response["ResponseMetadata"]["HTTPStatusCode"]}


def opened(url, method="GET", body=None, **headers):
    """Status, error code and body of the answer to a request without a signature in a header."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, method=method, headers=names)
    try:
        with urllib.request.urlopen(request) as got:
            return got.status, "", got.read()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, text.partition("<Code>")[2].partition("<")[0], text


def sha256(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class TestPresignedUrls:
    def signed(self, s3, key, operation="get_object", seconds=60, **more):
        return s3.generate_presigned_url(operation, Params={**key, **more}, ExpiresIn=seconds)

    def test_the_right_one_is_answered(self, emulator, s3, key):
        assert opened(self.signed(s3, key)) == (200, "", BODY)
        call = emulator.calls[-1]
        assert (call.action, call.presigned, call.received) == ("s3:GetObject", True, 0)
        assert opened(self.signed(s3, key, IfMatch='"0"'), if_match='"0"')[:2] == (
            412,
            "PreconditionFailed",
        )

    def test_a_changed_one_is_refused(self, s3, key):
        url = self.signed(s3, key)
        other = self.signed(s3, {**key, "Key": "other"})
        signature = other.rpartition("=")[2]
        for wrong in (
            url.replace("/mine/", "/yours/"),
            url.replace("Expires=60", "Expires=600"),
            f"{url.rpartition('=')[0]}={signature}",
            f"{url}&versionId=1",
        ):
            assert opened(wrong)[:2] == (403, "SignatureDoesNotMatch")
        assert opened(url, "PUT", b"x")[:2] == (403, "SignatureDoesNotMatch")

    def test_an_unsigned_header_of_aws_is_refused(self, s3, key):
        url = self.signed(s3, key, "put_object")
        assert opened(url, "PUT", b"x", x_amz_meta_a="b")[0] == 403
        assert opened(url, "PUT", b"x")[0] == 200

    def test_an_expired_url_is_refused_with_the_words_of_s3(self, s3, key, monkeypatch):
        def at(when):
            monkeypatch.setattr(
                botocore.auth, "get_current_datetime", lambda **_: when.replace(tzinfo=None)
            )
            return self.signed(s3, key, seconds=60)

        now = datetime.now(UTC)
        status, code, text = opened(at(now - timedelta(seconds=62)))
        assert (status, code) == (403, "AccessDenied")
        assert "<Message>Request has expired</Message>" in text
        assert "not valid yet" in opened(at(now + timedelta(minutes=16)))[2]
        assert opened(at(now - timedelta(seconds=30)))[0] == 200

    def test_a_request_with_a_wrong_clock_is_refused(self, s3, monkeypatch):
        when = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=16)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: when)
        with refused("RequestTimeTooSkewed", 403):
            s3.list_buckets()

    def test_a_session_is_part_of_it_and_ends_it(self, key):
        with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
            client(emulator, "s3").create_bucket(Bucket="mine")
            role = f"arn:aws:iam::{emulator.config.account}:role/me"
            got = client(emulator, "sts").assume_role(RoleArn=role, RoleSessionName="here")
            keys = got["Credentials"]
            mine = {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"]}
            session = new_client(emulator, "s3", **mine, token=keys["SessionToken"])
            session.put_object(**key, Body=b"x")
            url = self.signed(session, key)
            assert opened(url)[0] == 200
            start, _, rest = url.partition("X-Amz-Security-Token=")
            assert opened(f"{start}X-Amz-Security-Token=x{rest}")[1] == "InvalidAccessKeyId"
            emulator.expire_credentials()
            assert opened(url)[:2] == (400, "ExpiredToken")


class TestObjects:
    def test_come_back_with_their_metadata(self, s3, key):
        found = s3.head_object(**key)
        assert (found["ContentLength"], found["Metadata"]) == (len(BODY), {"who": "me"})
        assert found["ETag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
        got = s3.get_object(**key, Range="bytes=5-7")
        assert (got["Body"].read(), got["ContentRange"]) == (b"567", f"bytes 5-7/{len(BODY)}")
        with refused("InvalidRange", 416):
            s3.get_object(**key, Range=f"bytes={len(BODY)}-")
        s3.delete_object(**key)
        with refused("NoSuchKey", 404):
            s3.get_object(**key)
        with refused("404"):
            s3.head_object(**key)

    def test_have_conditions(self, s3, key):
        etag = s3.head_object(**key)["ETag"]
        with refused("PreconditionFailed", 412):
            s3.put_object(**key, Body=b"x", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            s3.put_object(**key, Body=b"x", IfMatch='"0"')
        with refused("PreconditionFailed", 412):
            s3.delete_object(**key, IfMatch='"0"')
        with refused("NoSuchKey", 404):
            s3.put_object(Bucket="mine", Key="new", Body=b"x", IfMatch=etag)
        s3.put_object(**key, Body=b"x", IfMatch=etag)
        with refused("PreconditionFailed", 412):
            s3.get_object(**key, IfMatch=etag)
        s3.put_object(Bucket="mine", Key=uuid.uuid4().hex, Body=b"x", IfNoneMatch="*")

    def test_have_checksums_that_are_verified(self, s3, key):
        s3.put_object(**key, Body=b"x", ChecksumSHA256=sha256(b"x"))
        assert "ChecksumSHA256" not in s3.head_object(**key)
        found = s3.head_object(**key, ChecksumMode="ENABLED")
        assert (found["ChecksumSHA256"], found["ChecksumType"]) == (sha256(b"x"), "FULL_OBJECT")
        with refused("BadDigest", 400):
            s3.put_object(**key, Body=b"y", ChecksumSHA256=sha256(b"x"))
        with refused("BadDigest", 400):
            s3.put_object(**key, Body=b"y", ContentMD5=base64.b64encode(b"\0" * 16).decode())
        assert s3.get_object(**key)["Body"].read() == b"x"

    def test_a_body_that_was_changed_is_refused(self, emulator, key):
        body_hash = hashlib.sha256(b"x").hexdigest()
        request = botocore.awsrequest.AWSRequest(
            "PUT", f"{emulator.url}/mine/changed", {"X-Amz-Content-SHA256": body_hash}, b"x"
        )
        environment = emulator.environment
        keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        credentials = botocore.credentials.Credentials(*keys)
        botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        headers = dict(request.headers)
        assert opened(request.url, "PUT", b"y", **headers)[1] == "XAmzContentSHA256Mismatch"
        assert opened(request.url, "PUT", b"x", **headers)[0] == 200

    def test_are_listed_by_pages_and_folders(self, s3):
        start = f"{uuid.uuid4().hex}/"
        for name in ("a", "b/1", "b/2", "c d", "e"):
            s3.put_object(Bucket="mine", Key=start + name, Body=b"")
        found = {"keys": [], "folders": []}
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket="mine", Prefix=start, Delimiter="/", PaginationConfig={"PageSize": 1}
        )
        for number, page in enumerate(pages, 1):  # noqa: B007
            found["keys"] += [one["Key"].removeprefix(start) for one in page.get("Contents", ())]
            found["folders"] += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        assert found == {"keys": ["a", "c d", "e"], "folders": [f"{start}b/"]}
        assert number == 4


class TestParts:
    def start(self, s3, key, **more):
        return {**key, "UploadId": s3.create_multipart_upload(**key, **more)["UploadId"]}

    def send(self, s3, upload, number, body, **more):
        part = s3.upload_part(**upload, PartNumber=number, Body=body, **more)
        known = {name: part[name] for name in ("ETag", "ChecksumSHA256") if name in part}
        return {"PartNumber": number, **known}

    def test_become_an_object_without_a_checksum(self, s3, key):
        upload = self.start(s3, key, ChecksumAlgorithm="SHA256", Metadata={"a": "b"})
        with refused("BadDigest", 400):
            self.send(s3, upload, 1, b"1", ChecksumSHA256=sha256(b"2"))
        bodies = [b"1" * PART, b"2"]
        parts = [
            self.send(s3, upload, number, body, ChecksumSHA256=sha256(body))
            for number, body in enumerate(bodies, 1)
        ]
        with refused("PreconditionFailed", 412):
            s3.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        found = s3.head_object(**key, ChecksumMode="ENABLED")
        assert "ChecksumSHA256" not in found
        assert (found["ContentLength"], found["Metadata"]) == (PART + 1, {"a": "b"})
        md5s = b"".join(hashlib.md5(body).digest() for body in bodies)
        assert found["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
        with refused("NoSuchUpload", 404):
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def test_that_are_wrong_are_refused(self, s3, key):
        upload = self.start(s3, key)
        small, last = (self.send(s3, upload, number, b"x") for number in (1, 2))
        for code, parts in (
            ("EntityTooSmall", [small, last]),
            ("InvalidPart", [{**small, "ETag": '"0"'}]),
        ):
            with refused(code):
                s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        s3.abort_multipart_upload(**upload)
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="mine", Prefix=key["Key"])


class TestAccount:
    def test_a_new_bucket_is_named_in_the_response(self, s3):
        assert s3.create_bucket(Bucket="new")["Location"] == "/new"

    def test_a_bucket_in_another_region_says_so(self, emulator, s3):
        where = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket="abroad", CreateBucketConfiguration=where)
        s3.put_object(Bucket="abroad", Key="a", Body=b"x")  # boto follows to the region
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "abroad", "Key": "a"})
        status, code, text = opened(url)
        assert (status, code) == (400, "AuthorizationHeaderMalformed")
        assert "<Region>eu-west-1</Region>" in text
        notes = [call.note for call in emulator.calls]
        assert "AuthorizationHeaderMalformed" in notes

    def test_denied_actions_are_those_of_iam(self):
        denied = frozenset({"s3:ListBucket", "s3:PutObject"})
        with FargateEmulator(EmulatorConfig.quick(moto=False, denied=denied)) as emulator:
            s3 = client(emulator, "s3")
            s3.create_bucket(Bucket="mine")
            for call in (
                lambda: s3.list_objects_v2(Bucket="mine"),
                lambda: s3.create_multipart_upload(Bucket="mine", Key="a"),
                lambda: s3.get_object(Bucket="mine", Key="missing"),
            ):
                with refused("AccessDenied", 403):
                    call()

    def test_what_is_not_emulated_is_refused(self, s3, key):
        with refused("NotImplemented", 501):
            s3.copy_object(**key, CopySource=key)
        with refused("NotImplemented", 501):
            s3.get_object_tagging(**key)
        with refused("NoSuchBucket", 404):
            s3.list_objects_v2(Bucket="none-such")

    def test_a_large_object_is_not_held_in_memory(self, emulator, s3, key):
        """The emulator runs in this process."""
        url = s3.generate_presigned_url("put_object", Params=key)
        parts = urlsplit(url)
        block, blocks = os.urandom(1 << 20), 100
        before = peak_memory()
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        body = (block for _ in range(blocks))
        length = {"Content-Length": str(blocks << 20)}
        connection.request("PUT", f"{parts.path}?{parts.query}", body, length)
        assert connection.getresponse().status == 200
        with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=key)) as got:
            while got.read(1 << 20):
                pass
        connection.close()
        assert peak_memory() - before < 50 << 20
        wanted = [(blocks << 20, 0), (0, blocks << 20)]
        # A reader has the last bytes before the emulator has counted them.
        until(lambda: [(c.received, c.sent) for c in emulator.calls[-2:]] == wanted)


def peak_memory():
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


class TestFaults:
    @pytest.mark.parametrize("name", sorted(AWS_S3_FAULTS))
    @pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
    def test_each_applies_once(self, emulator, s3, key, name, operation):
        emulator.add_fault(s3_fault(name, operation))
        method, body = ("GET", None) if operation == "GetObject" else ("PUT", b"new" * 50_000)
        url = s3.generate_presigned_url("get_object" if body is None else "put_object", Params=key)
        start = time.monotonic()
        if name in ANSWERS:
            assert opened(url, method, body)[:2] == ANSWERS[name]
        elif name in {"slow", "doubled"}:
            assert opened(url, method, body)[0] == 200
            assert (time.monotonic() - start > 0.15) == (name == "slow")
        else:
            with pytest.raises((OSError, http.client.HTTPException)):
                opened(url, method, body)
        written = s3.get_object(**key)["Body"].read() != BODY
        assert written == (body is not None and name in {"slow", "doubled", "lost"})
        assert opened(url, method, body)[0] == 200
