"""Files of layers, and deterministic tar files of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from cloudburst.errors import ImageError

# Virtual environment of the image, as in the Dockerfile.
PREFIX = "opt/cloudburst"
# User of the render service in the image, as in the Dockerfile.
USER_ID, USER_NAME = 10001, "cloudburst"
LICENCE_FOLDER = "usr/share/licenses/cloudburst"
# Folders that are written into layers with everything below. Others are the base's, except for
# those of bytecode, and keep their mode and owner.
OUR_FOLDERS = (PREFIX, "usr/share/licenses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """File, symbolic link or folder in a layer."""

    path: str
    """Path without a slash at the beginning."""
    data: bytes = b""
    """Content of a file."""
    mode: int = 0o644
    link: str = ""
    """Target of a symbolic link; empty for files and folders."""
    is_folder: bool = False
    owner: int = 0
    group: int = 0


def text_entry(path: str, text: str) -> Entry:
    """Return a file with a text."""
    return Entry(path=path, data=text.encode())


def write_tar(entries: Iterable[Entry], file: IO[bytes]) -> None:
    """Write a tar file that depends on nothing but the entries, and our folders above them."""
    listed = dict[str, Entry]()
    for entry in entries:
        if listed.setdefault(entry.path, entry) is not entry:
            raise ImageError(f"a layer has two files for {entry.path}")
    for folder in {one for path in listed for one in _our_folders_above(path)}:
        listed.setdefault(folder, Entry(path=folder, mode=0o755, is_folder=True))
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(listed):
            tar.addfile(_header(listed[path]), io.BytesIO(listed[path].data))


def _our_folders_above(path: str) -> Iterator[str]:
    for folder in PurePosixPath(path).parents:
        ours = any(folder.is_relative_to(one) for one in OUR_FOLDERS)
        if ours or folder.name == "__pycache__":
            yield str(folder)


def _header(entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.path)
    header.mode, header.uid, header.gid = entry.mode, entry.owner, entry.group
    header.size = len(entry.data)
    if entry.link:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, 0o777
    elif entry.is_folder:
        header.type = tarfile.DIRTYPE
    return header
