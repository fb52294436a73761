"""Render process with changes for a measurement: ``python -P hooks.py CHANGE FOLDER``.

- ``lossless``: libx264 encodes with a quantizer of 0, which loses nothing;
- ``share``: the CPU seconds spent in libx264 are written to the file ``encoder-cpu``.

It runs with the Python of the version that is measured and changes the modules of the renderer
before anything else imports names from them.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudburst.renderer import bitrate, encoder, process_limits

# Functions of these modules are replaced.
_BITRATE: Any = bitrate
_ENCODER: Any = encoder
_LIMITS: Any = process_limits


def encode_losslessly() -> None:
    configure = encoder.configure

    def lossless(context: Any, form: Any, _quantizer: int = 0, *, still: bool = False) -> None:
        configure(context, form, 0, still=still)

    _ENCODER.configure = lossless
    # A lossless video of noise has 130 MB a second. The first name is that of earlier versions.
    _BITRATE.MAX_SECOND_BYTES = sys.maxsize
    _BITRATE.max_second_bytes = lambda _format: sys.maxsize
    _LIMITS.limit_cpu_time = _without_limit  # it takes several times as long


def _without_limit(_seconds: float, _pid: int = 0) -> None:
    pass


class Clock:
    """CPU seconds of this process within some functions, of all its threads."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began

        return call


def main() -> int:
    change, name = sys.argv[1:]
    folder, clock = Path(name), Clock()
    if change == "lossless":
        encode_losslessly()
    else:
        for method in ("add", "add_still", "finish"):
            timed = clock.timed(getattr(encoder.GopEncoder, method))
            setattr(encoder.GopEncoder, method, timed)
    from cloudburst.renderer import render_process  # noqa: PLC0415 - it imports what is changed

    code = render_process.main(folder)
    (folder / "encoder-cpu").write_text(str(clock.seconds))
    return code


if __name__ == "__main__":
    sys.exit(main())
