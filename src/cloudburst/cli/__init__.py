"""The command ``cloudburst``. Importing this package imports none of the command's dependencies."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from cloudburst.programs import lighten_start

_EXTRAS = {
    **dict.fromkeys(("cyclopts", "rich", "yaml"), "cli"),
    **dict.fromkeys(("fastapi", "mcp", "python_multipart", "starlette", "uvicorn"), "serve"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Exit codes of a run: 0 if every scene has its video, 1 if a scene failed or a task is possibly
    still running, 2 if the request was invalid and nothing was started, 130 after Ctrl-C, 143
    after SIGTERM, and 129 after SIGHUP, which a terminal sends when it is closed. After a signal,
    finished videos are kept.
    """
    try:
        if argv is None:
            argv = sys.argv[1:]
            lighten_start()
            for output in (sys.stdout, sys.stderr):
                if isinstance(output, io.TextIOWrapper):  # an output may be closed
                    output.reconfigure(errors="replace")
        from cloudburst.cli.app import run  # noqa: PLC0415 - the extra may be missing

        return run(argv)
    except KeyboardInterrupt:  # outside of a run, which handles signals itself
        return 130
    except ModuleNotFoundError as exc:
        if exc.name in {"fcntl", "resource"}:
            msg = f"cloudburst: this command needs Linux or macOS: there is no module {exc.name}"
        elif (extra := _EXTRAS.get(exc.name or "")) is None:
            raise
        else:
            needed = f"needs {exc.name}: pip install 'cloudburst-sdk[{extra}]'"
            msg = f"cloudburst: this command {needed}"
        print(msg, file=sys.stderr)
        return 2
