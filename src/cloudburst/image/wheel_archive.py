"""Reading of the zip file of a wheel, which may be damaged or hostile, in bounded time and memory.

The hash of a wheel is that in the lock file, so these errors show a defect of its publisher or of a
lock file of the user. Every function blocks.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloudburst.errors import ImageError
from cloudburst.text import printable_line

MAX_FILES = 5_000
"""Maximum number of files. PyAV has 271."""
MAX_DIRECTORY_BYTES = 4 * 1024**2
"""Maximum size of the list of files in a wheel."""
MAX_FILE_BYTES = 100 * 1024**2
"""Maximum size of a file. The largest library of PyAV has 21 MB."""
MAX_UNPACKED_BYTES = 1024**3
"""Maximum size of all files. PyAV has 131 MB."""
MAX_TEXT_BYTES = 1024**2
"""Maximum size of the files METADATA and RECORD."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files in ``NAME.dist-info`` that RECORD lists without a hash, or not at all."""
_HASHES = ("sha256", "sha384", "sha512")
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError),
    *(struct.error, ValueError, OverflowError, LookupError, csv.Error),
)
"""Exceptions of `zipfile` and others for files that they cannot read. Some are of wide classes:
``RuntimeError`` for encrypted files, ``ValueError`` for names that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class WheelMember:
    """File in a wheel."""

    wheel: Path
    info: zipfile.ZipInfo
    digest: tuple[str, bytes] | None = None
    """Algorithm and hash in RECORD; ``None`` for RECORD itself and its signatures."""

    @property
    def name(self) -> str:
        """Path in the wheel."""
        return self.info.filename

    def read(self) -> bytes:
        """Return the content; raise `ImageError` if it is damaged or is not the one in RECORD."""
        with _damage_reported(self.wheel, self.name):
            data = _content(self.wheel, self.info)
        if self.digest is not None and _hash(data, self.digest[0]) != self.digest[1]:
            raise _error(self.wheel, self.name, "has another hash than in RECORD")
        return data


def wheel_members(path: Path) -> tuple[WheelMember, ...]:
    """Return the files of a wheel, with their hashes in RECORD.

    Raises:
        ImageError: the wheel is damaged or too large, it has a file outside its folder, twice, or
            of another kind, or RECORD lists other files.
    """
    with _damage_reported(path):
        infos = _infos(path)
    members = {info.filename: WheelMember(path, info) for info in infos if not info.is_dir()}
    hashes = _recorded_hashes(path, members)
    return tuple(
        WheelMember(path, member.info, hashes.get(name)) for name, member in members.items()
    )


def only_member(path: Path, members: tuple[WheelMember, ...], name: str) -> WheelMember:
    """Return the file of a name in ``NAME.dist-info``; raise `ImageError` if it is not one."""
    found = [one for one in members if _is_metadata(one.name, (name,))]
    if len(found) != 1:
        raise ImageError(f"{path.name} has {len(found)} files {name}, not one")
    if found[0].info.file_size > MAX_TEXT_BYTES:
        raise _error(path, found[0].name, "is too large")
    return found[0]


def _infos(path: Path) -> list[zipfile.ZipInfo]:
    with _DirectoryReader(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    largest = max((info.file_size for info in infos), default=0)
    if len(infos) > MAX_FILES or total > MAX_UNPACKED_BYTES or largest > MAX_FILE_BYTES:
        raise ImageError(f"{path.name} is too large: {len(infos):,} files, {total:,} bytes")
    names = set[str]()
    folders = set[str]()
    for info in infos:
        _check_kind(path, info)
        pure = _checked_path(path, info.filename)
        if not info.is_dir():
            if str(pure) in names:
                raise _error(path, info.filename, "is in the wheel twice")
            names.add(str(pure))
            folders.update(map(str, pure.parents))
    if conflicts := names & folders:
        raise _error(path, min(conflicts), "is a file and a folder")
    return infos


class _DirectoryReader(io.BufferedReader):
    """File of which only small parts are read at once, such as the list of files in a wheel."""

    def read(self, size: int | None = -1, /) -> bytes:
        limited = size is not None and 0 <= size <= MAX_DIRECTORY_BYTES
        data = super().read(size if limited else MAX_DIRECTORY_BYTES + 1)
        if len(data) > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("the list of files is too large")
        return data


def _check_kind(path: Path, info: zipfile.ZipInfo) -> None:
    """Raise `ImageError` for links, devices and pipes, and for methods that wheels do not use."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _error(path, info.filename, "is a link, a device or a pipe")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or info.flag_bits & 1:
        raise _error(path, info.filename, "is encrypted, or compressed with another method")


def _checked_path(path: Path, name: str) -> PurePosixPath:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or not pure.parts:
        raise ImageError(f"{path.name} has a file outside its folder: {printable_line(name, 100)}")
    if not name.isprintable() or len(name) > 1000:
        raise _error(path, name, "has a name that is too long or not printable")
    return pure


def _recorded_hashes(path: Path, members: dict[str, WheelMember]) -> dict[str, tuple[str, bytes]]:
    """Return the hashes in RECORD by path; raise `ImageError` if other files are in the wheel."""
    record = only_member(path, tuple(members.values()), "RECORD")
    found = dict[str, tuple[str, bytes]]()
    with _damage_reported(path, record.name):
        for row in csv.reader(io.StringIO(record.read().decode(), newline="")):
            if row and not _is_metadata(row[0], _SIGNATURES):
                algorithm, _, digest = row[1].partition("=")
                found[row[0]] = algorithm, _decoded(digest)
    expected = {name for name in members if not _is_metadata(name, _SIGNATURES)}
    if different := expected ^ found.keys():
        name = min(different)
        reason = "is not listed in RECORD" if name in expected else "is in RECORD, but not in it"
        raise _error(path, name, reason)
    for name, (algorithm, _) in found.items():
        if algorithm not in _HASHES:
            raise _error(path, name, "has no secure hash in RECORD")
    return found


def _decoded(digest: str) -> bytes:
    try:
        return base64.b64decode(digest + "=" * (-len(digest) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""


def _is_metadata(name: str, names: tuple[str, ...]) -> bool:
    folder, _, rest = name.partition("/")
    return folder.endswith(".dist-info") and rest in names


def _hash(data: bytes, algorithm: str) -> bytes:
    return hashlib.new(algorithm, data).digest()


def _content(path: Path, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a file; the list of files is not read again, unlike by `zipfile`."""
    if info.compress_size > MAX_FILE_BYTES:
        raise zipfile.BadZipFile("the compressed size is too large")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        magic, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if magic != b"PK\3\4":
            raise zipfile.BadZipFile("no header of a file")
        file.seek(name_size + extra_size, io.SEEK_CUR)
        packed = file.read(info.compress_size)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, info.file_size + 1)
    else:
        data = packed
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile("size or checksum are wrong")
    return data


def _error(path: Path, name: str, reason: str) -> ImageError:
    return ImageError(f"{path.name} cannot be used: {printable_line(name, 100)} {reason}")


@contextmanager
def _damage_reported(path: Path, name: str = "") -> Generator[None]:
    """Raise `ImageError` for the exceptions of damaged files."""
    try:
        yield
    except ImageError:
        raise
    except _DAMAGED as exc:
        where = f" {printable_line(name, 100)}:" if name else ""
        raise ImageError(f"{path.name} is damaged:{where} {printable_line(str(exc), 200)}") from exc
