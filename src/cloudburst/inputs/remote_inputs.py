"""Remote files that are read before a run: input files, of which a part is read, and scene files.

An event loop in a thread reads them, so that checks can block. A client reads S3 on its own event
loop, because a session of boto may be used on one loop only.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint

from cloudburst.concurrency import collapse_single
from cloudburst.errors import NoAnswerError
from cloudburst.inputs.media_file import MediaFile, PartNotReadError, check_size
from cloudburst.inputs.remote_readers import open_https_reader, open_s3_reader
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import TRANSFER_TIMEOUT, Limits
from cloudburst.models.locations import RemoteLocation, S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.ports.remote_files import FolderReader, RangeAnswer, RangeReader

MAX_CHECKED_BYTES = 256 * 1024
"""Maximum number of bytes that are read of an input file with much metadata; subtitles are read
whole."""
BLOCK_BYTES = 16 * 1024
"""Number of bytes in a block of a file. Requests read whole blocks; one reads most headers."""
MAX_RANGE_BYTES = 1024 * 1024
"""Maximum number of bytes that one request reads of a file that is read whole."""
READ_TIMEOUT = 60.0
"""Maximum number of seconds for one range of a file, with repeated requests. For S3, the time for
which requests are repeated while it is busy is added."""
LIST_TIMEOUT = 600.0
"""Maximum number of seconds for the names of a folder: a million take some minutes."""

_T = TypeVar("_T")
OpenFolderReader = Callable[[], AbstractAsyncContextManager[FolderReader]]
OpenRangeReader = Callable[[], AbstractAsyncContextManager[RangeReader]]


class _RemoteFileIO(io.RawIOBase):
    """Remote file that is read in blocks, each at most once, up to `MAX_CHECKED_BYTES` in all."""

    def __init__(self, read: Callable[[int, int], RangeAnswer]) -> None:
        super().__init__()
        self._read = read
        self._position = 0
        self._budget = MAX_CHECKED_BYTES
        self._blocks: dict[int, bytes] = {}  # blocks that were read, by their number
        answer = self._read(0, BLOCK_BYTES)
        self.size = answer.file.size  # in bytes, if it is known
        if self.size is None and len(answer.data) < BLOCK_BYTES:
            self.size = len(answer.data)
        self._add(answer, 0, BLOCK_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            if self.size is None:
                raise PartNotReadError
            offset += self.size
        if offset < 0:
            msg = f"negative position {offset}"
            raise ValueError(msg)
        self._position = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes; raise `PartNotReadError` for more than `MAX_CHECKED_BYTES` of the file."""
        view = memoryview(buffer).cast("B")
        if self.size is not None and self._position >= self.size:
            return 0
        number, offset = divmod(self._position, BLOCK_BYTES)
        if number not in self._blocks:
            # The buffer above this file asks for as much as it can hold, even for a few bytes.
            self._read_blocks(number, offset + (len(view) if len(view) > BLOCK_BYTES else 0))
        data = self._blocks[number][offset : offset + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read_blocks(self, first: int, length: int) -> None:
        end = first + 1
        while (end - first) * BLOCK_BYTES < length and end not in self._blocks:
            end += 1
        start, stop = first * BLOCK_BYTES, end * BLOCK_BYTES
        stop = stop if self.size is None else min(stop, self.size)
        if stop - start > self._budget:
            raise PartNotReadError
        answer = self._read(start, stop)
        if not answer.data:
            raise PartNotReadError
        self._add(answer, start, stop)

    def _add(self, answer: RangeAnswer, start: int, stop: int) -> None:
        self._budget -= stop - start
        data = answer.data[: stop - start]
        if self.size is not None and len(data) < min(stop, self.size) - start:
            raise InvalidInputError("an answer that ends too early", "the whole range")
        for offset in range(0, len(data), BLOCK_BYTES):
            self._blocks[(start + offset) // BLOCK_BYTES] = data[offset : offset + BLOCK_BYTES]
        if self.size is None and len(data) < stop - start:
            self.size = start + len(data)


class CheckStoppedError(Exception):
    """Error for a file that is not read because `RemoteInputs.stop` was called."""


@dataclass(slots=True)
class RemoteInputs:
    """Access to remote files for functions that block; a context manager.

    Connections are opened when they are first needed. The methods may be called from any thread
    that does not run an event loop.
    """

    open_s3: OpenFolderReader
    open_https: OpenRangeReader
    font_folder: Callable[[], Path | None] = lambda: None
    """Function that returns the setting ``fonts``: a search for fonts begins in this folder."""
    s3_portal: BlockingPortal | None = None
    """Portal of the event loop on which S3 is read; ``None``: that of a thread of its own."""
    files: dict[RemoteLocation, RemoteFile] = field(
        default_factory=dict[RemoteLocation, RemoteFile]
    )
    """Each file that was read, as it was first."""
    bytes_read: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _portal: BlockingPortal | None = None
    _s3: FolderReader | None = None
    _https: RangeReader | None = None
    _calls: set[Future[Any]] = field(default_factory=set[Future[Any]])
    _stopped: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._stack.close()

    async def call_in_thread(self, check: Callable[[], _T]) -> _T:
        """Call a check in a thread, read S3 on this event loop meanwhile, and close the access.

        A cancellation ends all requests.
        """
        # The thread closes what it has opened.
        results = list[_T]()

        def call() -> None:
            with self:
                results.append(check())

        with collapse_single():
            async with anyio.create_task_group() as background:
                background.start_soon(self._stop_when_cancelled)
                try:
                    with collapse_single(), anyio.CancelScope(shield=True):
                        async with BlockingPortal() as self.s3_portal:
                            await anyio.to_thread.run_sync(call)
                except CheckStoppedError:
                    await checkpoint()  # raises the cancellation
                    raise
                background.cancel_scope.cancel()
        return results[0]

    async def _stop_when_cancelled(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop all requests at once, also those of later calls: they raise `CheckStoppedError`."""
        with self._lock:
            self._stopped = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def raise_if_stopped(self) -> None:
        """Raise `CheckStoppedError` after `stop`: parsers turn that error into their own."""
        with self._lock:
            if self._stopped:
                raise CheckStoppedError

    @contextmanager
    def open(self, location: RemoteLocation, expected: str, limits: Limits) -> Generator[MediaFile]:
        """Open a file for a check that reads at most `MAX_CHECKED_BYTES`.

        Raises `InvalidInputError` for a file that cannot be read, is empty or is too large, also
        while the block reads it.
        """
        with _expecting(expected):
            raw = _RemoteFileIO(partial(self.read, location))
            if raw.size is not None:
                check_size(raw.size, expected, limits)
            yield MediaFile(
                file=BufferedReader(raw, BLOCK_BYTES),
                size=raw.size,
                is_whole=raw.size is not None and raw.size <= BLOCK_BYTES,
            )

    def read_whole(self, location: RemoteLocation, *, limit: int) -> bytes:
        """Return the content of a file of at most ``limit`` bytes, read in blocks.

        Raises `InvalidInputError` for a file that cannot be read, changes meanwhile, or is larger.
        """
        content = bytearray()
        while True:
            start = len(content)
            end = min(start + MAX_RANGE_BYTES, limit + 1)
            answer = self.read(location, start, end)
            content += answer.data
            size = answer.file.size
            if start and not answer.data:
                found = f"more than {start:,} bytes on a server that does not send parts of files"
                raise InvalidInputError(found, "a server with ranges, or a smaller file")
            if len(content) > limit or (size or 0) > limit:
                raise InvalidInputError("a larger file", f"at most {limit:,} bytes", "too_large")
            if len(content) < end if size is None else len(content) >= size:
                break
            if not answer.data:
                raise InvalidInputError("an empty answer", "the whole file")
        return bytes(content)

    def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        """Return a range of a file, of the version that was read first.

        Raises `InvalidInputError` for a file that cannot be read, or has changed.
        """
        in_s3 = isinstance(location, S3Object)
        reader = self._s3_reader() if in_s3 else self._https_reader()
        answer = self._call(lambda: reader.read(location, start, end), in_s3=in_s3)
        with self._lock:
            self.bytes_read += len(answer.data)
            first = self.files.setdefault(location, answer.file)
        if first.version != answer.file.version:
            found, expected = "changed while it was read", "a file that stays the same during a run"
            raise InvalidInputError(found, expected)
        return answer

    def list_names(self, folder: S3Prefix) -> Sequence[str]:
        """Return the names of the files directly in a folder, of which there may be none.

        Raises `InvalidInputError` for a folder that cannot be listed.
        """
        reader = self._s3_reader()
        return self._call(lambda: reader.list_names(folder), in_s3=True, timeout=LIST_TIMEOUT)

    def _s3_reader(self) -> FolderReader:
        with self._opening:
            if self._s3 is None:
                self._s3 = self._enter(self.open_s3, in_s3=True)
            return self._s3

    def _https_reader(self) -> RangeReader:
        with self._opening:
            if self._https is None:
                self._https = self._enter(self.open_https, in_s3=False)
            return self._https

    def _enter(self, opener: Callable[[], AbstractAsyncContextManager[_T]], *, in_s3: bool) -> _T:
        if self._stopped:
            raise CheckStoppedError
        portal = self._portal_for(in_s3=in_s3)
        return self._stack.enter_context(portal.wrap_async_context_manager(opener()))

    def _portal_for(self, *, in_s3: bool) -> BlockingPortal:
        if in_s3 and self.s3_portal is not None:
            return self.s3_portal
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal())
        return self._portal

    def _call(
        self,
        function: Callable[[], Awaitable[_T]],
        *,
        in_s3: bool,
        timeout: float = READ_TIMEOUT,
    ) -> _T:
        timeout += TRANSFER_TIMEOUT if in_s3 else 0

        async def call() -> _T:
            with anyio.fail_after(timeout):
                return await function()

        portal = self._portal_for(in_s3=in_s3)
        self.raise_if_stopped()
        try:
            # Without the lock: this waits for the event loop, which waits for the lock in `stop`.
            future = portal.start_task_soon(call)
        except RuntimeError:  # the portal has been closed after `stop`
            self.raise_if_stopped()
            raise
        with self._lock:
            self._calls.add(future)
            stopped = self._stopped
        if stopped:
            future.cancel()
        try:
            return future.result()
        except CancelledError:
            raise CheckStoppedError from None
        except TimeoutError:
            if in_s3:
                raise NoAnswerError(f"S3 does not answer within {timeout:g} s") from None
            raise InvalidInputError(f"not read within {timeout:g} seconds") from None
        finally:
            with self._lock:
                self._calls.discard(future)


def open_remote_inputs(settings: Settings | None = None) -> RemoteInputs:
    """Return access to remote files with these settings, or those of the environment."""
    return RemoteInputs(
        open_s3=lambda: open_s3_reader(settings or Settings()),
        open_https=lambda: open_https_reader(settings or Settings()),
        font_folder=lambda: (settings or Settings()).fonts,
    )


@contextmanager
def _expecting(expected: str) -> Generator[None]:
    try:
        yield
    except InvalidInputError as exc:
        if exc.expected:
            raise
        raise InvalidInputError(exc.found, expected, exc.code) from exc
