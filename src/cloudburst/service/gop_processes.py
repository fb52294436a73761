"""Shared encoding: processes that encode GOPs of a job in encoder slots that no job needs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
from anyio import CancelScope, current_time
from anyio.abc import TaskStatus

from cloudburst.service.encoder_slots import EncoderSlots
from cloudburst.service.subprocesses import Subprocesses

log = logging.getLogger("cloudburst.service")

GOP_COMMAND = (sys.executable, "-m", "cloudburst.renderer.gop_process")
"""Command that encodes GOPs of a job; the job's folder is appended as the last argument."""

OnSlotUsed = Callable[[float], None]
"""Function that is called with the seconds for which a process has had an encoder slot."""


class GopProcesses:
    """Runner of processes that encode GOPs of a job beside its render process.

    Args:
        slots: Encoder slots of the service.
        subprocesses: Runner of child processes.
        command: See `GOP_COMMAND`.
    """

    def __init__(
        self, slots: EncoderSlots, subprocesses: Subprocesses, command: Sequence[str]
    ) -> None:
        self._slots = slots
        self._subprocesses = subprocesses
        self._command = command

    async def run(self, folder: Path, gops: int, on_slot_used: OnSlotUsed) -> None:
        """Run processes for one job in all idle slots; return when nothing is left to encode.

        A process is killed when a job needs its slot. No process is started after one has found
        nothing left to encode, or has failed. A failure is only logged, because the render process
        encodes what is missing.

        Args:
            folder: Folder of the job.
            gops: Number of GOPs; fewer processes are started in all.
            on_slot_used: See `OnSlotUsed`.
        """
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
        async with self._slots.for_shared_encoding():
            since = current_time()
            task_status.started()
            try:
                await self._encode(folder)
                starting.cancel()
            finally:
                on_slot_used(current_time() - since)

    async def _encode(self, folder: Path) -> None:
        try:
            ended = await self._subprocesses.run([*self._command, str(folder)], _ignore)
        except OSError as exc:  # such as too many processes on the machine
            log.warning("%s: no process for shared encoding can be started: %s", folder.name, exc)
            return
        if ended.code:
            log.warning("%s: a process of shared encoding failed: %s", folder.name, ended)


def _ignore(line: bytes) -> None:
    """Ignore a line of output."""
