"""Regions of buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.errors import headers_of
from cloudburst.aws.s3.answers import named_errors
from cloudburst.errors import AccessDeniedError, AWSError
from cloudburst.models.locations import S3Prefix


class BucketRegions:
    """Regions of the buckets that a client uses."""

    def __init__(self, aws: AWSClient) -> None:
        self._aws = aws
        self._regions: dict[str, str] = {}
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def region(self, bucket: str) -> str:
        """Return the region of a bucket. It is asked for once for each bucket."""
        async with self._locks[bucket]:
            if (known := self._regions.get(bucket)) is None:
                known = self._regions[bucket] = await self._find_region(bucket)
            return known

    async def _find_region(self, bucket: str) -> str:
        headers: Mapping[str, str]
        with named_errors(S3Prefix(bucket, "")):
            try:
                response = await self._aws.call("s3", "head_bucket", Bucket=bucket)
                headers = response["ResponseMetadata"]["HTTPHeaders"]
            except (AccessDeniedError, AWSError) as exc:
                # The refusal names the region, too. Credentials that only reach objects are usual.
                headers = headers_of(exc)
                if "x-amz-bucket-region" not in headers:
                    await self._explain_bucket(bucket)
        return headers.get("x-amz-bucket-region") or self._aws.region

    async def _explain_bucket(self, bucket: str) -> None:
        """Raise the error that the answer to a HEAD request cannot express, unless it is denied."""
        try:
            await self._aws.call("s3", "list_objects_v2", Bucket=bucket, MaxKeys=1)
        except AccessDeniedError:
            return  # without permission to list, the bucket may still be usable
