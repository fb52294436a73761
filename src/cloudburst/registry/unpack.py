"""Unpacking of the layers of an image into a folder, without root."""

from __future__ import annotations

import secrets
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.registry.errors import DigestError, InvalidImageError, RegistryError, printable
from cloudburst.registry.folders import remove_folder
from cloudburst.registry.layer_entries import OPAQUE, WHITEOUT, damage_reported, layer_entries
from cloudburst.registry.layer_reader import LayerReader
from cloudburst.registry.root_folder import RootFolder

REMOVAL_TIMEOUT = 10.0
"""Seconds after a cancellation in which the folder is removed before the caller continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """Limits against layers that fill the disk."""

    max_bytes: int = 4 * 1024**3
    """Maximum number of uncompressed bytes of all layers."""
    max_entries: int = 300_000
    """Maximum number of entries of all layers."""


async def unpack_layers(
    paths: Sequence[Path],
    folder: Path,
    *,
    diff_ids: Sequence[str] = (),
    limits: UnpackLimits | None = None,
) -> None:
    """Unpack layers, lowest first, into a new folder; create all of it or nothing.

    Layers are tar files without compression or with gzip or zstd. Later layers replace and delete
    files of earlier ones (whiteouts). Modes and modification times are kept, setuid and setgid bits
    are removed, devices and pipes are left out, and all files belong to the current user. Absolute
    links refer to the folder as root, and no entry is written outside the folder.

    Args:
        paths: Files of the layers.
        folder: The folder to create. It must not exist, or be empty.
        diff_ids: Digests of the uncompressed layers, to check; none are checked if it is empty.
        limits: Limits of size; the default is enough for images of several GB.

    Raises:
        InvalidImageError: A layer is damaged, exceeds a limit or contains an invalid path.
        DigestError: A layer does not have its digest.
        RegistryError: The folder cannot be written.
    """
    unpacking = _Unpacking(paths, folder, diff_ids, limits or UnpackLimits())
    try:
        await to_thread.run_sync(unpacking.run, abandon_on_cancel=True)
    finally:
        unpacking.stop()
        with anyio.move_on_after(REMOVAL_TIMEOUT, shield=True):
            await to_thread.run_sync(unpacking.wait, abandon_on_cancel=True)


class _StoppedError(Exception):
    """The caller was cancelled."""


class _Unpacking:
    """Unpacking in a thread, which ends soon after `stop`."""

    def __init__(
        self, paths: Sequence[Path], folder: Path, diff_ids: Sequence[str], limits: UnpackLimits
    ) -> None:
        self._paths = paths
        self._folder = folder
        self._diff_ids = diff_ids or [""] * len(paths)
        self._max_bytes = limits.max_bytes
        self._max_entries = limits.max_entries
        self._stopped = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._over.set()

    def stop(self) -> None:
        """Stop the thread: it removes what it has written."""
        with self._lock:
            self._stopped = True

    def wait(self) -> None:
        """Wait until the thread has ended."""
        self._over.wait(REMOVAL_TIMEOUT)

    def run(self) -> None:
        """Unpack the layers into a temporary folder, then rename it."""
        with self._lock:
            self._raise_if_stopped()
            self._over.clear()
        try:
            self._run()
        finally:
            self._over.set()

    def _run(self) -> None:
        if len(self._diff_ids) != len(self._paths):
            raise InvalidImageError("the image does not name a digest for each layer")
        temporary = self._folder.with_name(f"{self._folder.name}.{secrets.token_hex(4)}.part")
        try:
            try:
                temporary.mkdir(parents=True)
                root = RootFolder(temporary)
                for path, diff_id in zip(self._paths, self._diff_ids, strict=True):
                    self._unpack_layer(path, diff_id, root)
                root.finish()
                with self._lock:
                    self._raise_if_stopped()
                    temporary.rename(self._folder)
            except BaseException:
                remove_folder(temporary)
                raise
        except OSError as exc:
            place = printable(str(exc.filename or self._folder))
            msg = f"{place} cannot be written: {exc.strerror or exc}"
            raise RegistryError(msg) from exc

    def _unpack_layer(self, path: Path, diff_id: str, root: RootFolder) -> None:
        with damage_reported(str(path)), path.open("rb") as file:
            reader = LayerReader(file, self._max_bytes, self._raise_if_stopped)
            root.start_layer()
            for entry in layer_entries(reader):
                self._max_entries -= 1
                if self._max_entries < 0:
                    raise InvalidImageError("the image has too many files")
                unpack_entry(entry, reader, root)
            found = reader.finish()
            self._max_bytes -= reader.tell()
        if diff_id and found != diff_id:
            raise DigestError(f"{path}: the layer has the digest {found} instead of {diff_id}")

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise _StoppedError


def unpack_entry(entry: tarfile.TarInfo, reader: LayerReader, root: RootFolder) -> None:
    """Create or delete what an entry of a layer describes; devices and pipes are left out."""
    parts = root.parts(entry.name)
    name = parts[-1] if parts else ""
    if name == OPAQUE:
        root.clear(parts[:-1])
    elif name.startswith(WHITEOUT):
        root.delete((*parts[:-1], name.removeprefix(WHITEOUT)))
    elif entry.isdir():
        root.make_folder(parts, entry.mode, entry.mtime)
    elif entry.issym():
        root.make_link(parts, entry.linkname)
    elif entry.islnk():
        root.make_hard_link(parts, root.parts(entry.linkname))
    elif entry.sparse is not None:
        raise InvalidImageError("a layer has a sparse file, which is not supported")
    elif entry.isreg():
        root.write_file(parts, reader, entry)
