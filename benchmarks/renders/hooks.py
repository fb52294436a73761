"""Render process that is changed for a measurement: ``python -P hooks.py CHANGE FOLDER``.

- ``lossless``: libx264 encodes with a quantizer of 0, which is lossless;
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

from cloudburst.renderer import encoder, h264_levels, process_limits

# Functions of these modules are replaced.
_ENCODER: Any = encoder
_LEVEL: Any = h264_levels.Level
_LIMITS: Any = process_limits


def encode_losslessly() -> None:
    """Replace functions so that the renderer encodes without loss."""
    configure = encoder.configure

    def lossless(context: Any, form: Any, _quantizer: int = 0, **options: Any) -> None:
        configure(context, form, 0, **options)

    _ENCODER.configure = lossless
    # A lossless video of noise has 130 MB per second, and takes several times as long.
    _ENCODER.MAX_GOP_BYTES = sys.maxsize
    _LEVEL.max_second_bytes = 1 << 30
    _LIMITS.limit_cpu_time = _LIMITS.limit_memory = lambda _value, **_: None


class Clock:
    """Clock for the CPU seconds that all threads of this process spend during some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls another one and measures it."""

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
        for method in ("add", "add_p", "finish"):
            timed = clock.timed(getattr(encoder.GopEncoder, method))
            setattr(encoder.GopEncoder, method, timed)
    from cloudburst.renderer import render_process  # noqa: PLC0415 - it imports the changed names

    code = render_process.main(folder)
    (folder / "encoder-cpu").write_text(str(clock.seconds))
    return code


if __name__ == "__main__":
    sys.exit(main())
