"""Progress bar for the build and the upload of our image."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cloudburst.cli.output import safe_text
from cloudburst.image import BuildProgress
from cloudburst.net.registry.images import PushProgress

ImageProgress: TypeAlias = BuildProgress | PushProgress


@contextmanager
def image_progress(console: Console) -> Generator[Callable[[ImageProgress], None]]:
    """Show the progress of a build and of an upload on a terminal; show nothing in a pipe.

    Yields:
        The function to call with each progress.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[sizes]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task("", total=None, sizes="")

        def show(progress: ImageProgress) -> None:
            match progress:
                case BuildProgress(step=step, done=done, total=total):
                    text, sizes = safe_text(step).plain, ""
                case PushProgress(bytes_done=done, bytes_total=total):
                    text, sizes = "upload the image", f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"
            bar.update(shown, description=text, completed=done, total=total or None, sizes=sizes)

        yield show
