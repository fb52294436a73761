"""The command ``cloudburst``. Importing this loads none of what only the command needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRA = {"cyclopts", "rich", "yaml"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0: every scene has its video. 1: a scene failed. 2: something was wrong with the request, and
    nothing was started. 130, 143: stopped by Ctrl-C, by SIGTERM; finished videos are kept.
    """
    try:
        from cloudburst.cli.app import run  # noqa: PLC0415 - the extra may be missing

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # outside the run, which takes signals itself
        return 130
    except ModuleNotFoundError as exc:
        if exc.name not in _EXTRA:
            raise
        msg = f"cloudburst: the command line needs {exc.name}: pip install 'cloudburst-sdk[cli]'"
        print(msg, file=sys.stderr)
        return 2
