"""The store of objects in S3 that settings describe."""

from __future__ import annotations

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.models.s3_encryption import parse_s3_encryption
from cloudburst.models.settings import Settings


def open_store(aws: AWSClient, settings: Settings) -> ObjectStore:
    """Return the store for a client, with the encryption and the payer of the settings."""
    text = settings.s3_encryption
    return ObjectStore(
        aws,
        encryption=None if text is None else parse_s3_encryption(text),
        requester_pays=settings.s3_requester_pays,
    )
