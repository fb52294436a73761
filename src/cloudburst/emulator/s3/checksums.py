"""Checksums of objects and parts, as S3 verifies and reports them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.requests import not_implemented

HEADER = "x-amz-checksum-"
"""Start of the headers with a checksum; the name of the algorithm follows."""
CONTROL_HEADERS = {"algorithm", "mode", "type"}
"""Names after `HEADER` that are not algorithms."""
ALGORITHMS = ("crc32", "sha1", "sha256")
"""Algorithms that the emulator verifies."""


class BodyHash:
    """Hashes of the body of a request, computed while it arrives."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Initialize the hashes that the headers of the request declare.

        Raises:
            ApiError: The emulator does not verify an algorithm.
        """
        self.size = 0
        self._headers = headers
        self._declared = declared_checksums(headers)
        self._content_sha256 = headers.get("x-amz-content-sha256", "")
        names = {"md5", *self._declared}
        if len(self._content_sha256) == 64:
            names.add("sha256")
        self._hashes = {name: _new_hash(name) for name in names}

    def update(self, block: bytes) -> None:
        """Add a block of the body."""
        self.size += len(block)
        for one in self._hashes.values():
            one.update(block)

    @property
    def md5(self) -> bytes:
        """MD5 of the body."""
        return self._hashes["md5"].digest()

    def check(self) -> dict[str, str]:
        """Compare the body with the hashes in the headers, and return the checksum to be kept.

        Returns:
            Checksum in Base64 by algorithm; empty if the headers have none.

        Raises:
            ApiError: The body is not the one that the headers describe.
        """
        declared = self._content_sha256
        if len(declared) == 64 and declared != self._hashes["sha256"].digest().hex():
            raise ApiError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        wanted = self._headers.get("content-md5")
        if wanted is not None and _decoded(wanted) != self.md5:
            raise ApiError("BadDigest", "The Content-MD5 you specified did not match what we got.")
        for name, value in self._declared.items():
            if base64.b64encode(self._hashes[name].digest()).decode() != value:
                raise ApiError(
                    "BadDigest",
                    f"The {name.upper()} you specified did not match the calculated checksum.",
                )
        return self._declared


class _Hash(Protocol):
    def update(self, block: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """CRC-32 with the interface of ``hashlib``."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _new_hash(algorithm: str) -> _Hash:
    return _Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


def declared_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums in the headers of a request, in Base64 by algorithm.

    Raises:
        ApiError: The emulator does not verify the algorithm.
    """
    found = {
        name.removeprefix(HEADER): value
        for name, value in headers.items()
        if name.startswith(HEADER) and name.removeprefix(HEADER) not in CONTROL_HEADERS
    }
    if unknown := set(found) - set(ALGORITHMS):
        raise not_implemented(f"checksums {sorted(unknown)}")
    return found


def composite_checksum(algorithm: str, parts: Sequence[str]) -> str:
    """Return the composite checksum of an object, from the checksums of its parts in Base64."""
    joined = _new_hash(algorithm)
    joined.update(b"".join(map(_decoded, parts)))
    return f"{base64.b64encode(joined.digest()).decode()}-{len(parts)}"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidDigest", "The checksum you specified is not valid.") from None
