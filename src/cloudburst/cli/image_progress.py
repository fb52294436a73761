"""Progress bar for the build and the upload of our image."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from cloudburst.cli.output import safe_text
from cloudburst.image import BuildProgress
from cloudburst.registry import PushProgress

ImageProgress: TypeAlias = BuildProgress | PushProgress


class _OfUpload(ProgressColumn):
    """Column of an upload that is empty for other tasks."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> Text:
        """Return the text of the column for a task."""
        found = self._column.render(task) if task.fields.get("upload") else Text()
        return found if isinstance(found, Text) else Text(str(found))


@contextmanager
def image_progress(console: Console) -> Generator[Callable[[ImageProgress], None]]:
    """Show the progress of a build and of an upload on a terminal; show nothing in a pipe.

    Yields:
        The function to call with each progress.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _OfUpload(DownloadColumn()),
        _OfUpload(TransferSpeedColumn()),
        _OfUpload(TimeRemainingColumn()),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        build = bar.add_task("build", total=None, visible=False)
        upload = bar.add_task("upload the image", total=None, visible=False, upload=True)

        def show(progress: ImageProgress) -> None:
            match progress:
                case BuildProgress():
                    bar.update(
                        build,
                        description=safe_text(progress.step).plain,
                        completed=progress.done,
                        total=progress.total or None,
                        visible=True,
                    )
                case PushProgress():
                    bar.update(build, visible=False)
                    bar.update(
                        upload,
                        completed=progress.bytes_done,
                        total=progress.bytes_total,
                        visible=True,
                    )

        yield show
