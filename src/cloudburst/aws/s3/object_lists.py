"""Lists of the objects in buckets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.s3.answers import named_errors
from cloudburst.aws.s3.bucket_regions import BucketRegions
from cloudburst.errors import ConfigurationError, NoAnswerError
from cloudburst.models.locations import S3Object, S3Prefix

MAX_LIST_PAGES = 1000
"""Maximum number of pages of a list of objects."""
MAX_PAGE_KEYS = 1000
"""Maximum number of keys on a page ("ListObjectsV2", Amazon S3 API Reference, 2026-11)."""


class ObjectLists:
    """Lists of objects, for `ObjectStore`.

    Args:
        aws: Client for the calls.
        regions: Regions of the buckets.
        parameters: Further parameters of each call.
    """

    def __init__(
        self, aws: AWSClient, regions: BucketRegions, parameters: Mapping[str, Any]
    ) -> None:
        self._aws = aws
        self._regions = regions
        self._parameters = parameters

    async def pages(
        self, prefix: S3Prefix, *, start_after: str, flat: bool
    ) -> AsyncGenerator[list[S3Object]]:
        """Yield the pages of the list of objects with a prefix, in the order of their keys.

        Args:
            prefix: The folder.
            start_after: Key after which the list begins; empty: at the start.
            flat: True to leave out objects in folders within the folder.
        """
        parameters: dict[str, Any] = {"Prefix": prefix.prefix}
        if start_after:
            parameters["StartAfter"] = start_after
        if flat:
            parameters["Delimiter"] = "/"
        for _ in range(MAX_LIST_PAGES):
            with named_errors(prefix):
                page = await self._call(prefix.bucket, parameters)
            keys = [entry["Key"] for entry in page.get("Contents", ())]
            if len(keys) > MAX_PAGE_KEYS or not all(key.startswith(prefix.prefix) for key in keys):
                raise NoAnswerError(f"{prefix}: the list of objects is not the requested one")
            yield [S3Object(prefix.bucket, key) for key in keys]
            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken", "")
            if token in {"", parameters.get("ContinuationToken")}:
                raise NoAnswerError(f"{prefix}: the list of objects has no end")
            parameters["ContinuationToken"] = token
        msg = (
            f"{prefix}: the list of objects has more than {MAX_LIST_PAGES:,} pages: "
            "choose a folder with fewer objects"
        )
        raise ConfigurationError(msg)

    async def contains(self, location: S3Object) -> bool:
        """Return whether an object is in the list of its bucket."""
        # Of all keys that begin with this one, it is the first.
        parameters = {"Prefix": location.key, "Delimiter": "/", "MaxKeys": 1}
        with named_errors(location):
            page = await self._call(location.bucket, parameters)
        return any(entry["Key"] == location.key for entry in page.get("Contents", ()))

    async def _call(self, bucket: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return await self._aws.call(
            "s3",
            "list_objects_v2",
            in_region=await self._regions.region(bucket),
            Bucket=bucket,
            **parameters,
            **self._parameters,
        )
