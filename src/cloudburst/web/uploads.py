"""Storage of files that users of a web app upload: streamed into one folder, with limits."""

from __future__ import annotations

import re
import shutil
import stat
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Any, cast, get_type_hints
from uuid import uuid4

from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.concurrency import finish_despite_cancel, opened_in_thread
from cloudburst.errors import InvalidScenesError
from cloudburst.models.input_error import InvalidInputError
from cloudburst.text import list_some
from cloudburst.web.bounded_json import load_json, require_small_parts
from cloudburst.web.forms import read_form
from cloudburst.web.request_bodies import full_disk_refused, limited_body, read_body
from cloudburst.web.scene_files import locate_files

MAX_FORM_BYTES = 1_000_000
"""Largest size of the scenes of a request, in bytes: enough for about 5,000 scenes."""
UPLOAD_LIFETIME = 86_400.0
"""Age in seconds above which an upload is removed when another upload arrives. So is the folder of
a request whose process was killed."""
REMOVE_TIMEOUT = 60.0
"""Maximum number of seconds for removing the files of a request."""
_ID = re.compile(r"[0-9a-f]{32}")
_REQUEST_FOLDER = re.compile(r"request-[0-9a-f]{32}")


class Uploads:
    """Folder for uploaded pictures, audio and subtitles. Names in requests never become paths.

    As a FastAPI dependency, it yields the scenes of a request and removes their files when the
    response has been sent::

        uploads = Uploads(Path("uploads"))

        @app.post("/videos")
        async def videos(scenes: Annotated[list[dict], Depends(uploads)], client: OpenClient):
            return await client.render_all(scenes, to=...)

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
        self._root = Path(root).absolute()
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
            text = await read_body(request, min(MAX_FORM_BYTES, self._max_bytes))
            yield await to_thread.run_sync(_parse_scenes, text, self._find)
            return
        if kind != b"multipart/form-data" or not (boundary := options.get(b"boundary")):
            raise HTTPException(415, "expected multipart/form-data or application/json")
        folder = self._root / f"request-{uuid4().hex}"

        def create() -> None:
            folder.mkdir(parents=True, mode=0o700)
            self._remove_old()

        self._open_folders.add(folder)
        try:
            await to_thread.run_sync(create)
            form = await read_form(
                limited_body(request, self._max_bytes),
                boundary,
                field_name="scenes",
                folder=folder,
                max_field_bytes=MAX_FORM_BYTES,
                max_files=self._max_files,
            )
            yield await to_thread.run_sync(_parse_scenes, form.text, form.files.get)
        finally:
            self._open_folders.discard(folder)
            with suppress(TimeoutError):  # what is left is removed later
                await finish_despite_cancel(
                    lambda: to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True)),
                    seconds=REMOVE_TIMEOUT,
                )

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

        try:
            async with opened_in_thread(create, lambda file: file.close()) as file:
                with full_disk_refused():
                    async for chunk in limited_body(request, self._max_bytes):
                        await to_thread.run_sync(file.write, chunk)
                    file.close()
                part.rename(self._root / name)
        finally:
            part.unlink(missing_ok=True)
        return name

    async def remove(self, upload: str) -> None:
        """Remove a stored file; an unknown identifier is ignored."""
        if path := self._find(upload):
            await to_thread.run_sync(lambda: path.unlink(missing_ok=True))

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


# FastAPI before 0.124 does not resolve the annotations of a callable instance.
Uploads.__call__.__annotations__ = get_type_hints(Uploads.__call__)


def _parse_scenes(text: bytes, find: Callable[[str], Path | None]) -> list[dict[str, Any]]:
    """Return the scenes of a request, with the name of each upload replaced by its path."""

    def locate(name: str) -> Path:
        if (path := find(name)) is None:
            raise InvalidInputError("no such upload", "the name of an upload")
        return path

    try:
        raw_scenes: Any = load_json(text)
    except ValueError as exc:
        raise HTTPException(400, "scenes: invalid JSON; expected a list of scenes") from exc
    if not isinstance(raw_scenes, list) or not raw_scenes:
        raise HTTPException(400, "scenes: expected a list with at least one scene")
    require_small_parts({"scenes": raw_scenes})
    try:
        return locate_files(cast("Sequence[Any]", raw_scenes), {}, locate)[0]
    except InvalidScenesError as exc:
        raise HTTPException(400, list_some(exc.faults)) from exc
