"""Folders in which scenes are found: on this machine, or in S3. Every method blocks."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from cloudburst.errors import ConfigurationError
from cloudburst.files import URL, read_regular_file
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.locations import S3Prefix, is_url
from cloudburst.text import short_repr

_EXPECTED_IN_S3 = "a path relative to the scene file, s3://bucket/key or https://"


class SceneFolder(Protocol):
    """Folder with scenes; as text, its location."""

    def names(self, inner: str = "") -> Sequence[str]:
        """Return the names of the files in the folder, or in a folder in it; none if it is missing.

        Hidden files, whose names begin with a dot, are left out.
        """
        ...

    def locate(self, name: str) -> str:
        """Return the location of a file; the name may contain slashes."""
        ...

    def resolve(self, text: str) -> str:
        """Return the location that a text in a scene file of the folder names.

        URLs are unchanged. Raises `InvalidInputError` for a file that must not be named there.
        """
        ...

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of a file of at most ``limit`` bytes."""
        ...


class LocalFolder:
    """Folder on this machine, by its absolute path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def names(self, inner: str = "") -> Sequence[str]:
        """Return the names of the files in the folder, or in a folder in it."""
        try:
            with os.scandir(self._path / inner) as entries:
                return [one.name for one in entries if one.name[0] != "." and one.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def locate(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def resolve(self, text: str) -> str:
        """Return the absolute path that a text names; ``~`` is the home folder."""
        if URL.match(text):
            return text
        with suppress(RuntimeError):  # ~NAME of an unknown user
            return str(self._path / Path(text).expanduser())
        return str(self._path / text)

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of a file."""
        return read_regular_file(self._path / name, limit=limit)


class S3Folder:
    """Folder in S3."""

    def __init__(self, prefix: S3Prefix, remote: RemoteInputs) -> None:
        self._prefix = prefix
        self._remote = remote

    def __str__(self) -> str:
        return str(self._prefix)

    def names(self, inner: str = "") -> Sequence[str]:
        """Return the names of objects."""
        prefix = self._prefix
        if inner:
            prefix = S3Prefix(prefix.bucket, f"{prefix.prefix}{inner}/")
        with _configuration_errors(str(self)):
            return [name for name in self._remote.list_names(prefix) if name[:1] not in {"", "."}]

    def locate(self, name: str) -> str:
        """Return the URL of an object."""
        return str(self._prefix.object(name))

    def resolve(self, text: str) -> str:
        """Return the URL that a relative path names; refuse others.

        Users who can write to the bucket must not choose files of this machine.
        """
        if is_url(text):
            return text
        if text.startswith(("/", "~")) or URL.match(text):
            found = f"the path {short_repr(text)} on this machine, in a scene file in S3"
            raise InvalidInputError(found, _EXPECTED_IN_S3, "not_permitted")
        key = posixpath.normpath(self._prefix.prefix + text)
        return str(S3Prefix(self._prefix.bucket, "").object(key))

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of an object."""
        file = self._prefix.object(name)
        with _configuration_errors(str(file)):
            return self._remote.read_whole(file, limit=limit)


@contextmanager
def _configuration_errors(location: str) -> Generator[None]:
    try:
        yield
    except InvalidInputError as exc:
        expected = f"; expected {exc.expected}" if exc.expected else ""
        raise ConfigurationError(f"{location}: {exc.found}{expected}") from exc
