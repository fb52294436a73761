"""Checksums of objects and parts, as S3 verifies them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.errors import ApiError

# Start of the headers with a checksum; the name of the algorithm follows.
HEADER = "x-amz-checksum-"


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class BodyHash:
    """Hashes of the body of a request, computed while it arrives.

    Other algorithms than these are neither verified nor kept.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.size = 0
        self._headers = headers
        self._hashes: dict[str, Any] = {
            "crc32": _Crc32(),
            "md5": hashlib.md5(usedforsecurity=False),
            "sha256": hashlib.sha256(),
        }
        self._declared = {
            name: headers[HEADER + name] for name in self._hashes if HEADER + name in headers
        }

    def update(self, block: bytes) -> None:
        """Add a block of the body."""
        self.size += len(block)
        for one in self._hashes.values():
            one.update(block)

    @property
    def md5(self) -> bytes:
        """MD5 of the body."""
        return bytes(self._hashes["md5"].digest())

    def check(self) -> dict[str, str]:
        """Compare the body with the hashes in the headers, and return the checksum to be kept."""
        declared = self._headers.get("x-amz-content-sha256", "")
        if len(declared) == 64 and declared != self._hashes["sha256"].digest().hex():
            raise ApiError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        wanted = dict(self._declared)
        if "content-md5" in self._headers:
            wanted["md5"] = self._headers["content-md5"]
        for name, value in wanted.items():
            if base64.b64encode(self._hashes[name].digest()).decode() != value:
                raise ApiError(
                    "BadDigest",
                    f"The {name.upper()} you specified did not match the calculated checksum.",
                )
        return self._declared
