"""Checksums of objects and parts, as S3 verifies and reports them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence

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

    def __init__(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._crc32 = 0

    def update(self, block: bytes) -> None:
        """Add a block of the body."""
        self.size += len(block)
        self._md5.update(block)
        self._sha1.update(block)
        self._sha256.update(block)
        self._crc32 = zlib.crc32(block, self._crc32)

    @property
    def md5(self) -> bytes:
        """MD5 of the body."""
        return self._md5.digest()

    def check(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Compare the body with the hashes in the headers, and return the checksum to be kept.

        Returns:
            Checksum in Base64 by algorithm; empty if the headers have none.

        Raises:
            ApiError: The body is not the one that the headers describe.
        """
        declared = headers.get("x-amz-content-sha256", "")
        if len(declared) == 64 and declared != self._sha256.hexdigest():
            raise ApiError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        wanted = headers.get("content-md5")
        if wanted is not None and _decoded(wanted) != self.md5:
            raise ApiError("BadDigest", "The Content-MD5 you specified did not match what we got.")
        found: dict[str, str] = {}
        for name, value in declared_checksums(headers).items():
            if base64.b64encode(self._digest(name)).decode() != value:
                raise ApiError(
                    "BadDigest",
                    f"The {name.upper()} you specified did not match the calculated checksum.",
                )
            found[name] = value
        return found

    def _digest(self, algorithm: str) -> bytes:
        match algorithm:
            case "sha256":
                return self._sha256.digest()
            case "sha1":
                return self._sha1.digest()
            case _:
                return self._crc32.to_bytes(4, "big")


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
    joined = BodyHash()
    joined.update(b"".join(map(_decoded, parts)))
    digest = joined._digest(algorithm)  # noqa: SLF001 - of the same module
    return f"{base64.b64encode(digest).decode()}-{len(parts)}"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidDigest", "The checksum you specified is not valid.") from None
