"""Output of ``docs/check_aws.py``, and the search for keys in CloudTrail's records."""
# ruff: noqa: INP001

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
from rich.console import Console

from cloudburst.errors import CloudburstError
from cloudburst.transfers.errors import TransferError

MAX_TASK_SECONDS = 420.0
"""Seconds that a task may take, from its request to its end; the estimate counts all of them."""


class Findings:
    """Printed results: promises that AWS keeps or breaks, and measurements."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.broken = 0

    def report(self, promise: str, kept: bool, seen: str = "") -> None:
        """Print whether a promise is kept, and what was seen."""
        self.broken += not kept
        sign = "[green]kept[/]  " if kept else "[red]BROKEN[/]"
        self.console.print(f"{sign} {promise}" + (f": {seen}" if seen else ""), highlight=False)

    def note(self, what: str, seen: str) -> None:
        """Print a measurement."""
        self.console.print(f"[blue]note[/]   {what}: {seen}", highlight=False)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Print the name of a check and run it; an error ends this check only."""
        self.console.print(f"\n[bold]{name}[/]")
        try:
            with anyio.fail_after(MAX_TASK_SECONDS):
                yield
        except (CloudburstError, TransferError, TimeoutError, httpx.HTTPError) as exc:
            self.report(name, kept=False, seen=f"{type(exc).__name__}: {exc}")


def keys_shown(events: Sequence[dict[str, Any]], keys: Mapping[str, str]) -> bool | None:
    """Return whether the records of our requests contain a key; ``None`` if there is no record."""
    ours = [
        text
        for event in events
        if any(task in (text := str(event.get("CloudTrailEvent", ""))) for task in keys)
    ]
    if not ours:
        return None
    return any(key in text or json.dumps(key) in text for key in keys.values() for text in ours)
