"""Deflated data of gigabytes, which is never compressed as a whole."""

from __future__ import annotations

import zlib

_BLOCK_BYTES = 1 << 20
_RAW = -zlib.MAX_WBITS
"""Window bits of a stream without the header and the checksum of zlib."""
_ADLER_MODULUS = 65_521


def zeros(count: int) -> bytes:
    """Return ``count`` zero bytes, deflated, in the format of zlib.

    After a full flush a block refers to nothing before it, so one block of zeros is repeated.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW)
    block = compressor.compress(bytes(_BLOCK_BYTES)) + compressor.flush(zlib.Z_FULL_FLUSH)
    rest = compressor.compress(bytes(count % _BLOCK_BYTES)) + compressor.flush()
    checksum = (count % _ADLER_MODULUS) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * (count // _BLOCK_BYTES) + rest + checksum.to_bytes(4)
