"""Descriptions of objects that S3 sends, as other programs have written them."""

from __future__ import annotations

import base64
import hashlib

import pytest

from cloudburst.aws.s3.object_info import object_info

SHA256 = hashlib.sha256(b"x")
CHECKSUM = base64.b64encode(SHA256.digest()).decode()
HEADERS = {
    "last-modified": "Fri, 27 Nov 2026 01:00:00 GMT",
    "date": "Fri, 27 Nov 2026 01:00:01 GMT",
}


def described(**more):
    response = {"ETag": '"0"', "ContentLength": 1, "ResponseMetadata": {"HTTPHeaders": HEADERS}}
    return object_info(response | more, "head_object")


@pytest.mark.parametrize(
    ("more", "sha256"),
    [
        ({}, None),
        ({"ChecksumCRC64NVME": "AAAAAAAAAAA=", "ChecksumType": "FULL_OBJECT"}, None),
        ({"ChecksumSHA256": CHECKSUM, "ChecksumType": "FULL_OBJECT"}, SHA256.hexdigest()),
        ({"ChecksumSHA256": CHECKSUM}, SHA256.hexdigest()),
        ({"ChecksumSHA256": f"{CHECKSUM}-2", "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumSHA256": CHECKSUM, "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumSHA256": f"{CHECKSUM}-2"}, None),  # of other stores, which send no type
    ],
)
def test_only_the_sha256_of_the_whole_object_counts(more, sha256):
    assert described(**more).sha256 == sha256


@pytest.mark.parametrize(("version", "kept"), [("null", None), ("3", "3")])
def test_objects_from_before_versions_have_none(version, kept):
    assert described(VersionId=version).version_id == kept
