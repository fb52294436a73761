"""Reader of layers: tar files without compression or with gzip or zstd, in bounded memory."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, Protocol

from cloudburst.registry.errors import InvalidImageError

READ_BYTES = 256 * 1024
MAX_HEADER_BYTES = 32 * 1024
"""Maximum size of the header of an entry in bytes. Headers with the longest names that Linux allows
have about 9,000; `tarfile` searches some larger ones for hours
(https://nvd.nist.gov/vuln/detail/CVE-2024-6232)."""
MAX_HEADERS_BYTES = 256 * 1024
"""Maximum size of all headers of an entry in bytes. `tarfile` keeps the whole map of a sparse file
in memory, which may be as long as the layer."""
MAX_WINDOW_LOG = 27
"""Logarithm to the base 2 of the maximum window of zstd: 128 MiB, the most that the program zstd
decompresses without ``--long``."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_WITH_HEADER = 16 + zlib.MAX_WBITS


class Decompressor(Protocol):
    """One stream of compressed data: the common methods of zlib and zstd."""

    @property
    def eof(self) -> bool:
        """True after the end of the stream."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most ``max_length`` bytes; more are kept for the next call."""
        ...


class LayerReader:
    """Forward-only file with the uncompressed content of a layer, as `tarfile` reads it.

    Args:
        file: Compressed or plain tar file.
        limit: Maximum number of uncompressed bytes.
        on_read: Function that is called before each read and for each compressed stream; it may
            raise an exception to stop.
    """

    def __init__(self, file: BinaryIO, limit: int, on_read: Callable[[], object]) -> None:
        self._file = file
        self._limit = limit
        self._on_read = on_read
        self._hash = hashlib.sha256()
        self._position = 0
        self._buffer, self._used = b"", 0
        self._header_bytes = 0
        self.last_read = b""
        """Result of the last call of `read`."""
        start = file.read(4)
        file.seek(0)
        self._new: Callable[[], Decompressor] | None = None
        if start.startswith(_GZIP):
            self._new = _Gzip
        elif start == _ZSTD:
            self._new = _Zstd
        self._stream: Decompressor | None = self._new() if self._new else None
        self._compressed = b""

    def tell(self) -> int:
        """Return the number of bytes that were read."""
        return self._position

    def start_entry(self) -> None:
        """Begin an entry: its headers may have `MAX_HEADERS_BYTES`."""
        self._header_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes of a header, or fewer at the end of the layer."""
        self._header_bytes += size
        if not 0 <= size <= MAX_HEADER_BYTES or self._header_bytes > MAX_HEADERS_BYTES:
            raise InvalidImageError("a layer has a header that is too long")
        parts: list[bytes] = []
        while size > 0 and (part := self.read_some(size)):
            size -= len(part)
            parts.append(part)
        self.last_read = b"".join(parts)
        return self.last_read

    def read_some(self, size: int) -> bytes:
        """Return the next bytes, ``size`` at most; nothing at the end of the layer."""
        if self._used == len(self._buffer) and not self._fill():
            return b""
        start = self._used
        self._used = min(start + size, len(self._buffer))
        self._position += self._used - start
        return self._buffer[start : self._used]

    def seek(self, position: int) -> int:
        """Skip bytes up to a position."""
        if position < self._position:
            raise InvalidImageError("a layer is not a valid tar file")
        while self._position < position and self.read_some(position - self._position):
            pass
        return self._position

    def finish(self) -> str:
        """Read the rest, and return the digest of the uncompressed layer."""
        while self.read_some(READ_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _fill(self) -> bool:
        """Decompress the next block; return whether there is one."""
        block = self._next_block()
        self._limit -= len(block)
        if self._limit < 0:
            raise InvalidImageError("the layers of the image are too large")
        self._hash.update(block)
        self._buffer, self._used = block, 0
        return bool(block)

    def _next_block(self) -> bytes:
        if self._new is None or self._stream is None:
            self._on_read()
            return self._file.read(READ_BYTES)
        while True:
            self._on_read()  # compressed data can be long without any content
            if self._stream.eof:  # layers may have several streams, one after another
                self._compressed = self._stream.unused_data or self._file.read(READ_BYTES)
                if not self._compressed:
                    return b""
                self._stream = self._new()
            data, self._compressed = self._compressed, b""
            block = self._stream.decompress(data, READ_BYTES)
            if block:
                return block
            if not self._stream.eof:
                self._compressed = self._file.read(READ_BYTES)
                if not self._compressed:
                    raise InvalidImageError("a layer ends in the middle of its compressed data")


class _Gzip:
    """Decompressor of zlib that keeps its unread input, as that of zstd does."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WITH_HEADER)

    @property
    def eof(self) -> bool:
        """True after the end of the stream."""
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most ``max_length`` bytes; more are kept for the next call."""
        try:
            return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        except zlib.error as exc:
            raise InvalidImageError(f"a layer is damaged: {exc!s:.100}") from exc


class _Zstd:
    """Decompressor of zstd that raises our error for damaged data."""

    def __init__(self) -> None:
        self._module = _zstd_module()
        options = {self._module.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        self._stream = self._module.ZstdDecompressor(options=options)

    @property
    def eof(self) -> bool:
        """True after the end of the stream."""
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most ``max_length`` bytes; more are kept for the next call."""
        try:
            return bytes(self._stream.decompress(data, max_length))
        except self._module.ZstdError as exc:
            raise InvalidImageError(f"a layer is damaged: {exc!s:.100}") from exc


def _zstd_module() -> Any:
    """Return the module of zstd: that of Python 3.14, or the same one for older versions."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return import_module(name)
    except ImportError as exc:
        msg = "a layer is compressed with zstd; install the package cloudburst-sdk[image]"
        raise InvalidImageError(msg) from exc
