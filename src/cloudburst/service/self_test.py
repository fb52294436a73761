"""Test render in a separate process, which shows whether this machine can render."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio import CancelScope, move_on_after, to_thread
from anyio.abc import TaskGroup
from pydantic import BaseModel, ConfigDict, ValidationError

from cloudburst.service.subprocesses import ExitedProcess, Subprocesses

log = logging.getLogger("cloudburst.service")

TEST_RENDER_COMMAND = (sys.executable, "-m", "cloudburst.renderer.test_render")
"""Command that renders a test scene; a folder is appended as the last argument."""
TEST_RENDER_TIMEOUT = 60.0
"""Seconds for the test render, which takes a fifth of a second of CPU time. A slower machine is not
usable."""
MAX_MISSING_CHARS = 300


class RenderTools(BaseModel):
    """Versions of what the test render used."""

    model_config = ConfigDict(frozen=True)

    version: str
    """Versions of the FFmpeg libraries and of PyAV."""
    kernel: str
    """Name of the pixel kernel's library."""
    missing_layers: tuple[str, ...] = ()
    """Reason for each layer that is missing of the confinement of processes that decode files."""


class SelfTestLine(BaseModel):
    """Output line of the test render: the tools that it used, or the reason why it failed."""

    model_config = ConfigDict(frozen=True)

    found: RenderTools | None = None
    missing: str | None = None


@dataclass(eq=False, slots=True, repr=False)
class SelfTest:
    """Test render, made only once, that checks whether this machine can render."""

    _tasks: TaskGroup
    _subprocesses: Subprocesses
    _folder: Path
    probe: Sequence[str] = TEST_RENDER_COMMAND
    found: RenderTools | None = None
    """Tools that a successful test render used; ``None`` until then."""
    missing: str | None = None
    """Reason why the test render failed; ``None`` if it has not failed."""
    final: bool = False
    """True if the test render itself has named what is missing, which every worker of the image
    lacks. A test render that was killed or took too long says nothing about other workers."""
    checked: anyio.Event = field(default_factory=anyio.Event)
    started: bool = False

    def start(self) -> None:
        """Start the test render, unless it was started before."""
        if not self.started:
            self.started = True
            self._tasks.start_soon(self._check)

    async def _check(self) -> None:
        lines: list[bytes] = []
        ended: ExitedProcess | None = None
        try:
            await to_thread.run_sync(self._folder.mkdir)
            with move_on_after(TEST_RENDER_TIMEOUT):
                command = [*self.probe, str(self._folder)]
                ended = await self._subprocesses.run(command, lines.append)
        except OSError as error:
            self.missing = f"the test render cannot be started: {error}"
        else:
            self._judge(ended, lines)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(lambda: shutil.rmtree(self._folder, ignore_errors=True))
        if self.missing:
            log.error("this machine cannot render: %s", self.missing)
        self.checked.set()

    def _judge(self, ended: ExitedProcess | None, lines: Sequence[bytes]) -> None:
        if ended is None:
            self.missing = f"the test render did not finish within {TEST_RENDER_TIMEOUT:g} s"
            return
        try:
            output = SelfTestLine.model_validate_json(lines[-1] if lines else b"{}")
        except ValidationError:
            output = SelfTestLine()
        if output.found and ended.code == 0:
            self.found = output.found
            for reason in output.found.missing_layers:
                log.warning("files of callers are decoded with less confinement: %s", reason)
            return
        last = ended.errors.rpartition("\n")[2]
        reason = (
            output.missing or f"the test render failed (exit {ended.code}: {last or 'no message'})"
        )
        self.missing, self.final = reason[:MAX_MISSING_CHARS], output.missing is not None
