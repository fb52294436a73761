"""Encoder slots of the service, for jobs and for shared encoding."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import CancelScope, current_time
from anyio.abc import TaskStatus

from cloudburst.service.subprocesses import Subprocesses

# Seconds for which a slot must be idle before it is used for shared encoding. The start of a
# process takes about as long, which would be wasted between two jobs that follow each other.
IDLE_SECONDS = 0.5

log = logging.getLogger("cloudburst.service")
# Command that encodes GOPs of a job; the job's folder is appended as the last argument.
GOP_COMMAND = (sys.executable, "-m", "cloudburst.renderer.gop_process")
# Function that is called with the seconds for which a process has had an encoder slot.
OnSlotUsed = Callable[[float], None]


class EncoderSlots:
    """Encoder slots, which jobs get in the order in which they ask.

    A slot that no job needs can be used for shared encoding of another job. This use is cancelled
    when a job needs the slot.
    """

    def __init__(self, count: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._free = count
        self._idle_seconds = idle_seconds
        self._waiting: deque[anyio.Event] = deque()
        self._sharing: list[CancelScope] = []
        self._freed = anyio.Event()

    @asynccontextmanager
    async def for_job(self) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it during the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._release()

    @asynccontextmanager
    async def for_shared_encoding(self) -> AsyncGenerator[None]:
        """Wait for a slot that no job needs, and hold it during the block.

        The block is cancelled, without an exception after it, when a job needs the slot.
        """
        while not await self._is_idle():
            await self._freed.wait()
        self._free -= 1
        scope = CancelScope()
        self._sharing.append(scope)
        try:
            with scope:
                yield
        finally:
            if scope in self._sharing:
                self._sharing.remove(scope)
            self._release()

    async def _is_idle(self) -> bool:
        if self._free:
            await anyio.sleep(self._idle_seconds)
        return self._free > 0

    async def _wait(self) -> None:
        granted = anyio.Event()
        self._waiting.append(granted)
        if self._sharing:
            self._sharing.pop().cancel()
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():
                self._release()
            else:
                self._waiting.remove(granted)
            raise

    def _release(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
            return
        self._free += 1
        freed, self._freed = self._freed, anyio.Event()
        freed.set()


class GopProcesses(NamedTuple):
    """Runner of processes that encode GOPs of a job beside its render process."""

    slots: EncoderSlots
    subprocesses: Subprocesses
    command: Sequence[str]

    async def run(self, folder: Path, gops: int, on_slot_used: OnSlotUsed) -> None:
        """Run processes for one job in all idle slots; return when nothing is left to encode.

        A process is killed when a job needs its slot; fewer are started than there are ``gops``.
        """
        # No process is started after one has found nothing left to encode, or has failed. A
        # failure is only logged, because the render process encodes what is missing.
        async with anyio.create_task_group() as tasks:
            with CancelScope() as starting:
                for _ in range(gops - 1):
                    await tasks.start(self._run_one, folder, starting, on_slot_used)

    async def _run_one(
        self,
        folder: Path,
        starting: CancelScope,
        on_slot_used: OnSlotUsed,
        *,
        task_status: TaskStatus[None],
    ) -> None:
        async with self.slots.for_shared_encoding():
            since = current_time()
            task_status.started()
            try:
                await self._encode(folder)
                starting.cancel()
            finally:
                on_slot_used(current_time() - since)

    async def _encode(self, folder: Path) -> None:
        try:
            ended = await self.subprocesses.run([*self.command, str(folder)], _ignore)
        except OSError as exc:  # such as too many processes on the machine
            log.warning("%s: no process for shared encoding can be started: %s", folder.name, exc)
            return
        if ended.code:
            log.warning("%s: a process of shared encoding failed: %s", folder.name, ended)


def _ignore(line: bytes) -> None: ...
