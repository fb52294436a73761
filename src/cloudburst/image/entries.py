"""Files of layers, and deterministic tar files of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from cloudburst.errors import ImageError
from cloudburst.text import printable_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """File, symbolic link or folder in a layer."""

    path: str
    """Path without a slash at the beginning."""
    read: Callable[[], bytes] = bytes
    """Function that returns the content of a file."""
    mode: int = 0o644
    link: str = ""
    """Target of a symbolic link; empty for files and folders."""
    is_folder: bool = False
    owner: int = 0
    group: int = 0
    packed_size: int = 0
    """Estimated compressed size in bytes, by which files are distributed to layers."""


def text_entry(path: str, text: str) -> Entry:
    """Return a file with a text."""
    return bytes_entry(path, text.encode())


def bytes_entry(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """Return a file with this content."""
    return Entry(path=path, read=lambda: data, mode=mode)


def write_tar(
    entries: Iterable[Entry],
    file: IO[bytes],
    *,
    known_folders: AbstractSet[str] = frozenset(),
    check_cancelled: Callable[[], None] = lambda: None,
) -> None:
    """Write a tar file that depends on nothing but the entries, which are sorted by their path.

    Folders above the entries are added, except those in ``known_folders``, which lower layers
    have. All times are 0.

    Raises:
        ImageError: two entries have the same path.
    """
    listed = dict[str, Entry]()
    for entry in entries:
        if listed.setdefault(entry.path, entry) is not entry:
            raise ImageError(f"a layer has two files for {printable_line(entry.path)}")
    for path in sorted(_folders_above(listed) - known_folders - listed.keys()):
        listed[path] = Entry(path=path, mode=0o755, is_folder=True)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(listed):
            check_cancelled()
            header, content = _member(listed[path])
            tar.addfile(header, content)


def _folders_above(paths: Iterable[str]) -> set[str]:
    return {
        str(folder)
        for path in paths
        for folder in PurePosixPath(path).parents
        if folder != PurePosixPath()
    }


def _member(entry: Entry) -> tuple[tarfile.TarInfo, IO[bytes] | None]:
    header = tarfile.TarInfo(entry.path)
    header.mode, header.uid, header.gid, header.mtime = entry.mode, entry.owner, entry.group, 0
    if entry.link:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, 0o777
        return header, None
    if entry.is_folder:
        header.type = tarfile.DIRTYPE
        return header, None
    data = entry.read()
    header.size = len(data)
    return header, io.BytesIO(data)


def split_evenly(entries: Iterable[Entry], number: int) -> Iterator[tuple[Entry, ...]]:
    """Yield the entries in groups of similar compressed size, in the same way for each call."""
    groups: list[list[Entry]] = [[] for _ in range(number)]
    sizes = [0] * number
    for entry in sorted(entries, key=lambda entry: (-entry.packed_size, entry.path)):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(entry)
        sizes[smallest] += entry.packed_size
    yield from map(tuple, groups)
