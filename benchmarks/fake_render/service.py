"""Program that runs the real render service with a fake render process.

Environment variables configure the service as usual. Arguments are those of the render process.
"""

import logging
import sys
from functools import partial
from pathlib import Path

import anyio

from cloudburst.service.config import load_settings
from cloudburst.service.lifecycle import listening_socket, serve

PROGRAM = str(Path(__file__).with_name("render_process.py"))
RENDER = (sys.executable, "-I", "-S", PROGRAM, *sys.argv[1:])

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = load_settings()
    with listening_socket(settings) as listener:
        sys.exit(anyio.run(partial(serve, settings, listener, render=RENDER)))
