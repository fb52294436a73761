"""Entries of a layer, read in bounded memory."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from cloudburst.registry.errors import InvalidImageError
from cloudburst.registry.layer_reader import LayerReader

WHITEOUT = ".wh."
"""Prefix of the name of an entry that deletes the file of that name in lower layers."""
OPAQUE = ".wh..wh..opq"
"""Name of an entry that deletes the content of its folder in lower layers."""
MAX_GLOBAL_HEADERS = 100
"""Maximum number of values in the global headers of a layer, which `tarfile` keeps in memory."""
_DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, IndexError)
"""Exceptions of `tarfile` for damaged files."""


def layer_entries(reader: LayerReader) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a layer, in their order.

    The content of an entry is what `LayerReader.read_some` returns until the next entry is asked
    for. Use it in a block of `damage_reported`.

    Raises:
        InvalidImageError: The layer is no tar file, or its headers exceed a limit.
    """
    with tarfile.TarFile(fileobj=reader, errorlevel=2) as archive:  # type: ignore[arg-type]
        while (entry := archive.next()) is not None:
            cast("Any", archive).members.clear()  # otherwise all headers stay in memory
            if len(archive.pax_headers) > MAX_GLOBAL_HEADERS:
                raise InvalidImageError("a layer has too many global headers")
            yield entry
            reader.start_entry()
    if reader.last_read.strip(b"\0"):  # neither a block of zeros nor the end of the file
        raise InvalidImageError("a layer has an entry with a damaged header")


@contextmanager
def damage_reported(name: str) -> Generator[None]:
    """Raise `InvalidImageError` for what `tarfile` raises if the layer of this name is damaged."""
    try:
        yield
    except _DAMAGE as exc:
        raise InvalidImageError(f"{name}: the layer is damaged: {exc!s:.200}") from exc
