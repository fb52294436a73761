"""Storage of files that users of a web app upload: streamed into one folder, with limits.

This module is part of `cloudburst.web` and needs the ``[web]`` extra.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any, cast, get_type_hints
from uuid import uuid4

import anyio.to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.models.options import is_option_file

MAX_FORM_BYTES = 1_000_000
"""Largest size in bytes of the form field ``scenes``, enough for about 5,000 scenes, and of each
header of a form part."""
UPLOAD_LIFETIME = 86_400.0
"""Age in seconds above which an upload is removed when another upload arrives. So is the folder of
a request whose process was killed."""
_ID = re.compile(r"[0-9a-f]{32}")
_REQUEST_FOLDER = re.compile(r"request-[0-9a-f]{32}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
_FILES = {"image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path"}
"""Fields of a scene that contain the name of a file."""


class Uploads:
    """Folder for uploaded pictures, audio and subtitles. Names in requests never become paths.

    As a FastAPI dependency, it yields the scenes of a request and removes their files when the
    response has been sent::

        uploads = Uploads(Path("uploads"))

        @app.post("/videos", response_class=RunEvents)
        async def videos(scenes: Annotated[list[dict], Depends(uploads)], client: OpenClient):
            return RunEvents(client.stream(scenes, to=...))

    Starlette and FastAPI turn the errors of `receive` into responses. Scenes are checked when they
    are rendered.

    Args:
        root: The folder, which is created if it is missing. Nothing else may write into it.
        max_bytes: Maximum number of bytes of one request, with all its files.
        max_files: Maximum number of files in one request.
    """

    def __init__(
        self, root: Path | str, *, max_bytes: int = 1_000_000_000, max_files: int = 1_000
    ) -> None:
        self._root = Path(root)
        self._max_bytes, self._max_files = max_bytes, max_files
        self._open_folders: set[Path] = set()
        """Folders of the requests in progress, which are kept however long the requests take."""

    async def __call__(self, request: Request) -> AsyncGenerator[list[dict[str, Any]]]:
        """Yield the scenes of a request, as `receive` does."""
        async with self.receive(request) as scenes:
            yield scenes

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncGenerator[list[dict[str, Any]]]:
        """Yield the scenes of a request; remove the files of the request after the block.

        ``multipart/form-data``: the field ``scenes`` is a JSON list; ``image``, ``audio`` and
        ``subtitle`` of a scene are file names of other parts. ``application/json``: a list of
        scenes with identifiers from `store` as files; the stored files are kept.

        Raises:
            HTTPException: Status 400, 413 or 415, with the reason in its detail. No file of the
                request is kept.
        """
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind == b"application/json":
            form = _Form(folder=self._root)
            async for chunk in self._body(request):
                form.scenes += chunk
                form.check_size()
            yield _parse_scenes(form.scenes, self._find)
            return
        if kind != b"multipart/form-data" or not (boundary := options.get(b"boundary")):
            raise HTTPException(415, "expected multipart/form-data or application/json")
        folder = self._root / f"request-{uuid4().hex}"

        def create() -> None:
            folder.mkdir(parents=True, mode=0o700)
            self._remove_old()

        self._open_folders.add(folder)
        try:
            await anyio.to_thread.run_sync(create)
            form = _Form(folder=folder, max_files=self._max_files)
            await _read_form(form, boundary, self._body(request))
            yield _parse_scenes(form.scenes, form.files.get)
        finally:
            with anyio.CancelScope(shield=True):  # takes milliseconds
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
            self._open_folders.discard(folder)

    async def store(self, request: Request) -> str:
        """Store the body of a request as one file; return its identifier of 32 hex digits.

        The file is kept until `remove`, or for a day. Raises `HTTPException` 413 if it is larger
        than ``max_bytes``.
        """
        name = uuid4().hex
        part = self._root / f"{name}.part"

        def create() -> BufferedWriter:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._remove_old()
            return part.open("xb")

        file = await anyio.to_thread.run_sync(create)
        try:
            async for chunk in self._body(request):
                await anyio.to_thread.run_sync(file.write, chunk)
            file.close()
            part.rename(self._root / name)
        finally:
            file.close()
            part.unlink(missing_ok=True)
        return name

    async def remove(self, upload: str) -> None:
        """Remove a stored file; an unknown identifier is ignored."""
        if path := self._find(upload):
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    def _find(self, upload: str) -> Path | None:
        path = self._root / upload
        return path if _ID.fullmatch(upload) and path.is_file() else None

    def _remove_old(self) -> None:
        min_mtime = time.time() - UPLOAD_LIFETIME
        for path in self._root.iterdir():
            with suppress(OSError):  # another request may remove it at the same time
                status = path.stat()
                if status.st_mtime >= min_mtime:
                    continue
                if stat.S_ISREG(status.st_mode):
                    path.unlink()
                elif _REQUEST_FOLDER.fullmatch(path.name) and path not in self._open_folders:
                    shutil.rmtree(path, ignore_errors=True)

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        too_large = HTTPException(413, f"expected at most {self._max_bytes:,} bytes")
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._max_bytes:
            raise too_large
        bytes_read = 0
        async for chunk in request.stream():
            bytes_read += len(chunk)
            if bytes_read > self._max_bytes:
                raise too_large
            yield chunk


# FastAPI before 0.124 does not resolve the annotations of a callable instance.
Uploads.__call__.__annotations__ = get_type_hints(Uploads.__call__)


@dataclass(slots=True)
class _Form:
    """State of a multipart form while it arrives: files on disk, the field ``scenes`` in memory."""

    folder: Path
    max_files: int = 0
    scenes: bytearray = field(default_factory=bytearray)
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    """Path of each uploaded file, by the file name that the sender gave."""
    file: BufferedWriter | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    complete: bool = False
    """True if the last boundary has arrived."""

    def check_size(self) -> None:
        """Raise `HTTPException` 413 if ``scenes`` or a header is longer than `MAX_FORM_BYTES`."""
        if max(len(self.scenes), len(self.name), len(self.value)) > MAX_FORM_BYTES:
            raise HTTPException(413, f"expected at most {MAX_FORM_BYTES:,} bytes of scenes")

    def callbacks(self) -> Mapping[str, Callable[..., None]]:
        """Return the functions that the parser calls for each piece of the body."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self.headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _header_end(self) -> None:
        self.headers[bytes(self.name).lower()] = bytes(self.value)
        self.name.clear()
        self.value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition"))
        filename = options.get(b"filename")
        if filename is None:
            if options.get(b"name") != b"scenes":
                raise HTTPException(400, "unknown form field; expected scenes, and files")
            return
        name = filename.decode("utf-8", "replace")
        if name in self.files:
            raise HTTPException(400, f"two files have the name {name[:80]!r}")
        if len(self.files) >= self.max_files:
            raise HTTPException(413, f"expected at most {self.max_files} files")
        suffix = Path(name).suffix.lower()
        path = self.folder / f"{len(self.files)}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        self.files[name] = path
        self.file = path.open("xb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self.file is None:
            self.scenes += data[start:end]
            self.check_size()
        else:
            self.file.write(data[start:end])

    def _part_end(self) -> None:
        self.close()

    def _end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Close the file that is being written."""
        if self.file is not None:
            self.file.close()
            self.file = None


async def _read_form(form: _Form, boundary: bytes, body: AsyncIterator[bytes]) -> None:
    callbacks = cast("Any", form.callbacks())
    try:
        parser = MultipartParser(boundary, callbacks)
        async for chunk in body:
            await anyio.to_thread.run_sync(parser.write, chunk)
            form.check_size()
        parser.finalize()
    except FormParserError as exc:
        raise HTTPException(400, "the body is not valid multipart/form-data") from exc
    finally:
        form.close()
    if not form.complete:
        raise HTTPException(400, "the form ends too early")


def _parse_scenes(
    text: bytes | bytearray, find: Callable[[str], Path | None]
) -> list[dict[str, Any]]:
    """Return the scenes of a request, with the name of each upload replaced by its path."""
    try:
        raw_scenes: Any = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise HTTPException(400, "scenes: invalid JSON; expected a list of scenes") from exc
    if not isinstance(raw_scenes, list) or not raw_scenes:
        raise HTTPException(400, "scenes: expected a list with at least one scene")
    indexed = enumerate(cast("Sequence[Any]", raw_scenes))
    return [_parse_scene(index, raw, find) for index, raw in indexed]


def _parse_scene(index: int, raw: Any, find: Callable[[str], Path | None]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise HTTPException(400, f"scenes[{index}]: expected an object with the fields of a scene")
    scene = dict(cast("dict[str, Any]", raw))
    for key in scene.keys() & _FILES:
        value = scene[key]
        if value is not None and value != "":
            scene[key] = _upload(index, key, value, find)
    if isinstance(options := scene.get("options"), dict):
        scene["options"] = {
            key: _upload(index, f"options.{key}", value, find)
            if is_option_file(key, value)
            else value
            for key, value in cast("dict[str, Any]", options).items()
        }
    return scene


def _upload(index: int, key: str, value: Any, find: Callable[[str], Path | None]) -> Path:
    path = find(value) if isinstance(value, str) else None
    if path is None:
        raise HTTPException(400, f"scenes[{index}]: {key}: expected the name of an upload")
    return path.absolute()
