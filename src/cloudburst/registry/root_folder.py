"""Folder that becomes the root of an image's file system. Every method blocks."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path

from cloudburst.registry.errors import InvalidImageError, printable
from cloudburst.registry.layer_reader import READ_BYTES, LayerReader

MAX_LINKS = 40
"""Maximum number of symbolic links on the way to a file, as in Linux."""
MAX_PATH_LENGTH = 4096
MAX_PARTS = 256
FILE_BITS = 0o777
"""Mode bits of files that are kept: not setuid, setgid and sticky."""
FOLDER_BITS = 0o1777
"""Mode bits of folders that are kept: the sticky bit protects the files of ``/tmp``."""
IMPLICIT_FOLDER = (0o755, 0.0)
"""Mode and modification time of folders that no entry describes."""
_CREATE_NEW = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)

MAX_MTIME = 2.0**33
"""Latest modification time that is kept, in seconds since 1970: the limit of ext4 is later."""

Parts = tuple[str, ...]


class RootFolder:
    """Folder in which absolute links and ``..`` refer to the folder itself as root.

    Only this process writes to the folder, so that a path stays valid once it was resolved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._resolved: dict[Parts, Path] = {}
        self._folders: dict[Path, tuple[int, float]] = {folder: IMPLICIT_FOLDER}
        """Mode and modification time of folders. They are set at the end, because files cannot be
        created in a folder that is not writable, and change its modification time."""
        self._cleared: set[Path] = set()
        """Folders whose content of lower layers the current layer has deleted."""
        self._written: set[Path] = set()
        """Paths of the current layer, which its whiteouts do not delete."""

    def start_layer(self) -> None:
        """Begin a layer: its whiteouts delete what exists now."""
        self._written.clear()
        self._cleared.clear()

    def finish(self) -> None:
        """Set modes and modification times of the folders."""
        # Deepest first: the folders above may not be searched afterwards.
        for path in sorted(self._folders, key=lambda one: -len(one.parts)):
            mode, mtime = self._folders[path]
            os.utime(path, (mtime, mtime))
            path.chmod(mode)

    @staticmethod
    def parts(name: str) -> Parts:
        """Return the parts of the name of an entry; raise `InvalidImageError` if it is invalid."""
        parts = tuple(part for part in name.split("/") if part not in {"", "."})
        if ".." in parts or "\0" in name or len(name) > MAX_PATH_LENGTH or len(parts) > MAX_PARTS:
            raise InvalidImageError(f"a layer has an invalid path: {printable(name, 100)!r}")
        return parts

    def make_folder(self, parts: Parts, mode: int, mtime: float) -> None:
        """Create a folder, or change the mode of an existing one."""
        path = self._path(parts)
        if not stat.S_ISDIR(_mode(path)):
            self._remove(path)
            path.mkdir(mode=0o700)
        self._folders[path] = (mode & FOLDER_BITS, _seconds(mtime))
        self._mark(path)

    def make_link(self, parts: Parts, target: str) -> None:
        """Create a symbolic link. Its target is not changed, and may be missing."""
        if not target or "\0" in target or len(target) > MAX_PATH_LENGTH:
            raise InvalidImageError(
                f"a layer has an invalid link: {printable('/'.join(parts), 100)!r}"
            )
        path = self._new_path(parts)
        path.symlink_to(target)

    def make_hard_link(self, parts: Parts, target: Parts) -> None:
        """Create a second name of a file of the folder."""
        folder = self._existing(target[:-1])
        if folder is None or not target or not _is_file_or_link(folder / target[-1]):
            name = printable("/".join(parts), 100)
            raise InvalidImageError(f"a layer has a hard link to a missing file: {name!r}")
        source, path = folder / target[-1], self._path(parts)
        if path == source:
            return
        self._remove(path)
        if not _is_file_or_link(source):  # it was in the folder that the link replaces
            raise InvalidImageError("a layer has a hard link in place of its own folder")
        os.link(source, path, follow_symlinks=False)
        self._mark(path)

    def write_file(self, parts: Parts, reader: LayerReader, entry: tarfile.TarInfo) -> None:
        """Create a file with the next ``entry.size`` bytes of the layer."""
        path = self._new_path(parts)
        left = entry.size
        with os.fdopen(os.open(path, _CREATE_NEW, 0o600), "wb", buffering=0) as file:
            while left > 0 and (block := reader.read_some(min(left, READ_BYTES))):
                file.write(block)
                left -= len(block)
            if left != 0:
                raise InvalidImageError("a layer ends in the middle of a file")
        mtime = _seconds(entry.mtime)
        os.utime(path, (mtime, mtime))
        path.chmod(entry.mode & FILE_BITS)

    def delete(self, parts: Parts) -> None:
        """Delete a file or folder of lower layers, if there is one."""
        if not parts or parts[-1] in {".", ".."}:
            raise InvalidImageError("a layer has an invalid whiteout")
        if (parent := self._existing(parts[:-1])) is not None:
            self._delete_lower(parent / parts[-1])

    def clear(self, parts: Parts) -> None:
        """Delete the content of a folder that is of lower layers."""
        folder = self._existing(parts)
        if folder is not None and folder not in self._cleared:
            self._cleared.add(folder)
            for path in list(folder.iterdir()):
                self._delete_lower(path)

    def _delete_lower(self, path: Path) -> None:
        if path not in self._written:
            self._remove(path)
        elif stat.S_ISDIR(_mode(path)):
            for child in list(path.iterdir()):
                self._delete_lower(child)

    def _new_path(self, parts: Parts) -> Path:
        """Return a path at which nothing exists, in an existing folder."""
        path = self._path(parts)
        self._remove(path)
        self._mark(path)
        return path

    def _path(self, parts: Parts) -> Path:
        """Return the path of an entry, and create its folder. Links on the way are followed."""
        if not parts:
            return self._folder
        folder = self._resolve(parts[:-1], create=True)
        assert folder is not None
        return folder / parts[-1]

    def _existing(self, parts: Parts) -> Path | None:
        """Return the path of a folder without links; ``None`` if it does not exist."""
        return self._resolve(parts, create=False)

    def _resolve(self, parts: Parts, *, create: bool) -> Path | None:
        """Follow the links on the way to a folder; ``..`` of the root is the root itself."""
        if (known := self._resolved.get(parts)) is not None:
            return known
        path, left, links = self._folder, list(reversed(parts)), 0
        while left:
            part = left.pop()
            if part == "..":
                path = path if path == self._folder else path.parent
                continue
            path /= part
            mode = _mode(path)
            if stat.S_ISLNK(mode):
                links += 1
                target = str(path.readlink())
                if links > MAX_LINKS or len(left) > MAX_PARTS:
                    raise InvalidImageError("a layer has symbolic links that lead in a circle")
                path = self._folder if target.startswith("/") else path.parent
                left += [one for one in reversed(target.split("/")) if one not in {"", "."}]
            elif not mode and create:
                path.mkdir(mode=0o700)
                self._folders[path] = IMPLICIT_FOLDER
                self._mark(path)
            elif not stat.S_ISDIR(mode):
                if not create:
                    return None
                name = printable("/".join(parts), 100)
                raise InvalidImageError(f"a layer has files in a folder that is a file: {name!r}")
        self._resolved[parts] = path
        return path

    def _mark(self, path: Path) -> None:
        """Record that a path belongs to the current layer, with the folders that it is in."""
        while path != self._folder and path not in self._written:
            self._written.add(path)
            path = path.parent

    def _remove(self, path: Path) -> None:
        """Remove a file, a link or a folder, if there is one."""
        mode = _mode(path)
        if not mode:
            return
        if path == self._folder:
            raise InvalidImageError("a layer replaces the root folder")
        if stat.S_ISDIR(mode):
            for parent, _, _ in os.walk(path):
                self._folders.pop(Path(parent), None)
            shutil.rmtree(path)
        else:
            path.unlink()
        if not stat.S_ISREG(mode):
            self._resolved.clear()


def _mode(path: Path) -> int:
    """Return type and mode of a file, without following links; 0 if it does not exist."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_file_or_link(path: Path) -> bool:
    mode = _mode(path)
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _seconds(mtime: float) -> float:
    """Return a modification time that file systems can store."""
    return mtime if 0 <= mtime <= MAX_MTIME else 0.0
