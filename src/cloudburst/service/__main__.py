"""Entry point ``python -m cloudburst.service``; environment variables configure the service."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from cloudburst.programs import lighten_start, stop_signals


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> int:
    """Run the service until it stops, and return the exit code."""
    if sys.argv[1:]:
        sys.exit("the service has no arguments: environment variables configure it")
    # The service handles signals itself once it is serving. Before that, process 1 of a container
    # would ignore them, because signals have no default action for process 1.
    for number in stop_signals():
        signal.signal(number, _end)
    lighten_start()
    from cloudburst.service.lifecycle import run  # noqa: PLC0415 - the import takes half a second

    return run()


if __name__ == "__main__":
    sys.exit(main())
